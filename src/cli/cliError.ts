/**
 * How a command ends: its exit code, and the errors that are meant for the person at the
 * terminal.
 *
 * Scripts rely on the codes, so each has one meaning everywhere; what it means for one
 * command in particular, its help tells.
 */

/** Everything that was asked for is done. */
export const EXIT_OK = 0;

/** It was refused or it failed, and would fail again. */
export const EXIT_FAILED = 1;

/** The command line or the configuration is wrong. Nothing was tried. */
export const EXIT_USAGE = 2;

/** Something that is needed could not be reached or gave up. Trying again may help. */
export const EXIT_UNAVAILABLE = 3;

/** Ends the command with one line on standard error, which says what to do. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** An error with {@link EXIT_USAGE}. */
export function usageError(message: string): CliError {
  return new CliError(message, EXIT_USAGE);
}

/** Settings that are wrong, each as a phrase that begins with its name. */
export function configurationError(faults: readonly string[]): CliError {
  return usageError(`The configuration is wrong: ${faults.join("; ")}.`);
}

/** An error with {@link EXIT_FAILED}. */
export function failedError(message: string): CliError {
  return new CliError(message, EXIT_FAILED);
}

/** An error with {@link EXIT_UNAVAILABLE}. */
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
