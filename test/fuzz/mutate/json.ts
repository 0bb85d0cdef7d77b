/** Mutations of JSON texts that keep most of the text what it was, so that readers get far into it. */
import type { Dice } from "../dice.ts";
import { splice } from "./bytes.ts";

/** What may stand in the place of a value, as it is written; some of it is no JSON. */
const VALUES: readonly string[] = [
  ...["null", "true", "false", "{}", "[]", '""', "[{}]", "{}{}", "undefined", "NaN", "Infinity"],
  ...["0", "-0", "1", "-1", "1e400", "-1e400", "1E5", "5e-324", "1e-400", "0x1f", "01", "+1", ".5"],
  ...["1.", "1e", "12345678901234567890", "9007199254740993", "0.1000000000000000055511151231"],
  ...["100.00000000000001", "1e12", "1000000000001", "1e-7", `1${"0".repeat(400)}`],
  ...[`0.${"3".repeat(400)}`, "--1", "1_000", "1,5"],
  ...['"0x1f"', '"1e3"', '" 1"', '"NaN"', '"Infinity"', '"-Infinity"', '"1."'],
  ...['"GOLD"', '"SIDE_BUY"', '"SIDE_BUYY"', '"BUY"', '"buy "', '"sell"', '"\\u0000"', '"\\ud800"'],
  ...['"\\udc00\\ud800"', '"\\x41"', '"\\"', '"\t"', '"\u2028"', "'buy'", `"${"é".repeat(501)}"`],
  ...['"2025-10-25T14:30:45Z"', '"2024-02-30T00:00:00Z"', '"9999-12-31T23:59:59.999999999Z"'],
  ...['"0001-01-01T00:00:00Z"', '"2025-10-25T14:30:60Z"', '"2025-10-25t14:30:45z"', "1761402645"],
  ...['"2025-10-25T14:30:45.1234567891Z"', '"2025-10-25T14:30:45+14:00"', '"2025-10-25"'],
];

/** What may stand in the place of a name. */
const NAMES: readonly string[] = [
  ...["stop_loss", "stopLoss", "stop_los", "StopLoss", "stoploss", "sl", "entry_price", "side"],
  ...["timestamp", "time", "signal_time", "validate_only", "idempotency_key", "idempotencyKey"],
  ...[
    "__proto__",
    "constructor",
    "toJSON",
    "",
    "\\u0000",
    "\\ud800",
    "signal",
    "requests",
    "@type",
  ],
  ...["s\\u0074op_loss", "value", "fields", "note"],
];

/** Blanks, and what some readers take for them. */
const BLANKS = [" ", "\n", "\t", "\r\n", "\u00a0", "\ufeff", "\v", "/**/", "//\n", ",", ",,"];

/** A string, a number, a word, or an empty list: where a value or a name stands. */
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|\{\}|\[\]/g;

type Mutation = (text: string, dice: Dice) => string;

const MUTATIONS: readonly Mutation[] = [
  (text, dice) => replaceToken(text, dice, isValue, () => dice.pick(VALUES)),
  (text, dice) => replaceToken(text, dice, isValue, () => dice.pick(VALUES)),
  (text, dice) => replaceToken(text, dice, isValue, () => dice.pick(VALUES)),
  (text, dice) => replaceToken(text, dice, isName, () => `"${dice.pick(NAMES)}"`),
  (text, dice) =>
    replaceToken(text, dice, isName, (name) =>
      dice.chance(0.5) ? camel(name) : name.toUpperCase(),
    ),
  (text, dice) => replaceToken(text, dice, isName, (name) => misspelt(name, dice)),
  function escapeName(text, dice) {
    return replaceToken(text, dice, isName, (name) =>
      name.replace(/[a-z]/, (letter) => `\\u00${letter.charCodeAt(0).toString(16)}`),
    );
  },
  (text, dice) =>
    replaceToken(text, dice, isName, (name) => `${name}:${dice.pick(VALUES)},${name}`),
  (text, dice) =>
    replaceToken(
      text,
      dice,
      isName,
      (name) => `"${dice.pick(NAMES)}":${dice.pick(VALUES)},${name}`,
    ),
  (text, dice) => replaceToken(text, dice, isValue, (value) => nested(value, dice)),
  (text, dice) => replaceToken(text, dice, isAny, (token) => token + dice.pick(BLANKS)),
  (text, dice) => dice.pick(BLANKS) + text,
  (text, dice) => text + dice.pick([...BLANKS, "}", "]", "{}", "\0", text]),
  (text, dice) => `[${text}${dice.chance(0.5) ? "]" : ""}`,
  function manyMembers(text, dice) {
    const count = dice.pick([50, 1_000, 4_000]);
    const members = Array.from({ length: count }, (_, index) => `"n${index}":${index}`).join(",");
    return replaceToken(text, dice, isName, (name) => `${members},${name}`);
  },
];

/** Changes a text in one place. */
export function mutateJson(bytes: Uint8Array, dice: Dice): Buffer {
  const text = Buffer.from(bytes).toString("utf8");
  return Buffer.from(dice.pick(MUTATIONS)(text, dice));
}

const isAny = () => true;
const isName = (text: string, end: number) => /^\s*:/.test(text.slice(end, end + 10));
const isValue = (text: string, end: number) => !isName(text, end);

function replaceToken(
  text: string,
  dice: Dice,
  isMeant: (text: string, end: number) => boolean,
  replaced: (token: string) => string,
): string {
  const tokens = [...text.matchAll(TOKEN)].filter(({ 0: token, index }) =>
    isMeant(text, index + token.length),
  );
  if (tokens.length === 0) return text;
  const { 0: token, index } = dice.pick(tokens);
  const put = Buffer.from(replaced(token));
  const at = Buffer.byteLength(text.slice(0, index));
  return splice(Buffer.from(text), at, Buffer.byteLength(token), put).toString("utf8");
}

function camel(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function misspelt(name: string, dice: Dice): string {
  const at = 1 + dice.upTo(Math.max(0, name.length - 3));
  const letter = dice.pick(["", "s", "_", "-", "x", " "]);
  return name.slice(0, at) + letter + name.slice(at + dice.upTo(1));
}

function nested(value: string, dice: Dice): string {
  const depth = dice.pick([1, 15, 16, 17, 100, 3_000]);
  const closing = dice.pick([depth, depth, depth - 1]);
  return dice.chance(0.5)
    ? "[".repeat(depth) + value + "]".repeat(closing)
    : '{"a":'.repeat(depth) + value + "}".repeat(closing);
}
