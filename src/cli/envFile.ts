/**
 * Files of environment variables, as Node.js reads them (`.env`), but with a byte order mark
 * left out and with an eye on what a reader would not expect. Pure.
 */
import { parseEnv } from "node:util";

/** What a file says. */
export interface EnvFile {
  readonly variables: Readonly<Record<string, string>>;
  /**
   * The variables whose value ends at a `#` that was probably meant to be part of it: it is
   * not in quotes, and no blank stands before it, as before a comment.
   */
  readonly cutAtHash: readonly string[];
}

/**
 * A value without quotes and what follows its first `#`. The last character before it is no
 * blank, or there is none.
 */
const CUT_VALUE =
  /^[ \t]*(?:export[ \t]+)?([^\s=#]+)[ \t]*=[ \t]*((?:[^\s"'`#][^\n#]*)?)(?<!\s)#/gm;

/** Reads the text of a file. A line that is no assignment is passed over, as Node.js does. */
export function parseEnvFile(text: string): EnvFile {
  const content = text.replace(/^\ufeff/, "");
  const variables = parseEnv(content) as Record<string, string>;
  const cutAtHash = new Set<string>();
  for (const [, name = "", value] of content.matchAll(CUT_VALUE)) {
    // Of several lines with one name only the last counts, and a line may be in quotes as a whole.
    if (variables[name] === value) cutAtHash.add(name);
  }
  return { variables, cutAtHash: [...cutAtHash] };
}
