/**
 * How the person called this program, and how a shell has to be told to do it again. Pure.
 */
import path from "node:path";
import type { Environment } from "./environment.ts";

/** What the operating system tells about the call. */
export interface Invocation {
  /** The absolute path of Node.js. */
  readonly execPath: string;
  /** The absolute path of the script, or of the link to it. */
  readonly script: string;
  readonly environment: Environment;
}

const NAME = "countersign";

/** The words that call this program, to which those of a command are added. */
export function programWords({ execPath, script, environment }: Invocation): string[] {
  // npm tells what it runs to all that is started below it, so the script must fit too.
  const isBin = path.parse(script).name === NAME;
  if (!isBin && environment.npm_lifecycle_event === NAME) return ["npm", "run", "-s", NAME, "--"];
  if (!isBin) return [execPath, "--", script];
  if (environment.npm_command === "exec") return ["npx", NAME];
  const folders = (environment.PATH ?? "").split(path.delimiter);
  return folders.includes(path.dirname(script)) ? [NAME] : [script];
}

/** Words as a shell reads them (POSIX, "Shell Command Language", 2.2). */
export function shellCommand(words: readonly string[]): string {
  return words.map(shellWord).join(" ");
}

/** One word. Inside of single quotes no character means anything but itself. */
export function shellWord(word: string): string {
  if (/^[A-Za-z0-9_/:.,@%+=-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", "'\\''")}'`;
}
