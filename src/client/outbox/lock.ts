/**
 * The lock that keeps a second outbox off a file: in another process or in this one. The
 * operating system holds it, so it ends with its process, however that ends.
 *
 * It is a lock on a SQLite file of its own, because a lock on the outbox file would keep the
 * command line from reading it. The empty lock file stays behind: to remove it would be a race.
 * It goes by the path of the outbox, and whoever may write to the folder can remove it, so the
 * outbox file itself says who has it, too.
 *
 * Nobody but the owner may open the lock file, since whoever reads a SQLite file can lock it. One
 * that somebody else put there, or that is a link to another file, is replaced.
 */
import { chmodSync, chownSync, closeSync, lstatSync, openSync, rmSync, statSync } from "node:fs";
import { lockedError, OutboxDamagedError, OutboxError } from "./outboxError.ts";
import { openSqlite } from "./sqlite.ts";
import { storageError } from "./sqliteFault.ts";

const SQLITE_BUSY = 5;
const LOCK_MODE = 0o600;

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
    prepare(lockPath, path);
    return lock(lockPath);
  } catch (error) {
    if (codeOf(error) === SQLITE_BUSY) throw lockedError(path, { cause: error });
    const failure = storageError(lockPath, error);
    if (!(failure instanceof OutboxDamagedError)) throw failure;
    // Somebody wrote into the lock file, which holds nothing. Nobody could lock it so.
    replace(lockPath, path);
    return lock(lockPath);
  }
}

/** Sees to it that there is a lock file, and that it is one that only the owner can lock. */
function prepare(lockPath: string, path: string): void {
  const stats = lstatSync(lockPath, { throwIfNoEntry: false });
  if (stats === undefined) {
    create(lockPath, path);
    return;
  }
  // Windows knows neither users by number nor modes.
  const self = process.geteuid?.() ?? stats.uid;
  const isOwn = stats.uid === self || stats.uid === ownerOf(path)?.uid;
  if (!stats.isFile() || stats.nlink > 1 || !isOwn) replace(lockPath, path);
  else if ((stats.mode & 0o777) !== LOCK_MODE && stats.uid === self) chmodSync(lockPath, LOCK_MODE);
}

function replace(lockPath: string, path: string): void {
  try {
    rmSync(lockPath, { force: true });
  } catch (cause) {
    throw new OutboxError(
      "OUTBOX_STORAGE",
      `The lock file ${lockPath} is not one that this outbox made, and cannot be removed. ` +
        "Remove it, or keep the outbox in a folder that nobody else can write to.",
      { cause },
    );
  }
  create(lockPath, path);
}

function create(lockPath: string, path: string): void {
  try {
    closeSync(openSync(lockPath, "wx", LOCK_MODE));
  } catch (error) {
    // Another outbox that starts now was faster.
    if (codeOf(error) === "EEXIST") return;
    throw error;
  }
  const owner = ownerOf(path);
  // What root leaves behind must not keep the owner of the outbox out.
  if (process.geteuid?.() === 0 && owner !== undefined) chownSync(lockPath, owner.uid, owner.gid);
}

function ownerOf(path: string) {
  return statSync(path, { throwIfNoEntry: false });
}

function lock(lockPath: string): OutboxLock {
  const database = openSqlite(lockPath, { timeout: 0 });
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

/** SQLite's number of the error, or else the system's name for it. */
function codeOf(error: unknown): unknown {
  if (!(error instanceof Error)) return undefined;
  if ("errcode" in error) return error.errcode;
  return "code" in error ? error.code : undefined;
}
