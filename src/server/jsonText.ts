/**
 * Reads JSON text more strictly than `JSON.parse`, which keeps the last of two members
 * with the same name: with two stop losses, nobody knows which one is meant.
 */
import { isUtf8 } from "node:buffer";

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/**
 * @throws SyntaxError if the bytes are not UTF-8, the text is not JSON, or an object in
 *   it, at any depth, has two members with the same name.
 */
export function parseJsonStrictly(bytes: Uint8Array): unknown {
  if (!isUtf8(bytes)) throw new SyntaxError("it is not valid UTF-8");
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
  const value: unknown = JSON.parse(text);
  if (hasRepeatedName(text)) throw new SyntaxError("an object in it has the same name twice");
  return value;
}

/** Needs text that is valid JSON. Numbers, words, blanks and colons are passed over. */
function hasRepeatedName(text: string): boolean {
  /** The names of each object that is open, `undefined` for an array. */
  const open: (Set<string> | undefined)[] = [];
  /** The names of the innermost object, if the next string is one of them. */
  let names: Set<string> | undefined;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case OPEN_OBJECT:
        names = new Set();
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
          if (names.has(name)) return true;
          names.add(name);
          names = undefined;
        }
        at = end;
      }
    }
  }
  return false;
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
