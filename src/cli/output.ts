/**
 * Writing to the two standard streams. Results go to standard output, where programs
 * read them; whatever is said to people goes to standard error.
 */
import { EXIT_FAILED } from "./exitCodes.ts";

const PROGRAM = "countersign";

/**
 * Keeps a closed pipe from ending the program. A reader such as `head` that has seen
 * enough must not stop signals that are being sent half-way, so later results are dropped
 * and the work goes on.
 */
export function surviveClosedPipes(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") return;
    // Results that cannot be written, for instance to a full disk, are a failure.
    note(`Standard output cannot be written: ${error.message}`);
    process.exit(EXIT_FAILED);
  });
  process.stderr.on("error", () => {});
}

/** Writes results. Resolves when they are written, so that a slow reader slows the sender. */
export async function writeOut(text: string): Promise<void> {
  if (text === "" || process.stdout.destroyed) return;
  await new Promise<void>((resolve) => process.stdout.write(text, () => resolve()));
}

/** Writes a value as one line of JSON. */
export async function writeJson(value: unknown): Promise<void> {
  await writeOut(`${JSON.stringify(value)}\n`);
}

/** Tells a person something, in one line on standard error. */
export function note(message: string): void {
  process.stderr.write(`${PROGRAM}: ${printable(message)}\n`);
}

/** Tells a person a command, which can be copied as it stands. It must hold printable text. */
export function noteCommand(purpose: string, command: string): void {
  note(`${purpose}:`);
  process.stderr.write(`${command}\n`);
}

/** A text that others wrote as a sentence, to be followed by another. */
export function asSentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

/**
 * A text from outside on one line. Control characters could otherwise move the cursor or
 * change the terminal's settings, and characters that change the direction of writing
 * could make one text look like another.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, escapeCharacter);
}

const SHORT_ESCAPES: ReadonlyMap<string, string> = new Map([
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
]);

function escapeCharacter(character: string): string {
  const code = character.codePointAt(0) as number;
  return SHORT_ESCAPES.get(character) ?? `\\u{${code.toString(16)}}`;
}
