/**
 * Keeps a second outbox off a file: in another process or in this one.
 *
 * A lock file beside the outbox is locked by the operating system, so the lock ends with its
 * process, however that ends. It is a SQLite file of its own, because a lock on the outbox file
 * would keep the command line from reading it. The empty lock file stays behind: to remove it
 * would be a race. Nobody but the owner may open it, since whoever reads a SQLite file can lock
 * it; one that somebody else put there, or that is a link to another file, is replaced.
 *
 * The lock goes by the path of the outbox, and whoever may write to the folder can remove it. So
 * the outbox file itself says which process has it, too, and that is found by whatever name the
 * file has. A process is told from a later one with its number by when it started, which Linux
 * says. Elsewhere only the lock counts.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  lstatSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { openSqlite } from "./database.ts";
import type { LockOwner } from "./entry.ts";
import {
  isBusy,
  lockedError,
  OutboxDamagedError,
  OutboxError,
  storageError,
} from "./outboxError.ts";
import { identityOf } from "./outboxPath.ts";

const LOCK_MODE = 0o600;

/** A lock that this process has. */
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
    if (isBusy(error)) throw lockedError(path, { cause: error });
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
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return;
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

/** States of a process that has ended, but whose number is not free yet. */
const ENDED = ["Z", "X"];
/** The field of `/proc/<pid>/stat` that tells it, counted from the first after the name (proc(5)). */
const START_FIELD = 19;

/** This process; `undefined` if the system does not tell when it started. */
export function thisOwner(): LockOwner | undefined {
  const startedTicks = startedTicksOf(process.pid);
  return startedTicks === undefined ? undefined : { pid: process.pid, startedTicks };
}

/** Whether it is another process than this one, and still there. */
export function isOtherAlive({ pid, startedTicks }: LockOwner): boolean {
  return pid !== process.pid && startedTicksOf(pid) === startedTicks;
}

function startedTicksOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name before it stands in brackets and may itself have any character.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return ENDED.includes(String(fields[0])) ? undefined : fields[START_FIELD];
  } catch {
    return undefined;
  }
}
