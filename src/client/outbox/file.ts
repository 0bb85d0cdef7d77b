/**
 * The outbox file: a SQLite database with the signals to deliver, the dead letters, and how
 * far delivery has come. What is written is on disk when the call returns.
 *
 * Other processes may read the file at any time, and retry or drop dead letters.
 */
import {
  Database,
  ENTRY_TABLES,
  type EntryTable,
  insertEntry,
  type Row,
  TABLES,
  writeProgress,
} from "./database.ts";
import {
  type Entry,
  type FixedRequest,
  type LockOwner,
  type OutboxBounds,
  type Progress,
  type Taken,
  Totals,
  withTimeOf,
} from "./entry.ts";
import { isOtherAlive } from "./lock.ts";
import { isDiskFull, lockedError, OutboxDamagedError } from "./outboxError.ts";
import { decodeRecord, encodeEntry } from "./record.ts";

/** A request to take in. */
export interface NewRequest extends FixedRequest {
  /** Whether the author gave the signal's time; if not, that of an earlier call stays. */
  readonly hasOwnTime: boolean;
  readonly taken: Taken;
}

/** What became of a request to take in. */
export type Insertion =
  | { readonly kind: "taken" }
  /** The very same is in the file already. */
  | { readonly kind: "known"; readonly table: EntryTable }
  /** Its key is in the file with another content. */
  | { readonly kind: "reused" }
  | { readonly kind: "full"; readonly bound: string };

const COLUMNS = "sequence, idempotency_key, record";

/** An open outbox file. Every method may throw an OutboxError. */
export class OutboxFile {
  readonly path: string;
  readonly #database: Database;
  #totals = new Totals();
  #seenVersion: unknown;
  #owner: LockOwner | undefined;

  /** Opens a file that exists. It is neither judged nor counted yet: {@link check} does. */
  constructor(path: string) {
    this.path = path;
    this.#database = new Database(path);
  }

  /** As of the last call. */
  get totals(): Readonly<Totals> {
    return this.#totals;
  }

  /** Whether it says that this process delivers. */
  get hasOwner(): boolean {
    return this.#owner !== undefined;
  }

