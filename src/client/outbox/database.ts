/**
 * The SQLite database of an outbox: its tables, a connection to it, and how a new file is made.
 *
 * With a rollback journal and `synchronous=FULL`, SQLite syncs the journal, then the file, and
 * then the journal's end; the journal stays (`PERSIST`), so that its room on the disk is kept
 * and entries can still be removed when the disk is full. A write-ahead log would be a little
 * faster, but of a log in which one bit flips SQLite drops all later commits without a word.
 *
 * This is the only module that loads `node:sqlite`, and not before an outbox is opened, so that
 * the rest of the client also runs on a Node.js without it.
 */
import { closeSync, fsyncSync, openSync, rmSync } from "node:fs";
import type { DatabaseSync, DatabaseSyncOptions, SQLOutputValue, StatementSync } from "node:sqlite";
import type { Entry, Progress } from "./entry.ts";
import { OutboxError, storageError, withStorageErrors } from "./outboxError.ts";
import { encodeEntry, encodeProgress } from "./record.ts";

/** The first version whose `node:sqlite` has all that an outbox uses and needs no flag. */
const NODE_MAJOR_MIN = 24;
const NODE_MINOR_MIN = 16;

/** @throws OutboxError `OUTBOX_UNSUPPORTED` if this Node.js is too old. */
export function requireSqlite(): typeof import("node:sqlite") {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < NODE_MAJOR_MIN || (major === NODE_MAJOR_MIN && minor < NODE_MINOR_MIN)) {
    throw new OutboxError(
      "OUTBOX_UNSUPPORTED",
      `The outbox needs Node.js ${NODE_MAJOR_MIN}.${NODE_MINOR_MIN} or newer for its SQLite file, and this is Node.js ${process.versions.node}. Run the bot on a newer Node.js, or send with the client alone.`,
    );
  }
  // The types of an older Node.js, which the client is also checked against, do not know it.
  return process.getBuiltinModule("node:sqlite") as typeof import("node:sqlite");
}

/** Opens a SQLite file. @throws Error of SQLite, or `OUTBOX_UNSUPPORTED`. */
export function openSqlite(path: string, options: DatabaseSyncOptions): DatabaseSync {
  const { DatabaseSync } = requireSqlite();
  return new DatabaseSync(path, options);
}

/** How long another process may be waited for, which holds the file for milliseconds at most. */
const BUSY_TIMEOUT_MS = 2_000;
/** What the journal keeps of the disk, at most. */
const JOURNAL_MAX_BYTES = 1_048_576;
/** Room that a new file takes at once, so that a full disk does not hinder removals. */
const RESERVED_ROWS = 16;
/** One fills a page of SQLite. */
const RESERVED_ROW_BYTES = 4_000;

/** Set apart from the others, since it changes a file that is no outbox. */
const JOURNAL_MODE = "PRAGMA journal_mode = PERSIST";
/** What each connection is set to. */
const PRAGMAS = `
  PRAGMA journal_size_limit = ${JOURNAL_MAX_BYTES};
  PRAGMA synchronous = FULL;
  PRAGMA secure_delete = ON;
  PRAGMA cell_size_check = ON;
  PRAGMA trusted_schema = OFF;
`;

/** The tables, by their names: a file with others is no outbox. */
export const TABLES = {
  pending:
    "CREATE TABLE pending (sequence INTEGER PRIMARY KEY, idempotency_key TEXT NOT NULL UNIQUE, record BLOB NOT NULL) STRICT",
  dead: "CREATE TABLE dead (sequence INTEGER PRIMARY KEY, idempotency_key TEXT NOT NULL UNIQUE, record BLOB NOT NULL) STRICT",
  progress:
    "CREATE TABLE progress (id INTEGER PRIMARY KEY CHECK (id = 1), record BLOB NOT NULL) STRICT",
} as const;

/** Where an entry is: still to be delivered, or a dead letter. */
export type EntryTable = "pending" | "dead";

/** The tables with entries. */
export const ENTRY_TABLES = ["pending", "dead"] as const satisfies readonly EntryTable[];

