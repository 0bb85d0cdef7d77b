/**
 * The outbox file: a SQLite database with the signals to deliver, the dead letters, and how
 * far delivery has come. What is written is on disk when the call returns.
 *
 * Other processes may read the file at any time, and retry or drop dead letters.
 */
import type { DatabaseSync, SQLOutputValue, StatementSync } from "node:sqlite";
import type { FixedRequest } from "./item.ts";
import { withTimeOf } from "./item.ts";
import { lockedError, OutboxDamagedError } from "./outboxError.ts";
import { type EntryTable, JOURNAL_MODE, openDatabase, PRAGMAS, TABLES } from "./outboxFormat.ts";
import { isOtherAlive, type Owner } from "./owner.ts";
import {
  type DeathReason,
  decodeRecord,
  type Entry,
  encodeEntry,
  encodeProgress,
  type Progress,
  type RecordContent,
  type Taken,
} from "./record.ts";
import { isDiskFull, storageError } from "./sqliteFault.ts";
import {
  type Change,
  countDeath,
  exceeded,
  NOTHING,
  type OutboxBounds,
  type Totals,
} from "./totals.ts";

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

type Row = Record<string, SQLOutputValue>;

/** An open outbox file. Every method may throw an OutboxError. */
export class OutboxFile {
  readonly path: string;
  readonly #database: DatabaseSync;
  readonly #dataVersion: StatementSync;
  readonly #statements = new Map<string, StatementSync>();
  #totals = NOTHING;
  #nextSequence = 1;
  #seenDataVersion: unknown;
  #owner: Owner | undefined;

