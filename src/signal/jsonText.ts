/**
 * Reads JSON text more strictly than `JSON.parse`, which keeps the last of two members
 * with the same name: with two stop losses, nobody knows which one is meant. And it makes
 * another number of one with more digits than a double holds.
 */
import { isUtf8 } from "node:buffer";
import { INEXACT_NUMBER, isKeptByDouble, SURELY_KEPT_LENGTH } from "./exactNumber.ts";

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const NINE = 0x39;
const MINUS = 0x2d;
const PLUS = 0x2b;
const LOWER_E = 0x65;
const UPPER_E = 0x45;

/**
 * Reads the JSON text in these bytes, by the same rules as {@link parseJsonText}.
 *
 * @throws SyntaxError as that does, and if the bytes are not UTF-8.
 */
export function parseJsonStrictly(bytes: Uint8Array): unknown {
  if (!isUtf8(bytes)) throw new SyntaxError("it is not valid UTF-8");
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
  return parseJsonText(text);
}

/**
 * Reads JSON text.
 *
 * @returns the value, with {@link INEXACT_NUMBER} in the place of each number that a double
 *   would change.
 * @throws SyntaxError if the text is not JSON, or an object in it, at any depth, has two
 *   members with the same name.
 */
export function parseJsonText(text: string): unknown {
  const value: unknown = JSON.parse(text);
  const faults = faultsOf(text);
  if (faults.hasRepeatedName) throw new SyntaxError("an object in it has the same name twice");
  return faults.hasInexactNumber ? parseMarked(text) : value;
}

/** ECMAScript 2026, section 25.5.1: a reviver is told the source of a value that holds no other. */
type Reviver = (name: string, value: unknown, context: { readonly source?: string }) => unknown;

function parseMarked(text: string): unknown {
  const parse = JSON.parse as (text: string, reviver: Reviver) => unknown;
  try {
    return parse(text, (_, value, { source }) =>
      typeof value === "number" && source !== undefined && !isKeptByDouble(source)
        ? INEXACT_NUMBER
        : value,
    );
  } catch {
    // It was read before, so all that can go wrong is that the reviver is called too deep.
    throw new SyntaxError("it is nested too deeply");
  }
}

/** What `JSON.parse` lets pass. */
interface TextFaults {
  readonly hasRepeatedName: boolean;
  /** Not looked for any more once there is a repeated name. */
  readonly hasInexactNumber: boolean;
}

/** Of an object that has none yet: a text can have thousands that never have one. */
const NO_NAMES = Symbol("no names");

/** Needs text that is valid JSON. Words, blanks and colons are passed over. */
function faultsOf(text: string): TextFaults {
  let hasInexactNumber = false;
  /** The names of each object that is open, `undefined` for an array. */
  const open: (Set<string> | typeof NO_NAMES | undefined)[] = [];
  /** The names of the innermost object, if the next string is one of them. */
  let names: Set<string> | typeof NO_NAMES | undefined;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case OPEN_OBJECT:
        names = NO_NAMES;
        open.push(names);
        break;
      case OPEN_ARRAY:
        names = undefined;
        open.push(undefined);
        break;
      case CLOSE_OBJECT:
      case CLOSE_ARRAY:
        names = undefined;
        open.pop();
        break;
      case COMMA:
        names = open.at(-1);
        break;
      case QUOTE: {
        const end = endOfString(text, at);
        if (names !== undefined) {
          const name = nameOf(text.slice(at, end + 1));
          if (names === NO_NAMES) {
            names = new Set();
            open[open.length - 1] = names;
          }
          if (names.has(name)) return { hasRepeatedName: true, hasInexactNumber };
          names.add(name);
          names = undefined;
        }
        at = end;
        break;
      }
      default:
        if (isDigitOrSign(text.charCodeAt(at))) {
          const end = endOfNumber(text, at);
          hasInexactNumber ||= !isSurelyKept(text, at, end) && !isKeptByDouble(text.slice(at, end));
          at = end - 1;
        }
    }
  }
  return { hasRepeatedName: false, hasInexactNumber };
}

/** What a number begins with; and the point in it, which no text that is valid begins with. */
function isDigitOrSign(code: number): boolean {
  return code >= MINUS && code <= NINE;
}

/** Where the number that begins at `start` has ended. */
function endOfNumber(text: string, start: number): number {
  let end = start + 1;
  while (isNumberPart(text.charCodeAt(end))) end++;
  return end;
}

function isNumberPart(code: number): boolean {
  return isDigitOrSign(code) || code === LOWER_E || code === UPPER_E || code === PLUS;
}

/** Told without a copy, since most numbers are short and none of them has an exponent. */
function isSurelyKept(text: string, start: number, end: number): boolean {
  if (end - start > SURELY_KEPT_LENGTH) return false;
  for (let at = start; at < end; at++) if (text.charCodeAt(at) > NINE) return false;
  return true;
}

/** Where the string that begins at `start` has its closing quote. */
function endOfString(text: string, start: number): number {
  let end = start + 1;
  while (text.charCodeAt(end) !== QUOTE) end += text.charCodeAt(end) === BACKSLASH ? 2 : 1;
  return end;
}

function nameOf(quoted: string): string {
  return quoted.includes("\\") ? (JSON.parse(quoted) as string) : quoted.slice(1, -1);
}