/** The table of an entry. */
export function tableOf({ death }: Pick<Entry, "death">): EntryTable {
  return death === undefined ? "pending" : "dead";
}

/** A row of any query. */
export type Row = Record<string, SQLOutputValue>;

/** A connection to an outbox file. Every method may throw an OutboxError, and no other error. */
export class Database {
  readonly path: string;
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** Opens a file that exists. Whether it is an outbox is not looked at. */
  constructor(path: string) {
    this.path = path;
    this.#database = withStorageErrors(path, () =>
      openSqlite(path, { timeout: BUSY_TIMEOUT_MS, defensive: true }),
    );
    try {
      this.exec(PRAGMAS);
      // A file with a write-ahead log is no outbox. This would change it for everybody.
      if (!this.hasWriteAheadLog) this.exec(JOURNAL_MODE);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get hasWriteAheadLog(): boolean {
    return this.all("PRAGMA journal_mode")[0]?.journal_mode === "wal";
  }

  exec(sql: string): void {
    withStorageErrors(this.path, () => this.#database.exec(sql));
  }

  run(sql: string, ...values: (string | number | Uint8Array)[]): void {
    withStorageErrors(this.path, () => this.#prepare(sql).run(...values));
  }

  all(sql: string, ...values: (string | number)[]): Row[] {
    return withStorageErrors(this.path, () => this.#prepare(sql).all(...values));
  }

  /** Reads the rows of a result one by one, so that not all of them are in memory at once. */
  *rows(sql: string, ...values: (string | number)[]): Generator<Row> {
    try {
      yield* this.#prepare(sql).iterate(...values);
    } catch (error) {
      throw storageError(this.path, error);
    }
  }

  /** Does all or nothing of the work, on disk when the call returns. */
  transaction<T>(work: () => T): T {
    this.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.exec("COMMIT");
      return result;
    } catch (error) {
      // SQLite may have rolled back by itself.
      if (this.#database.isTransaction) this.exec("ROLLBACK");
      throw error;
    }
  }

  close(): void {
    this.#database.close();
  }

  /** Statements are few, and each is compiled once. */
  #prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#database.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }
}

/** Inserts an entry, whose record may be known already. */
export function insertEntry(database: Database, entry: Entry, record = encodeEntry(entry)): void {
  const sql = `INSERT INTO ${tableOf(entry)} VALUES (?, ?, ?)`;
  database.run(sql, entry.sequence, entry.idempotencyKey, record);
}

/** Writes how far delivery has come. */
export function writeProgress(database: Database, progress: Progress): void {
  database.run("REPLACE INTO progress VALUES (1, ?)", encodeProgress(progress));
}

/**
 * Makes a new file, complete and on disk, in place of whatever is at the path.
 *
 * @throws OutboxError `OUTBOX_STORAGE` if it cannot be written.
 */
export function createOutboxFile(
  path: string,
  entries: readonly Entry[],
  progress: Progress,
): void {
  withStorageErrors(path, () => {
    for (const suffix of ["", "-journal"]) rmSync(path + suffix, { force: true });
    // Nobody else should read signals.
    closeSync(openSync(path, "wx", 0o600));
    const database = new Database(path);
    try {
      database.exec(Object.values(TABLES).join(";"));
      reserveRoom(database);
      database.transaction(() => {
        for (const entry of entries) insertEntry(database, entry);
        writeProgress(database, progress);
      });
    } finally {
      database.close();
    }
    // While nothing has it open: closing a second handle would end SQLite's locks.
    syncPath(path);
  });
}

/** Makes file and journal big enough that entries can be removed on a full disk. */
function reserveRoom(database: Database): void {
  database.transaction(() => {
    for (let row = 0; row < RESERVED_ROWS; row++) {
      database.run(
        "INSERT INTO dead VALUES (?, ?, zeroblob(?))",
        row,
        `${row}`,
        RESERVED_ROW_BYTES,
      );
    }
  });
  database.exec("DELETE FROM dead");
}

/** Has a file or a folder written to the disk, so that it is still there after a power failure. */
export function syncPath(path: string): void {
  const handle = openSync(path, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
