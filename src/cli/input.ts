/**
 * Reading what a command is given.
 */
import { readFile } from "node:fs/promises";
import { buffer } from "node:stream/consumers";
import { fileFault, usageError } from "./cliError.ts";
import { note } from "./output.ts";

/** Stands for standard input in place of a path. */
export const STANDARD_INPUT = "-";

/**
 * The bytes of a file, or of standard input for `-`.
 *
 * @param option how the path was given, for the message.
 * @throws CliError if it cannot be read.
 */
export async function readInput(option: string, path: string): Promise<Buffer> {
  const input = path === STANDARD_INPUT ? openStandardInput(option) : undefined;
  try {
    return input === undefined ? await readFile(path) : await buffer(input);
  } catch (error) {
    throw usageError(`${option} ${path} cannot be read: ${fileFault(error)}.`);
  }
}

/** What standard input was given to. */
const readers = new WeakMap<NodeJS.ReadStream, string>();

/**
 * Standard input. A person at a terminal is told that the command waits for what is typed.
 *
 * @param name what it is given to, and `what` is expected from it, for the messages.
 * @throws CliError if it was given to something else before, which leaves nothing of it.
 */
export function openStandardInput(name: string, what = name): NodeJS.ReadStream {
  const { stdin } = process;
  const reader = readers.get(stdin);
  if (reader !== undefined) {
    throw usageError(
      `Standard input is given to ${reader} and to ${name}, but can be read only once. Give one of them by a file.`,
    );
  }
  readers.set(stdin, name);
  if (stdin.isTTY) {
    note(`waiting for ${what} from this terminal; Ctrl-D on a line of its own ends it`);
  }
  return stdin;
}

/**
 * The text of a UTF-8 file, with a byte order mark if it has one.
 *
 * @throws CliError if it cannot be read or is not UTF-8.
 */
export async function readTextInput(option: string, path: string): Promise<string> {
  return decodeText(option, path, await readInput(option, path));
}

/**
 * The text of bytes that are UTF-8, with a byte order mark if they have one.
 *
 * @throws CliError if they are not UTF-8.
 */
export function decodeText(option: string, path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw usageError(`${option} ${path} is not UTF-8 text.`);
  }
}
