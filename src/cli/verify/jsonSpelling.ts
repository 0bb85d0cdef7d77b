/**
 * The same JSON in the spellings that common libraries give it. Pure.
 *
 * Only the blanks between tokens change, and where asked, the escapes in texts: numbers
 * stay as they are, since `2640.0` and `2640` are different bytes.
 */

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/** How to write what stands between tokens. */
interface Spelling {
  readonly comma: string;
  readonly colon: string;
  /** Blanks for each level; `undefined` keeps everything on one line. */
  readonly indent?: number;
}

const COMPACT: Spelling = { comma: ",", colon: ":" };
const SPACED: Spelling = { comma: ", ", colon: ": " };

/** A spelling of the same JSON, and which program writes it so. */
export interface SpelledJson {
  readonly text: string;
  readonly description: string;
}

/** The usual spellings of a JSON text; none if it is not JSON. */
export function spellings(json: string): SpelledJson[] {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return [];
  }
  const ascii = (text: string) => text.replace(/[\u0080-\uffff]/g, escapeUnit);
  const compact = spell(json, COMPACT);
  const spaced = spell(json, SPACED);
  const sorted = JSON.stringify(sortKeys(value));
  return [
    { text: compact, description: "compact, without blanks" },
    { text: ascii(compact), description: "compact, with \\u escapes for what is not ASCII" },
    {
      text: spaced,
      description: "with a blank after each comma and colon, as Python's json.dumps writes it",
    },
    {
      text: ascii(spaced),
      description:
        "with a blank after each comma and colon and with \\u escapes, as Python's json.dumps writes it",
    },
    { text: JSON.stringify(value), description: "as JavaScript's JSON.stringify writes it" },
    { text: sorted, description: "compact, with sorted keys" },
    {
      text: spell(sorted, SPACED),
      description: "with sorted keys and a blank after each comma and colon",
    },
    ...[2, 4].map((indent) => ({
      text: spell(json, { ...COMPACT, colon: ": ", indent }),
      description: `indented by ${indent} blanks`,
    })),
  ];
}

function spell(json: string, { comma, colon, indent }: Spelling): string {
  let level = 0;
  let text = "";
  const newline = () => (indent === undefined ? "" : `\n${" ".repeat(indent * level)}`);
  const tokens = json.match(TOKEN) ?? [];
  for (const [index, token] of tokens.entries()) {
    const isEmpty = isClosing(tokens[index + 1]);
    if (token === "{" || token === "[") {
      level += 1;
      text += isEmpty ? token : token + newline();
    } else if (isClosing(token)) {
      level -= 1;
      const follows = tokens[index - 1];
      text += follows === "{" || follows === "[" ? token : newline() + token;
    } else if (token === ",") text += comma + newline();
    else text += token === ":" ? colon : token;
  }
  return text;
}

function isClosing(token: string | undefined): boolean {
  return token === "}" || token === "]";
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, item]) => [key, sortKeys(item)] as const);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
