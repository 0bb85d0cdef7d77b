/**
 * Keeps an outbox file usable whatever happens to it, and never lets a loss pass silently.
 *
 * The store has the file *open* under a lock. When the file proves to be damaged, at the
 * start or later, it is set aside under a new name, never overwritten; what can be read of it
 * goes into a new file at the old place, and work goes on there. When the file was deleted,
 * moved or replaced, the handle that is still open has its content, which goes into a new
 * file; whatever lies in its place is set aside. Both are reported. Whether the file is still
 * there is looked at before and after each change, so that nothing is acknowledged that only
 * a deleted file holds.
 *
 * A new file is made complete beside the old one and then renamed over it, so a crash at any
 * point leaves either the old or the new one. All of it runs synchronously: a change takes a
 * millisecond or so, and nobody else sees a state in between.
 */
import { existsSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { counted } from "../../alerts/index.ts";
import { identityOf, lockOutbox, type OutboxLock } from "./lock.ts";
import { lockedError, OutboxDamagedError, OutboxError } from "./outboxError.ts";
import { type Insertion, type NewRequest, OutboxFile } from "./outboxFile.ts";
import { createOutboxFile } from "./outboxFormat.ts";
import {
  isWritable,
  linkOrCopy,
  makeFolder,
  resolvePath,
  syncDirectory,
  unusedName,
} from "./outboxPath.ts";
import { thisOwner } from "./owner.ts";
import type { Entry, Progress } from "./record.ts";
import { salvage } from "./salvage.ts";
import { isDiskFull, isReadOnly, storageError } from "./sqliteFault.ts";
import { NOTHING, type OutboxBounds, type Totals } from "./totals.ts";

/** What befell the file, for a person. */
export interface FileIncident {
  readonly message: string;
  /** Where the old file is now, if there is one. */
  readonly setAside: string | undefined;
  /** How many signals are in the new file. */
  readonly keptCount: number;
}

/** What a store needs. */
export interface OutboxStoreOptions {
  readonly path: string;
  readonly bounds: OutboxBounds;
  /** The machine's wall clock, in milliseconds since 1970. */
  readonly nowMs: () => number;
  /** Told of each incident, after the new file is in place. Must not throw. */
  readonly onIncident: (incident: FileIncident) => void;
}

/** The outbox files that outboxes of this process have open. */
const IN_THIS_PROCESS = new Set<string>();

/** The outbox file under its lock. Every method may throw an OutboxError. */
export class OutboxStore {
  /** With links resolved, so that two names of one file have one lock. */
  readonly path: string;
  readonly #options: OutboxStoreOptions;
  #lock: OutboxLock;
  /** `undefined` after a new file could not be made: the next call tries again. */
  #file: OutboxFile | undefined;
  /**
   * Greater than every sequence that was used since the outbox is open. The worker knows signals
   * by it, so a new file must not give one of them to another signal, whatever is lost.
   */
  #unusedSequence = 1;
  /** Tells the open file from another at its path. */
  #identity: string | undefined;

  /**
   * Opens the outbox, or makes one if there is no file.
   *
   * @throws OutboxError `OUTBOX_LOCKED`, `OUTBOX_FOREIGN_FILE` or `OUTBOX_STORAGE`.
   */
  constructor(options: OutboxStoreOptions) {
    this.#options = options;
    this.path = resolvePath(options.path);
    this.#lock = lockOutbox(this.path);
    try {
      this.#open();
    } catch (error) {
      this.#lock.release();
      throw error;
    }
  }

  /** As of the last call. */
  get totals(): Totals {
    return this.#file?.totals ?? NOTHING;
  }

  /** The entry that has waited longest to be delivered. */
  oldest(): Entry | undefined {
    return this.#safely((file) => file.oldest());
  }

  insert(requests: readonly NewRequest[]): Insertion[] {
    const { nowMs, bounds } = this.#options;
    return this.#safely((file) => file.insert(requests, nowMs(), bounds));
  }

  pending(excluded: readonly number[], maxCount: number, maxBytes: number): Entry[] {
    return this.#safely((file) => file.pending(excluded, maxCount, maxBytes));
  }

  /** Pending entries with a greater sequence, in order. */
  pendingAfter(sequence: number, maxCount: number): Entry[] {
    return this.#safely((file) => file.entries("pending", sequence, maxCount));
  }

  replace(entries: readonly Entry[]): void {
    this.#safely((file) => file.replace(entries));
  }

  settle(delivered: readonly number[], dead: readonly Entry[]): void {
    this.#safely((file) => file.settle(delivered, dead));
  }

  /** Looks whether the file is in place, and counts anew if another process changed it. */
  refresh(): boolean {
    return this.#safely((file) => file.refresh());
  }

  close(): void {
    try {
      this.#file?.release();
    } catch {
      // Its process ends, and then it has no owner either.
    }
    this.#file?.close();
    this.#identify(undefined);
    this.#lock.release();
  }

  /** Works on the file while it is the one at its path, and once more if it was damaged. */
  #safely<T>(work: (file: OutboxFile) => T): T {
    let result: T;
    try {
      result = work(this.#fileInPlace());
    } catch (error) {
      if (!(error instanceof OutboxDamagedError)) throw error;
      this.#replaceDamaged(error.fault);
      result = work(this.#fileInPlace());
    }
    this.#fileInPlace();
    return result;
  }

  #fileInPlace(): OutboxFile {
    if (!this.#lock.isInPlace) this.#lockAgain();
    if (this.#file === undefined) return this.#open();
    return identityOf(this.path) === this.#identity ? this.#file : this.#replaceLost(this.#file);
  }

  /** Whoever deletes the outbox deletes its lock too; then another may have taken the place. */
  #lockAgain(): void {
    this.#system(() => makeFolder(dirname(this.path)));
    try {
      const lock = lockOutbox(this.path);
      this.#lock.release();
      this.#lock = lock;
    } catch (error) {
      // Whoever has it now reads in the file that it is taken, as long as it is this file.
      const isOwner = this.#file?.hasOwner === true && identityOf(this.path) === this.#identity;
      if (!isOwner) throw error;
    }
  }

  /** @param isNew whether the file was just made: then damage is no reason to make another. */
  #open(isNew = false): OutboxFile {
    if (!existsSync(this.path)) this.#place([], { pendingFrom: 1, nextSequence: 1 });
    const { file, fault } = openAndCheck(this.path);
    if (fault === undefined) return this.#take(file, isNew);
    const isForeign = file !== undefined && isSoundForeignFile(file);
    file?.close();
    if (isForeign) throw foreignFile(this.path);
    if (isNew) throw new OutboxDamagedError(this.path, fault);
    return this.#replaceDamaged(fault);
  }

  /** @throws OutboxError `OUTBOX_LOCKED` if another outbox has it, by whatever name. */
  #take(file: OutboxFile, isNew: boolean): OutboxFile {
    try {
      this.#identify(identityOf(this.path));
      file.claim(thisOwner());
    } catch (error) {
      // A disk that is full keeps nothing from being delivered. The lock file still counts.
      if (!isDiskFull(error)) return this.#refuse(file, error, isNew);
    }
    this.#file = file;
    return file;
  }

  /** A file that cannot be claimed, though the system lets it be written, is damaged. */
  #refuse(file: OutboxFile, error: unknown, isNew: boolean): OutboxFile {
    file.close();
    this.#identify(undefined);
    if (isNew || !isReadOnly(error) || !isWritable(this.path)) throw error;
    return this.#replaceDamaged("SQLite takes it for one that must not be written");
  }

  #identify(identity: string | undefined): void {
    if (identity === this.#identity) return;
    if (identity !== undefined && IN_THIS_PROCESS.has(identity)) throw lockedError(this.path);
    if (this.#identity !== undefined) IN_THIS_PROCESS.delete(this.#identity);
    if (identity !== undefined) IN_THIS_PROCESS.add(identity);
    this.#identity = identity;
  }

  /** Sets a damaged file aside and goes on with what can be read of it. */
  #replaceDamaged(fault: string): OutboxFile {
    this.#unusedSequence = Math.max(this.#unusedSequence, this.#file?.nextSequence ?? 1);
    this.#file?.close();
    this.#file = undefined;
    const { entries, progress, brokenCount } = this.#system(() => salvage(this.path));
    const setAside = this.#place(entries, progress);
    const file = this.#open(true);
    const broken = brokenCount === 0 ? "" : ` At least ${brokenCount} could not be read.`;
    this.#tell(
      `The outbox ${this.path} was damaged (${fault}). It was set aside as ${setAside}. ` +
        `${counted(entries.length, "signal")} could be read from it and stayed in the outbox.${broken} ` +
        "See there what else it held.",
      setAside,
      entries.length,
    );
    return file;
  }

  /** Writes anew what was deleted, moved or replaced, from the handle that is still open. */
  #replaceLost(lost: OutboxFile): OutboxFile {
    // Its journal has stayed behind, which keeps SQLite from reading a file that is gone.
    this.#system(() => rmSync(`${this.path}-journal`, { force: true }));
    const { entries, progress } = lost.everything();
    const other = this.#place(entries, progress);
    lost.close();
    this.#file = undefined;
    const file = this.#open(true);
    const replaced = other === undefined ? "" : ` What lay in its place was set aside as ${other}.`;
    this.#tell(
      `The outbox ${this.path} was deleted, moved or replaced while it was in use. What was in it, ` +
        `${counted(entries.length, "signal")}, was written to a new file at the same place.${replaced}`,
      other,
      entries.length,
    );
    return file;
  }

  #tell(message: string, setAside: string | undefined, keptCount: number): void {
    this.#options.onIncident({ message, setAside, keptCount });
  }

  /** Puts a new file at the path. @returns where the old one is now. */
  #place(entries: readonly Entry[], progress: Progress): string | undefined {
    const fresh = `${this.path}.new`;
    const nextSequence = Math.max(progress.nextSequence, this.#unusedSequence);
    return this.#system(() => {
      createOutboxFile(fresh, entries, { ...progress, nextSequence });
      const setAside = this.#setAside();
      // Its journal comes along for the room that it has on the disk; it holds no transaction.
      renameSync(`${fresh}-journal`, `${this.path}-journal`);
      renameSync(fresh, this.path);
      syncDirectory(dirname(this.path));
      return setAside;
    });
  }

  /**
   * Gives what is at the path a second name, which it keeps when the first goes to a new file,
   * and moves its journal there. @returns the name; `undefined` if there is nothing.
   */
  #setAside(): string | undefined {
    const journal = `${this.path}-journal`;
    if (!existsSync(this.path)) {
      rmSync(journal, { force: true });
      return undefined;
    }
    const name = unusedName(this.path, this.#options.nowMs());
    linkOrCopy(this.path, name);
    if (existsSync(journal)) renameSync(journal, `${name}-journal`);
    return name;
  }

  #system<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw storageError(this.path, error);
    }
  }
}

/** An open file; if something is wrong with it, what that is. */
type Opening =
  | { readonly file: OutboxFile; readonly fault: undefined }
  | { readonly file: OutboxFile | undefined; readonly fault: string };

/** @throws OutboxError if the file cannot be used for another reason than damage. */
function openAndCheck(path: string): Opening {
  let file: OutboxFile | undefined;
  try {
    file = new OutboxFile(path);
    const fault = file.check();
    return { file, fault };
  } catch (error) {
    if (error instanceof OutboxDamagedError) return { file, fault: error.fault };
    file?.close();
    throw error;
  }
}

function isSoundForeignFile(file: OutboxFile): boolean {
  try {
    return file.isForeign;
  } catch {
    // What cannot even be listed is damaged, whosever it was.
    return false;
  }
}

function foreignFile(path: string): OutboxError {
  return new OutboxError(
    "OUTBOX_FOREIGN_FILE",
    `${path} is the database of another program, so it was left alone. Give the outbox another path.`,
  );
}
