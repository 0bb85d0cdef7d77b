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
import { createOutboxFile, syncPath } from "./database.ts";
import { type Entry, type Progress, Totals } from "./entry.ts";
import { OutboxFile } from "./file.ts";
import { lockOutbox, type OutboxLock, thisOwner } from "./lock.ts";
import {
  isDiskFull,
  isReadOnly,
  lockedError,
  OutboxDamagedError,
  OutboxError,
  withStorageErrors,
} from "./outboxError.ts";
import { identityOf, isWritable, makeFolder, resolvePath, setAside } from "./outboxPath.ts";
import { salvage } from "./salvage.ts";

/** What happened to the file, for a person. */
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
  get totals(): Readonly<Totals> {
    return this.#file?.totals ?? new Totals();
  }

  /** Works on the file while it is the one at its path, and once more if it was damaged. */
  use<T>(work: (file: OutboxFile) => T): T {
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

  #fileInPlace(): OutboxFile {
    if (!this.#lock.isInPlace) this.#lockAgain();
    if (this.#file === undefined) return this.#open();
    return identityOf(this.path) === this.#identity ? this.#file : this.#replaceLost(this.#file);
  }

  /** Whoever deletes the outbox deletes its lock too; then another may have taken the place. */
  #lockAgain(): void {
    withStorageErrors(this.path, () => makeFolder(dirname(this.path)));
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
    let file: OutboxFile | undefined;
    try {
      file = new OutboxFile(this.path);
      const fault = file.check();
      if (fault === undefined) return this.#claim(file);
      if (isForeign(file)) throw foreignFile(this.path);
      throw new OutboxDamagedError(this.path, fault);
    } catch (error) {
      file?.close();
      if (isNew || !(error instanceof OutboxDamagedError)) throw error;
      return this.#replaceDamaged(error.fault);
    }
  }

  /** @throws OutboxError `OUTBOX_LOCKED` if another outbox has it, by whatever name. */
  #claim(file: OutboxFile): OutboxFile {
    try {
      this.#identify(identityOf(this.path));
      file.claim(thisOwner());
    } catch (error) {
      // A disk that is full keeps nothing from being delivered. The lock file still counts.
      if (!isDiskFull(error)) {
        this.#identify(undefined);
        if (!isReadOnly(error) || !isWritable(this.path)) throw error;
        throw new OutboxDamagedError(this.path, "SQLite takes it for one that must not be written");
      }
    }
    this.#file = file;
    return file;
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
    this.#unusedSequence = Math.max(this.#unusedSequence, this.totals.nextSequence);
    this.#file?.close();
    this.#file = undefined;
    const { entries, progress, brokenCount } = withStorageErrors(this.path, () =>
      salvage(this.path),
    );
    const name = this.#place(entries, progress);
    const file = this.#open(true);
    const broken = brokenCount === 0 ? "" : ` At least ${brokenCount} could not be read.`;
    this.#tell(
      `The outbox ${this.path} was damaged (${fault}). It was set aside as ${name}. ` +
        `${counted(entries.length, "signal")} could be read from it and stayed in the outbox.${broken} ` +
        "See there what else it held.",
      name,
      entries.length,
    );
    return file;
  }

  /** Writes anew what was deleted, moved or replaced, from the handle that is still open. */
  #replaceLost(lost: OutboxFile): OutboxFile {
    // Its journal has stayed behind, which keeps SQLite from reading a file that is gone.
    withStorageErrors(this.path, () => rmSync(`${this.path}-journal`, { force: true }));
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

  /** Puts a new file at the path. @returns where the old one is now, if there was one. */
  #place(entries: readonly Entry[], progress: Progress): string | undefined {
    const fresh = `${this.path}.new`;
    const nextSequence = Math.max(progress.nextSequence, this.#unusedSequence);
    return withStorageErrors(this.path, () => {
      createOutboxFile(fresh, entries, { ...progress, nextSequence });
      const name = setAside(this.path, this.#options.nowMs());
      // Its journal comes along for the room that it has on the disk; it holds no transaction.
      renameSync(`${fresh}-journal`, `${this.path}-journal`);
      renameSync(fresh, this.path);
      // Windows has no such call, and needs none.
      if (process.platform !== "win32") syncPath(dirname(this.path));
      return name;
    });
  }
}

function isForeign(file: OutboxFile): boolean {
  try {
    return file.isForeign;
  } catch {
    // What cannot even be listed is damaged, whatever program made it.
    return false;
  }
}

function foreignFile(path: string): OutboxError {
  return new OutboxError(
    "OUTBOX_FOREIGN_FILE",
    `${path} is the database of another program, so it was left alone. Give the outbox another path.`,
  );
}
