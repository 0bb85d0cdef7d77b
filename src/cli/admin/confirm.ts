/**
 * Asks a person before something is done that cannot be undone.
 */
import { createInterface } from "node:readline/promises";
import { failedError, usageError } from "../cliError.ts";
import { printable } from "../output.ts";

/**
 * Returns once a person has agreed.
 *
 * @param what will happen, in a sentence.
 * @param signal ends the question, as a "no" does.
 * @throws CliError if the answer is no, or nobody can be asked.
 */
export async function confirm(
  what: string,
  { yes, signal }: { readonly yes: boolean | undefined; readonly signal: AbortSignal },
): Promise<void> {
  if (yes === true) return;
  const { stdin, stderr } = process;
  if (!stdin.isTTY || !stderr.isTTY) throw usageError(`${what} Add --yes to do it.`);
  // The terminal itself edits the line, and turns Ctrl-C into a signal.
  const terminal = createInterface({ input: stdin, output: stderr, terminal: false });
  const { promise: ended, resolve: end } = Promise.withResolvers<string>();
  terminal.once("close", () => end(""));
  try {
    const question = `countersign: ${printable(what)} Go on? [y/N] `;
    const answer = await Promise.race([terminal.question(question, { signal }), ended]);
    if (/^(y|yes)$/i.test(answer.trim())) return;
  } catch (error) {
    if (!signal.aborted) throw error;
    stderr.write("\n");
  } finally {
    terminal.close();
  }
  throw failedError("Nothing was changed.");
}
