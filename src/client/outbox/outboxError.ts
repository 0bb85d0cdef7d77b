/**
 * The errors of the outbox, and what an error of SQLite or of the file system means for it. Pure.
 */
import { outboxCommand } from "../alerts/deliveryError.ts";

/** Why the outbox itself, not a signal, is at fault. */
export type OutboxErrorReason =
  /** It holds as many signals or bytes as it may. Deliver, retry or drop some, or raise the bound. */
  | "OUTBOX_FULL"
  /** It takes no more, because it was closed. */
  | "OUTBOX_CLOSED"
  /** Another process, or another outbox of this one, has the file. */
  | "OUTBOX_LOCKED"
  /** The disk failed or is full. Nothing of the signal was kept. */
  | "OUTBOX_STORAGE"
  /** The file belongs to another program, so it was left alone. */
  | "OUTBOX_FOREIGN_FILE"
  /** The file was damaged. The outbox sets it aside and goes on; the command line only says so. */
  | "OUTBOX_DAMAGED"
  /** This Node.js is too old: its SQLite is not what an outbox needs. The rest of the client runs. */
  | "OUTBOX_UNSUPPORTED"
  /** A signal became older than `giveUpAfterMs` before it could be delivered. */
  | "GIVEN_UP";

/** What the outbox could not do, and for which file. Programs decide by {@link reason}. */
export class OutboxError extends Error {
  override readonly name: string = "OutboxError";
  readonly reason: OutboxErrorReason;

  constructor(reason: OutboxErrorReason, message: string, options?: ErrorOptions) {
    super(`[${reason}] ${message}`, options);
    this.reason = reason;
  }
}

/** The outbox is full, and the signal was not taken. It may be enqueued again later. */
export class OutboxFullError extends OutboxError {
  override readonly name = "OutboxFullError";

  constructor(path: string, bound: string) {
    super(
      "OUTBOX_FULL",
      `The outbox ${path} is full: it may hold ${bound}, dead letters included. The signal was not ` +
        "taken. Fix why nothing is delivered, retry or drop dead letters, or raise maxSignals or " +
        `maxBytes; this tells what fills it: ${outboxCommand("status", path)}`,
    );
  }
}

/** The file is not as an outbox wrote it. */
export class OutboxDamagedError extends OutboxError {
  override readonly name = "OutboxDamagedError";
  /** What is wrong, as a phrase. */
  readonly fault: string;

  constructor(path: string, fault: string, options?: ErrorOptions) {
    super("OUTBOX_DAMAGED", `The outbox ${path} is damaged: ${fault}.`, options);
    this.fault = fault;
  }
}

/** Another outbox has the file. */
export function lockedError(path: string, options?: ErrorOptions): OutboxError {
  return new OutboxError(
    "OUTBOX_LOCKED",
    `The outbox ${path} is in use by another process, or by another outbox of this one. ` +
      "Give each its own file, or stop the other first.",
    options,
  );
}

// Primary result codes of SQLite (https://sqlite.org/rescode.html).
const SQLITE_ERROR = 1;
const SQLITE_BUSY = 5;
const SQLITE_READONLY = 8;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_NOTADB = 26;

/** A table that is missing is an error of SQL to SQLite; here no SQL comes from outside. */
const DAMAGE_CODES: readonly unknown[] = [SQLITE_ERROR, SQLITE_CORRUPT, SQLITE_NOTADB];

/** Returns what `work` does. @throws OutboxError in place of an error of SQLite or the system. */
export function withStorageErrors<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw storageError(path, error);
  }
}

/** An error for anything thrown while a file was read or written. */
export function storageError(path: string, error: unknown): unknown {
  if (error instanceof OutboxError || !isSystemError(error)) return error;
  if (DAMAGE_CODES.includes(sqliteCode(error))) {
    return new OutboxDamagedError(path, error.message, { cause: error });
  }
  const why = isDiskFull(error) ? "the disk is full" : error.message;
  const message = `The outbox ${path} cannot be read or written: ${why}. Nothing was changed.`;
  return new OutboxError("OUTBOX_STORAGE", message, { cause: error });
}

/** Whether another connection has the lock of a SQLite file. */
export function isBusy(error: unknown): boolean {
  return sqliteCode(error) === SQLITE_BUSY;
}

/** Whether a disk has no room, by SQLite's word or by the system's. */
export function isDiskFull(error: unknown): boolean {
  const cause = causeOf(error);
  const isFullToSystem = isSystemError(cause) && ["ENOSPC", "EDQUOT"].includes(cause.code);
  return isFullToSystem || sqliteCode(cause) === SQLITE_FULL;
}

/** Whether SQLite refuses to write, by the permissions of the file or by what stands in it. */
export function isReadOnly(error: unknown): boolean {
  return sqliteCode(causeOf(error)) === SQLITE_READONLY;
}

function causeOf(error: unknown): unknown {
  return error instanceof OutboxError ? error.cause : error;
}

/** The primary code, which is the low byte of an extended one; `undefined` if not of SQLite. */
function sqliteCode(error: unknown): number | undefined {
  const isOfSqlite =
    error instanceof Error && "errcode" in error && typeof error.errcode === "number";
  return isOfSqlite ? (error.errcode as number) & 0xff : undefined;
}

/** Both SQLite's errors and the system's have a text as code; a bug in the code has none. */
function isSystemError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && "code" in error && typeof error.code === "string";
}
