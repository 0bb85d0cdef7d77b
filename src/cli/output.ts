/**
 * Writing to the two standard streams. Results go to standard output, where programs
 * read them; whatever is said to people goes to standard error.
 */
import { EXIT_FAILED, EXIT_OK } from "./cliError.ts";

const PROGRAM = "countersign";

let isLost = false;

/** Whether standard output takes no more, as on a full disk, so that results are missing there. */
export function isOutputLost(): boolean {
  return isLost;
}

/**
 * Keeps an output that cannot be written from ending the program. A reader such as `head` that
 * has seen enough, or a full disk, must not stop signals that are being sent half-way, so later
 * results are dropped and the work goes on.
 */
export function surviveLostOutput(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") return;
    if (!isLost) note(`Standard output cannot be written: ${error.message}`);
    isLost = true;
  });
  // A reader that left did so by its own will; results that nobody can have are a failure.
  process.on("exit", (code) => {
    if (isLost && code === EXIT_OK) process.exitCode = EXIT_FAILED;
  });
  process.stderr.on("error", () => {});
}

/** Writes results. Resolves when they are written, so that a slow reader slows the sender. */
export async function writeOut(text: string): Promise<void> {
  if (text === "" || isLost || process.stdout.destroyed) return;
  await new Promise<void>((resolve) => process.stdout.write(text, () => resolve()));
}

/** How many columns the terminal has that shows results; `undefined` if none does. */
export function terminalWidth(): number | undefined {
  // Some terminals do not tell, and have room for 80 as all do.
  return process.stdout.isTTY ? process.stdout.columns || 80 : undefined;
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
