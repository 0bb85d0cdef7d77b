/**
 * The lock that keeps a second outbox off a file: in another process or in this one. The
 * operating system holds it, so it ends with its process, however that ends.
 *
 * It is a lock on a SQLite file of its own, because a lock on the outbox file would keep the
 * command line from reading it. The empty lock file stays behind: to remove it would be a race.
 */
import { rmSync, statSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { OutboxDamagedError, OutboxError } from "./outboxError.ts";
import { storageError } from "./sqliteFault.ts";

const SQLITE_BUSY = 5;

/** A lock that is held. */
export interface OutboxLock {
  /** Whether the lock file is still where others look for it. */
  readonly isInPlace: boolean;
  release(): void;
}

/**
 * Takes the lock of an outbox, at once or not at all.
 *
 * @throws OutboxError `OUTBOX_LOCKED` if another outbox has it, `OUTBOX_STORAGE` if the lock
 *   file cannot be made.
 */
export function lockOutbox(path: string): OutboxLock {
  const lockPath = `${path}.lock`;
  try {
    return lock(lockPath);
  } catch (error) {
    if (codeOf(error) === SQLITE_BUSY) throw locked(path, error);
    const failure = storageError(lockPath, error);
    if (!(failure instanceof OutboxDamagedError)) throw failure;
    // Somebody wrote into the lock file, which holds nothing. Nobody could lock it so.
    rmSync(lockPath, { force: true });
    return lock(lockPath);
  }
}

function lock(lockPath: string): OutboxLock {
  const database = new DatabaseSync(lockPath, { timeout: 0 });
  try {
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    throw error;
  }
  const identity = identityOf(lockPath);
  return {
    get isInPlace() {
      return identityOf(lockPath) === identity;
    },
    release: () => database.close(),
  };
}

/** Tells one file from another at the same path; `undefined` if there is none. */
export function identityOf(path: string): string | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats && `${stats.dev}:${stats.ino}`;
}

function locked(path: string, cause: unknown): OutboxError {
  return new OutboxError(
    "OUTBOX_LOCKED",
    `The outbox ${path} is in use by another process, or by another outbox of this one. ` +
      "Give each its own file, or stop the other first.",
    { cause },
  );
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "errcode" in error ? error.errcode : undefined;
}