  /** Opens a file that exists. It is neither judged nor counted yet: {@link check} does. */
  constructor(path: string) {
    this.path = path;
    this.#database = this.#guard(() => openDatabase(path));
    try {
      this.#dataVersion = this.#guard(() => {
        this.#database.exec(PRAGMAS);
        // A file with a write-ahead log is no outbox. This would change it for everybody.
        if (!this.#hasWriteAheadLog) this.#database.exec(JOURNAL_MODE);
        return this.#database.prepare("PRAGMA data_version");
      });
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  /**
   * Writes into the file that this process delivers.
   *
   * @throws OutboxError `OUTBOX_LOCKED` if another process that is alive does, by whatever name
   *   of the file; any other if it cannot be written.
   */
  claim(owner: Owner | undefined): void {
    this.#transaction((change) => {
      const other = this.#progress()?.owner;
      if (other !== undefined && isOtherAlive(other)) throw lockedError(this.path);
      if (owner === undefined) return;
      this.#owner = owner;
      this.#writeProgress(change);
    });
  }

  /** Writes that nobody delivers any more. */
  release(): void {
    if (this.#owner === undefined) return;
    this.#owner = undefined;
    this.#transaction((change) => this.#writeProgress(change));
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
    const tables = this.#all("SELECT name FROM sqlite_schema WHERE type = 'table'");
    return tables.length > 0 && tables.every(({ name }) => !Object.hasOwn(TABLES, String(name)));
  }

  get #hasWriteAheadLog(): boolean {
    return this.#all("PRAGMA journal_mode")[0]?.journal_mode === "wal";
  }

  get totals(): Totals {
    return this.#totals;
  }

  /** Whether it says that this process delivers. */
  get hasOwner(): boolean {
    return this.#owner !== undefined;
  }

  /** Greater than every sequence used so far. */
  get nextSequence(): number {
    return this.#nextSequence;
  }

  /** The oldest entry still to be delivered. */
  oldest(): Entry | undefined {
    return this.entries("pending", 0, 1)[0];
  }

  /** Counts anew if another process has changed the file. @returns whether it has. */
  refresh(): boolean {
    const version = this.#guard(() => this.#dataVersion.get()?.data_version);
    if (version === this.#seenDataVersion) return false;
    const fault = this.#recount();
    if (fault !== undefined) throw this.#damaged(fault);
    return true;
  }

  /** Takes requests in, in one transaction. @returns what became of each, in order. */
  insert(requests: readonly NewRequest[], nowMs: number, bounds: OutboxBounds): Insertion[] {
    return this.#transaction((change) => {
      const insert = this.#prepare("INSERT INTO pending VALUES (?, ?, ?)");
      return requests.map((request) => {
        const known = this.#known(request);
        if (known !== undefined) return known;
        const { idempotencyKey, bytes, taken } = request;
        const sequence = change.nextSequence;
        const entry = { sequence, idempotencyKey, enqueuedMs: nowMs, taken, death: undefined };
        const record = encodeEntry({ ...entry, request: bytes });
        const bound = exceeded(change, record.length, bounds);
        if (bound !== undefined) return { kind: "full", bound };
        insert.run(sequence, idempotencyKey, record);
        change.nextSequence += 1;
        change.pendingCount += 1;
        change.bytes += record.length;
        return { kind: "taken" };
      });
    });
  }

  /**
   * The oldest entries to deliver, in order: at least one if there is any, and no more than
   * so many, with no more than so many bytes together.
   */
  pending(excluded: readonly number[], maxCount: number, maxBytes: number): Entry[] {
    return this.#guard(() => {
      const rows = this.#prepare(
        "SELECT sequence, idempotency_key, record FROM pending WHERE sequence NOT IN (SELECT value FROM json_each(?)) ORDER BY sequence LIMIT ?",
      ).iterate(JSON.stringify(excluded), maxCount);
      const entries: Entry[] = [];
      let bytes = 0;
      for (const row of rows) {
        const entry = this.#entryOf(row);
        bytes += entry.request.length;
        if (bytes > maxBytes && entries.length > 0) break;
        entries.push(entry);
      }
      return entries;
    });
  }

  /** Entries of a table with a greater sequence, in order. */
  entries(table: EntryTable, afterSequence: number, maxCount: number): Entry[] {
    return this.#all(
      `SELECT sequence, idempotency_key, record FROM ${table} WHERE sequence > ? ORDER BY sequence LIMIT ?`,
      afterSequence,
      maxCount,
    ).map((row) => this.#entryOf(row));
  }

  /** All that is in the file: for a new one in its place. */
  everything(): { readonly entries: Entry[]; readonly progress: Progress } {
    const entries = (["pending", "dead"] as const).flatMap((table) =>
      this.entries(table, 0, Number.MAX_SAFE_INTEGER),
    );
    const pendingFrom =
      entries.find(({ death }) => death === undefined)?.sequence ?? this.#nextSequence;
    return { entries, progress: { pendingFrom, nextSequence: this.#nextSequence } };
  }

  /**
   * Removes what is delivered, and makes dead letters of the entries with a death. If the
   * disk is too full for the whole, it is done in parts.
   *
   * @throws OutboxError if not all of it is on disk; what was done stays done.
   */
  settle(delivered: readonly number[], dead: readonly Entry[]): void {
    this.#inParts(delivered, (part) => this.#settle(part, []));
    this.#inParts(dead, (part) => this.#settle([], part));
  }

  /** Writes pending entries anew, under the sequences that they have. */
  replace(entries: readonly Entry[]): void {
    this.#transaction((change) => {
      for (const entry of entries) {
        const [row] = this.#all(
          "SELECT length(record) AS bytes FROM pending WHERE sequence = ?",
          entry.sequence,
        );
        if (row === undefined) continue;
        const record = encodeEntry(entry);
        this.#prepare("UPDATE pending SET record = ? WHERE sequence = ?").run(
          record,
          entry.sequence,
        );
        change.bytes += record.length - Number(row.bytes);
      }
    });
  }

  /** Makes dead letters entries to deliver again, as new ones. @returns their keys. */
  retry(keys: readonly string[] | "all", nowMs: number): string[] {
    return this.#transaction((change) => {
      const insert = this.#prepare("INSERT INTO pending VALUES (?, ?, ?)");
      const entries = this.#takeDead(keys, change);
      for (const entry of entries) {
        const sequence = change.nextSequence++;
        const given = { sequence, enqueuedMs: nowMs, taken: undefined, death: undefined };
        const record = encodeEntry({ ...entry, ...given });
        insert.run(sequence, entry.idempotencyKey, record);
        change.bytes += record.length;
        change.pendingCount += 1;
      }
      return entries.map(({ idempotencyKey }) => idempotencyKey);
    });
  }

  /** Deletes dead letters for good. @returns their keys. */
  drop(keys: readonly string[] | "all"): string[] {
    return this.#transaction((change) =>
      this.#takeDead(keys, change).map(({ idempotencyKey }) => idempotencyKey),
    );
  }

  close(): void {
    this.#database.close();
  }

  #settle(delivered: readonly number[], dead: readonly Entry[]): void {
    this.#transaction((change) => {
      const removed = [...delivered, ...dead.map(({ sequence }) => sequence)];
      const sequences = JSON.stringify(removed);
      const condition = "sequence IN (SELECT value FROM json_each(?))";
      const rows = this.#all(
        `SELECT sequence, length(record) AS bytes FROM pending WHERE ${condition}`,
        sequences,
      );
      this.#prepare(`DELETE FROM pending WHERE ${condition}`).run(sequences);
      change.pendingCount -= rows.length;
      for (const { bytes } of rows) change.bytes -= Number(bytes);
      // What an earlier call has settled already must not be buried twice.
      const present = new Set(rows.map(({ sequence }) => sequence));
      this.#bury(
        dead.filter(({ sequence }) => present.has(sequence)),
        change,
      );
      this.#writeProgress(change);
    });
  }

  #bury(dead: readonly Entry[], change: Change): void {
    const insert = this.#prepare("INSERT INTO dead VALUES (?, ?, ?)");
    for (const entry of dead) {
      const sequence = change.nextSequence++;
      const record = encodeEntry({ ...entry, sequence });
      insert.run(sequence, entry.idempotencyKey, record);
      change.bytes += record.length;
      countDeath(change.deadByReason, entry, 1);
    }
  }

  #takeDead(keys: readonly string[] | "all", change: Change): Entry[] {
    const condition =
      keys === "all" ? "true" : "idempotency_key IN (SELECT value FROM json_each(?))";
    const values = keys === "all" ? [] : [JSON.stringify(keys)];
    const select = `SELECT sequence, idempotency_key, record FROM dead WHERE ${condition} ORDER BY sequence`;
    const rows = this.#all(select, ...values);
    this.#prepare(`DELETE FROM dead WHERE ${condition}`).run(...values);
    return rows.map((row) => {
      const entry = this.#entryOf(row);
      change.bytes -= (row.record as Uint8Array).length;
      countDeath(change.deadByReason, entry, -1);
      return entry;
    });
  }

  #writeProgress({ nextSequence }: Change): void {
    const [row] = this.#all("SELECT min(sequence) AS first FROM pending");
    const pendingFrom = typeof row?.first === "number" ? row.first : nextSequence;
    this.#prepare("REPLACE INTO progress VALUES (1, ?)").run(
      encodeProgress({ pendingFrom, nextSequence, owner: this.#owner }),
    );
  }

  /** Whether a key is in the file already, and with which content. */
  #known({ idempotencyKey, bytes, hasOwnTime }: NewRequest): Insertion | undefined {
    for (const table of ["pending", "dead"] as const) {
      const [row] = this.#all(
        `SELECT sequence, idempotency_key, record FROM ${table} WHERE idempotency_key = ?`,
        idempotencyKey,
      );
      if (row === undefined) continue;
      const { request } = this.#entryOf(row);
      const wanted = hasOwnTime ? bytes : withTimeOf(bytes, request);
      return Buffer.compare(wanted, request) === 0 ? { kind: "known", table } : { kind: "reused" };
    }
    return undefined;
  }

  /** @returns what is wrong with the structure of the file. */
  #structuralFault(): string | undefined {
    const [verdict] = this.#all("PRAGMA integrity_check(1)");
    if (verdict?.integrity_check !== "ok") return `SQLite finds: ${verdict?.integrity_check}`;
    if (this.#hasWriteAheadLog) return "it has a write-ahead log, as an outbox never has";
    const schema = this.#all("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name");
    const found = schema.map(({ sql }) => sql).join(";");
    const expected = Object.entries(TABLES)
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([, sql]) => sql)
      .join(";");
    return found === expected ? undefined : "its tables are not those of an outbox";
  }

  /** Reads every record and counts. @returns what is wrong with one. */
  #recount(): string | undefined {
    const change = { ...NOTHING, nextSequence: 1, deadByReason: new Map<DeathReason, number>() };
    for (const table of ["pending", "dead"] as const) {
      const rows = this.#guard(() =>
        this.#prepare(`SELECT sequence, idempotency_key, record FROM ${table}`).iterate(),
      );
      for (const row of this.#guardEach(rows)) {
        const entry = entryIn(row);
        if (entry === undefined) return brokenRecord(row);
        change.bytes += (row.record as Uint8Array).length;
        change.nextSequence = Math.max(change.nextSequence, entry.sequence + 1);
        if (table === "pending") change.pendingCount += 1;
        else countDeath(change.deadByReason, entry, 1);
      }
    }
    const progress = this.#progress();
    if (progress === undefined) return "the record of its progress is not as it was written";
    change.nextSequence = Math.max(change.nextSequence, progress.nextSequence);
    this.#commit(change);
    this.#seenDataVersion = this.#guard(() => this.#dataVersion.get()?.data_version);
    return undefined;
  }

  #progress(): Progress | undefined {
    const [row] = this.#all("SELECT record FROM progress");
    const content = row && decodeRecord(row.record as Uint8Array);
    return content?.kind === "progress" ? content.progress : undefined;
  }

  #transaction<T>(work: (change: Change) => T): T {
    return this.#guard(() => {
      this.#database.exec("BEGIN IMMEDIATE");
      try {
        this.refresh();
        const change = {
          ...this.#totals,
          deadByReason: new Map(this.#totals.deadByReason),
          nextSequence: this.#nextSequence,
        };
        const result = work(change);
        this.#database.exec("COMMIT");
        this.#commit(change);
        return result;
      } catch (error) {
        // SQLite may have rolled back by itself.
        if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
        throw error;
      }
    });
  }

  #commit({ nextSequence, ...totals }: Change): void {
    this.#totals = totals;
    this.#nextSequence = nextSequence;
  }

  /** Halves work for which the disk is too full, down to single entries. */
  #inParts<T>(items: readonly T[], work: (part: readonly T[]) => void): void {
    if (items.length === 0) return;
    try {
      work(items);
    } catch (error) {
      if (items.length === 1 || !isDiskFull(error)) throw error;
      const middle = items.length >> 1;
      this.#inParts(items.slice(0, middle), work);
      this.#inParts(items.slice(middle), work);
    }
  }

  #entryOf(row: Row): Entry {
    const entry = entryIn(row);
    if (entry === undefined) throw this.#damaged(brokenRecord(row));
    return entry;
  }

  /** Statements are few, and each is compiled once. */
  #prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#database.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  #all(sql: string, ...values: (string | number)[]): Row[] {
    return this.#guard(() => this.#prepare(sql).all(...values));
  }

  *#guardEach(rows: Iterable<Row>): Generator<Row> {
    try {
      yield* rows;
    } catch (error) {
      throw storageError(this.path, error);
    }
  }

  /** @throws OutboxError in place of anything that SQLite throws. */
  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw storageError(this.path, error);
    }
  }

  #damaged(fault: string): OutboxDamagedError {
    return new OutboxDamagedError(this.path, fault);
  }
}

/** The entry of a row; `undefined` unless the record is sound and belongs to the row. */
function entryIn({ sequence, idempotency_key, record }: Row): Entry | undefined {
  const content: RecordContent | undefined = decodeRecord(record as Uint8Array);
  if (content?.kind !== "entry") return undefined;
  const { entry } = content;
  const isItsOwn = entry.sequence === sequence && entry.idempotencyKey === idempotency_key;
  return isItsOwn ? entry : undefined;
}

function brokenRecord({ sequence, idempotency_key }: Row): string {
  return `the signal of sequence ${sequence} with key ${idempotency_key} is not as it was written`;
}
