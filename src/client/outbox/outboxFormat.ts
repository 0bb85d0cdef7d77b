/**
 * What an outbox file looks like to SQLite, and how a new one is made.
 *
 * With a rollback journal and `synchronous=FULL`, SQLite syncs the journal, then the file, and
 * then the journal's end; the journal stays (`PERSIST`), so that its room on the disk is kept
 * and entries can still be removed when the disk is full. A write-ahead log would be a little
 * faster, but of a log in which one bit flips SQLite drops all later commits without a word.
 */
import { closeSync, fsyncSync, openSync, rmSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { type Entry, encodeEntry, encodeProgress, type Progress } from "./record.ts";
import { openSqlite } from "./sqlite.ts";
import { storageError } from "./sqliteFault.ts";

/** The size of a page, which salvage relies on. */
export const PAGE_BYTES = 4_096;

/** How long another process may be waited for, which holds the file for milliseconds at most. */
const BUSY_TIMEOUT_MS = 2_000;
/** What the journal keeps of the disk, at most. */
const JOURNAL_MAX_BYTES = 1_048_576;
/** Room that a new file takes at once, so that a full disk does not hinder removals. */
const RESERVED_PAGES = 16;

/** Set apart from the others, since it changes a file that is no outbox. */
export const JOURNAL_MODE = "PRAGMA journal_mode = PERSIST";
/** What each connection to an outbox is set to. */
export const PRAGMAS = `
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

/** Opens the database as every outbox does, but for {@link PRAGMAS}. */
export function openDatabase(path: string): DatabaseSync {
  return openSqlite(path, { timeout: BUSY_TIMEOUT_MS, defensive: true });
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
  for (const suffix of ["", "-journal"]) rmSync(path + suffix, { force: true });
  try {
    // Signals are nobody else's business.
    closeSync(openSync(path, "wx", 0o600));
    const database = openDatabase(path);
    try {
      database.exec(
        `PRAGMA page_size = ${PAGE_BYTES}; PRAGMA encoding = 'UTF-8'; ${JOURNAL_MODE}; ${PRAGMAS}`,
      );
      database.exec(Object.values(TABLES).join(";"));
      reserveRoom(database);
      fill(database, entries, progress);
    } finally {
      database.close();
    }
    syncFile(path);
  } catch (error) {
    throw storageError(path, error);
  }
}

/** Makes file and journal big enough that entries can be removed on a full disk. */
function reserveRoom(database: DatabaseSync): void {
  const fill = database.prepare("INSERT INTO dead VALUES (?, ?, zeroblob(?))");
  database.exec("BEGIN");
  for (let page = 0; page < RESERVED_PAGES; page++) fill.run(page, String(page), PAGE_BYTES - 100);
  database.exec("COMMIT; DELETE FROM dead");
}

function fill(database: DatabaseSync, entries: readonly Entry[], progress: Progress): void {
  database.exec("BEGIN");
  for (const entry of entries) {
    const table: EntryTable = entry.death === undefined ? "pending" : "dead";
    database
      .prepare(`INSERT INTO ${table} VALUES (?, ?, ?)`)
      .run(entry.sequence, entry.idempotencyKey, encodeEntry(entry));
  }
  database.prepare("INSERT INTO progress VALUES (1, ?)").run(encodeProgress(progress));
  database.exec("COMMIT");
}

/** Before anything has it open: closing a second handle would end SQLite's locks. */
function syncFile(path: string): void {
  const handle = openSync(path, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
