/**
 * Errors that are meant for the person at the terminal.
 */
import { EXIT_FAILED, EXIT_UNAVAILABLE, EXIT_USAGE } from "./exitCodes.ts";

/** Ends the command with one line on standard error, which says what to do. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The command line or the configuration is wrong. */
export function usageError(message: string): CliError {
  return new CliError(message, EXIT_USAGE);
}

/** It failed, and the same again would fare no better. */
export function failedError(message: string): CliError {
  return new CliError(message, EXIT_FAILED);
}

/** Something could not be reached. Trying again may help. */
export function unavailableError(message: string): CliError {
  return new CliError(message, EXIT_UNAVAILABLE);
}

/** What the operating system says about a file, in words; its own texts name a system call. */
const WORDS_BY_ERRNO: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "you may not read it",
  EISDIR: "it is a directory",
};

/** Why a file could not be read, as a phrase. */
export function fileFault(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return WORDS_BY_ERRNO[code ?? ""] ?? message;
}
