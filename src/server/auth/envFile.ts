/**
 * Files of credentials in a data directory, in a form that shells and Node can read. What a
 * person added to one stays.
 */
import { randomBytes } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";

/** The text of a file; empty if there is none. */
export async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

/** Replaces a file in one step by one that only its owner may read. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomBytes(4).toString("hex")}`;
  await writeFile(temporary, text, { mode: 0o600 });
  await rename(temporary, path);
}

/**
 * The text of such a file with one variable set.
 *
 * @param value `undefined` if it has none.
 * @param comment stands there in place of a value, for people.
 */
export function withVariable(
  text: string,
  name: string,
  value: string | undefined,
  comment: string,
): string {
  const line = value === undefined ? `# ${name}= ${comment}\n` : `${name}=${value}\n`;
  const present = new RegExp(`^(?:# )?${name}=.*\\n?`, "m");
  // By a function, since in a text "$" would have a meaning.
  if (present.test(text)) return text.replace(present, () => line);
  return `${text}${text.endsWith("\n") ? "" : "\n"}${line}`;
}
