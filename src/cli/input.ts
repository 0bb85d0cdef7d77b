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
  if (path === STANDARD_INPUT) noteTerminalInput(option);
  try {
    return path === STANDARD_INPUT ? await buffer(process.stdin) : await readFile(path);
  } catch (error) {
    throw usageError(`${option} ${path} cannot be read: ${fileFault(error)}.`);
  }
}

/** Tells a person at a terminal that the command waits for what is typed. */
export function noteTerminalInput(what: string): void {
  if (!process.stdin.isTTY) return;
  note(`waiting for ${what} from this terminal; Ctrl-D on a line of its own ends it`);
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