  /**
   * Writes into the file that this process delivers.
   *
   * @throws OutboxError `OUTBOX_LOCKED` if another process that is alive does, by whatever name
   *   of the file; any other if it cannot be written.
   */
  claim(owner: LockOwner | undefined): void {
    this.#transaction(() => {
      const other = this.#progress()?.owner;
      if (other !== undefined && isOtherAlive(other)) throw lockedError(this.path);
      if (owner === undefined) return;
      this.#owner = owner;
      this.#writeProgress();
    });
  }

  /** Writes that nobody delivers any more. */
  release(): void {
    if (this.#owner === undefined) return;
    this.#owner = undefined;
    this.#transaction(() => this.#writeProgress());
  }

  close(): void {
    this.#database.close();
  }

  /**
   * Judges every byte that matters and counts what there is.
   *
   * @returns what is wrong with the file, as a phrase; `undefined` if nothing is.
   * @throws OutboxError if it cannot be read for another reason than damage.
   */
  check(): string | undefined {
    try {
      return this.#structuralFault() ?? this.#recount();
    } catch (error) {
      if (error instanceof OutboxDamagedError) return error.fault;
      throw error;
    }
  }

  /** Whether the file is a sound database with other tables than those of an outbox. */
  get isForeign(): boolean {
    const tables = this.#database.all("SELECT name FROM sqlite_schema WHERE type = 'table'");
    return tables.length > 0 && tables.every(({ name }) => !Object.hasOwn(TABLES, String(name)));
  }

  /** Counts anew if another process has changed the file. @returns whether it has. */
  refresh(): boolean {
    if (this.#version() === this.#seenVersion) return false;
    const fault = this.#recount();
    if (fault !== undefined) throw new OutboxDamagedError(this.path, fault);
    return true;
  }

  /** Takes requests in, in one transaction. @returns what became of each, in order. */
  insert(requests: readonly NewRequest[], nowMs: number, bounds: OutboxBounds): Insertion[] {
    return this.#transaction(() =>
      requests.map((request) => {
        const known = this.#known(request);
        if (known !== undefined) return known;
        const { idempotencyKey, bytes, taken } = request;
        const facts = { idempotencyKey, enqueuedMs: nowMs, taken, death: undefined };
        const bound = this.#append({ ...facts, request: bytes }, bounds);
        return bound === undefined ? { kind: "taken" } : { kind: "full", bound };
      }),
    );
  }

  /** The oldest entry still to be delivered. */
  oldest(): Entry | undefined {
    return this.entries("pending", 0, 1)[0];
  }

  /**
   * The oldest entries to deliver, in order: at least one if there is any, and no more than
   * so many, with no more than so many bytes together.
   */
  pending(excluded: readonly number[], maxCount: number, maxBytes: number): Entry[] {
    const rows = this.#database.rows(
      `SELECT ${COLUMNS} FROM pending WHERE sequence NOT IN (SELECT value FROM json_each(?)) ORDER BY sequence LIMIT ?`,
      JSON.stringify(excluded),
      maxCount,
    );
    const entries: Entry[] = [];
    let bytes = 0;
    for (const row of rows) {
      const entry = this.#entryOf(row);
      bytes += entry.request.length;
      if (bytes > maxBytes && entries.length > 0) break;
      entries.push(entry);
    }
    return entries;
  }

  /** Entries of a table with a greater sequence, in order. */
  entries(table: EntryTable, afterSequence: number, maxCount: number): Entry[] {
    const sql = `SELECT ${COLUMNS} FROM ${table} WHERE sequence > ? ORDER BY sequence LIMIT ?`;
    return this.#database.all(sql, afterSequence, maxCount).map((row) => this.#entryOf(row));
  }

  /** All that is in the file: for a new one in its place. */
  everything(): { readonly entries: Entry[]; readonly progress: Progress } {
    const entries = ENTRY_TABLES.flatMap((table) =>
      this.entries(table, 0, Number.MAX_SAFE_INTEGER),
    );
    return { entries, progress: { ...this.#progressNow(), owner: undefined } };
  }

  /** Every entry that SQLite can still read of a damaged file, and that is unchanged. */
  *readable(): Generator<Entry> {
    for (const table of ENTRY_TABLES) {
      try {
        for (const row of this.#database.rows(`SELECT ${COLUMNS} FROM ${table}`)) {
          const entry = entryIn(row);
          if (entry !== undefined) yield entry;
        }
      } catch (error) {
        if (!(error instanceof OutboxDamagedError)) throw error;
      }
    }
  }

  /**
   * Removes what is delivered, and makes dead letters of the entries with a death. If the
   * disk is too full for the whole, it is done in parts.
   *
   * @throws OutboxError if not all of it is on disk; what was done stays done.
   */
  settle(delivered: readonly number[], dead: readonly Entry[]): void {
    inParts(delivered, (part) => this.#settle(part, []));
    inParts(dead, (part) => this.#settle([], part));
  }

  /** Writes pending entries anew, under the sequences that they have. */
  replace(entries: readonly Entry[]): void {
    this.#transaction(() => {
      for (const entry of entries) {
        const { sequence } = entry;
        const [row] = this.#database.all(
          "SELECT length(record) AS bytes FROM pending WHERE sequence = ?",
          sequence,
        );
        if (row === undefined) continue;
        const record = encodeEntry(entry);
        this.#database.run("UPDATE pending SET record = ? WHERE sequence = ?", record, sequence);
        this.#totals.bytes += record.length - Number(row.bytes);
      }
    });
  }

  /** Makes dead letters entries to deliver again, as new ones. @returns their keys. */
  retry(keys: readonly string[] | "all", nowMs: number): string[] {
    return this.#transaction(() =>
      this.#takeDead(keys).map((entry) => {
        this.#append({ ...entry, enqueuedMs: nowMs, taken: undefined, death: undefined });
        return entry.idempotencyKey;
      }),
    );
  }

  /** Deletes dead letters for good. @returns their keys. */
  drop(keys: readonly string[] | "all"): string[] {
    return this.#transaction(() =>
      this.#takeDead(keys).map(({ idempotencyKey }) => idempotencyKey),
    );
  }

  #settle(delivered: readonly number[], dead: readonly Entry[]): void {
    this.#transaction(() => {
      const sequences = JSON.stringify([...delivered, ...dead.map(({ sequence }) => sequence)]);
      const condition = "sequence IN (SELECT value FROM json_each(?))";
      const select = `SELECT sequence, length(record) AS bytes FROM pending WHERE ${condition}`;
      const rows = this.#database.all(select, sequences);
      this.#database.run(`DELETE FROM pending WHERE ${condition}`, sequences);
      for (const { bytes } of rows) this.#totals.count({ death: undefined }, Number(bytes), -1);
      // What an earlier call has settled already must not become a dead letter twice.
      const present = new Set(rows.map(({ sequence }) => sequence));
      for (const entry of dead) if (present.has(entry.sequence)) this.#append(entry);
      this.#writeProgress();
    });
  }

  /** Writes an entry under a new sequence. @returns the bound that it would exceed, as a phrase. */
  #append(facts: Omit<Entry, "sequence">, bounds?: OutboxBounds): string | undefined {
    const entry = { ...facts, sequence: this.#totals.nextSequence };
    const record = encodeEntry(entry);
    const bound = bounds && this.#totals.exceeded(record.length, bounds);
    if (bound !== undefined) return bound;
    insertEntry(this.#database, entry, record);
    this.#totals.count(entry, record.length);
    this.#totals.nextSequence += 1;
    return undefined;
  }

  #takeDead(keys: readonly string[] | "all"): Entry[] {
    const condition =
      keys === "all" ? "true" : "idempotency_key IN (SELECT value FROM json_each(?))";
    const values = keys === "all" ? [] : [JSON.stringify(keys)];
    const select = `SELECT ${COLUMNS} FROM dead WHERE ${condition} ORDER BY sequence`;
    const rows = this.#database.all(select, ...values);
    this.#database.run(`DELETE FROM dead WHERE ${condition}`, ...values);
    return rows.map((row) => {
      const entry = this.#entryOf(row);
      this.#totals.count(entry, (row.record as Uint8Array).length, -1);
      return entry;
    });
  }

  #writeProgress(): void {
    writeProgress(this.#database, this.#progressNow());
  }

  #progressNow(): Progress {
    const [row] = this.#database.all("SELECT min(sequence) AS first FROM pending");
    const { nextSequence } = this.#totals;
    const pendingFrom = typeof row?.first === "number" ? row.first : nextSequence;
    return { pendingFrom, nextSequence, owner: this.#owner };
  }

  #progress(): Progress | undefined {
    const [row] = this.#database.all("SELECT record FROM progress");
    const content = row && decodeRecord(row.record as Uint8Array);
    return content?.kind === "progress" ? content.progress : undefined;
  }

  /** Whether a key is in the file already, and with which content. */
  #known({ idempotencyKey, bytes, hasOwnTime }: NewRequest): Insertion | undefined {
    for (const table of ENTRY_TABLES) {
      const sql = `SELECT ${COLUMNS} FROM ${table} WHERE idempotency_key = ?`;
      const [row] = this.#database.all(sql, idempotencyKey);
      if (row === undefined) continue;
      const { request } = this.#entryOf(row);
      const wanted = hasOwnTime ? bytes : withTimeOf(bytes, request);
      return Buffer.compare(wanted, request) === 0 ? { kind: "known", table } : { kind: "reused" };
    }
    return undefined;
  }

  /** @returns what is wrong with the structure of the file. */
  #structuralFault(): string | undefined {
    const [verdict] = this.#database.all("PRAGMA integrity_check(1)");
    if (verdict?.integrity_check !== "ok") return `SQLite finds: ${verdict?.integrity_check}`;
    if (this.#database.hasWriteAheadLog) return "it has a write-ahead log, as an outbox never has";
    const schema = this.#database.all("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL");
    const found = schema.map(({ sql }) => sql).sort();
    const expected = Object.values(TABLES).sort();
    return found.join() === expected.join() ? undefined : "its tables are not those of an outbox";
  }

  /** Reads every record and counts. @returns what is wrong with one. */
  #recount(): string | undefined {
    const totals = new Totals();
    for (const table of ENTRY_TABLES) {
      for (const row of this.#database.rows(`SELECT ${COLUMNS} FROM ${table}`)) {
        const entry = entryIn(row);
        if (entry === undefined) return brokenRecord(row);
        totals.count(entry, (row.record as Uint8Array).length);
        totals.nextSequence = Math.max(totals.nextSequence, entry.sequence + 1);
      }
    }
    const progress = this.#progress();
    if (progress === undefined) return "the record of its progress is not as it was written";
    totals.nextSequence = Math.max(totals.nextSequence, progress.nextSequence);
    this.#totals = totals;
    this.#seenVersion = this.#version();
    return undefined;
  }

  /** Another one says that another process has changed the file. */
  #version(): unknown {
    return this.#database.all("PRAGMA data_version")[0]?.data_version;
  }

  /** Changes the file and the totals together, or neither. */
  #transaction<T>(work: () => T): T {
    let before: Totals | undefined;
    try {
      return this.#database.transaction(() => {
        this.refresh();
        before = this.#totals.copy();
        return work();
      });
    } catch (error) {
      this.#totals = before ?? this.#totals;
      throw error;
    }
  }

  #entryOf(row: Row): Entry {
    const entry = entryIn(row);
    if (entry === undefined) throw new OutboxDamagedError(this.path, brokenRecord(row));
    return entry;
  }
}

/** Halves work for which the disk is too full, down to single entries. */
function inParts<T>(items: readonly T[], work: (part: readonly T[]) => void): void {
  if (items.length === 0) return;
  try {
    work(items);
  } catch (error) {
    if (items.length === 1 || !isDiskFull(error)) throw error;
    const middle = items.length >> 1;
    inParts(items.slice(0, middle), work);
    inParts(items.slice(middle), work);
  }
}

/** The entry of a row; `undefined` unless the record is sound and belongs to the row. */
function entryIn({ sequence, idempotency_key, record }: Row): Entry | undefined {
  // SQLite may read another type out of a damaged page.
  const content = record instanceof Uint8Array ? decodeRecord(record) : undefined;
  if (content?.kind !== "entry") return undefined;
  const { entry } = content;
  const isItsOwn = entry.sequence === sequence && entry.idempotencyKey === idempotency_key;
  return isItsOwn ? entry : undefined;
}

function brokenRecord({ sequence, idempotency_key }: Row): string {
  return `the signal of sequence ${sequence} with key ${idempotency_key} is not as it was written`;
}
