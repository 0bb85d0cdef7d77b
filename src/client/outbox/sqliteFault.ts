/**
 * What an error of SQLite or of the file system means for the outbox. Pure.
 */
import { OutboxDamagedError, OutboxError } from "./outboxError.ts";

// Primary result codes of SQLite (https://sqlite.org/rescode.html).
const SQLITE_ERROR = 1;
const SQLITE_READONLY = 8;
const SQLITE_FULL = 13;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

/** A table that is missing is an error of SQL to SQLite; here no SQL comes from outside. */
const DAMAGE_CODES: ReadonlySet<number | undefined> = new Set([
  SQLITE_ERROR,
  SQLITE_CORRUPT,
  SQLITE_NOTADB,
]);

/** An error for anything thrown while a file was read or written. */
export function storageError(path: string, error: unknown): unknown {
  if (error instanceof OutboxError || !isSystemError(error)) return error;
  if (DAMAGE_CODES.has(primaryCode(error))) {
    return new OutboxDamagedError(path, error.message, { cause: error });
  }
  const why = isDiskFull(error) ? "the disk is full" : error.message;
  const message = `The outbox ${path} cannot be read or written: ${why}. Nothing was changed.`;
  return new OutboxError("OUTBOX_STORAGE", message, { cause: error });
}

/** Whether a disk has no room, by SQLite's word or by the system's. */
export function isDiskFull(error: unknown): boolean {
  const cause = error instanceof OutboxError ? error.cause : error;
  if (!isSystemError(cause)) return false;
  return primaryCode(cause) === SQLITE_FULL || cause.code === "ENOSPC" || cause.code === "EDQUOT";
}

/** Whether SQLite refuses to write, by the permissions of the file or by what stands in it. */
export function isReadOnly(error: unknown): boolean {
  const cause = error instanceof OutboxError ? error.cause : error;
  return isSystemError(cause) && primaryCode(cause) === SQLITE_READONLY;
}

interface SystemError extends Error {
  readonly code: string;
  /** Extended result code of SQLite. */
  readonly errcode?: number;
}

/** The low byte of an extended code; `undefined` for an error of the system. */
function primaryCode({ errcode }: SystemError): number | undefined {
  return errcode === undefined ? undefined : errcode & 0xff;
}

/** Both SQLite's errors and the system's have a text as code; a bug in the code has none. */
function isSystemError(error: unknown): error is SystemError {
  return error instanceof Error && "code" in error && typeof error.code === "string";
}
