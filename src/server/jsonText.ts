/**
 * Reads JSON text more strictly than `JSON.parse`, which keeps the last of two members
 * with the same name: with two stop losses, nobody knows which one is meant.
 */

/** Strings, and what opens, separates and closes. Numbers and words are passed over. */
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],]/g;

/**
 * @throws SyntaxError if the bytes are not UTF-8, the text is not JSON, or an object in
 *   it, at any depth, has two members with the same name.
 */
export function parseJsonStrictly(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new SyntaxError("it is not valid UTF-8");
  }
  const value: unknown = JSON.parse(text);
  if (hasRepeatedName(text)) throw new SyntaxError("an object in it has the same name twice");
  return value;
}

/** Needs text that is valid JSON. */
function hasRepeatedName(text: string): boolean {
  /** The names of each object that is open, `undefined` for an array. */
  const open: (Set<string> | undefined)[] = [];
  let isNameNext = false;
  for (const [token] of text.matchAll(TOKENS)) {
    switch (token) {
      case "{":
        open.push(new Set());
        isNameNext = true;
        break;
      case "[":
        open.push(undefined);
        isNameNext = false;
        break;
      case "}":
      case "]":
        open.pop();
        isNameNext = false;
        break;
      case ",":
        isNameNext = open.at(-1) !== undefined;
        break;
      default: {
        if (!isNameNext) break;
        isNameNext = false;
        const names = open.at(-1) as Set<string>;
        const name = token.includes("\\") ? (JSON.parse(token) as string) : token.slice(1, -1);
        if (names.has(name)) return true;
        names.add(name);
      }
    }
  }
  return false;
}
