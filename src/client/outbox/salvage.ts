/**
 * Reads what can be read of a damaged outbox file, in two ways:
 * - by SQLite, as far as it finds its way, which for a broken record is everywhere else;
 * - by the raw bytes: records that prove to be unchanged, wherever they lie. So whatever became
 *   of the structure around them, a flipped bit costs at most the signal that it is in. Only a
 *   record that is too long for one page of SQLite does not lie in one piece.
 *
 * Records of signals that were delivered since can still lie in unused parts of the file, so
 * whatever is older than the progress of delivery is left out. Of two records with one key the
 * later one counts.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import type { Entry, Progress } from "./entry.ts";
import { OutboxFile } from "./file.ts";
import { OutboxDamagedError } from "./outboxError.ts";
import {
  decodeRecord,
  RECORD_HEAD_BYTES,
  RECORD_MARK,
  type RecordContent,
  recordLength,
} from "./record.ts";

/** What was read of a damaged file. */
export interface Salvage {
  /** In order. */
  readonly entries: readonly Entry[];
  readonly progress: Progress;
  /** How many records are not whole; there may be more of which not even the beginning is. */
  readonly brokenCount: number;
}

/** How much is read at a time. */
const WINDOW_BYTES = 4 * 1_048_576;

/** @throws Error of the file system, or an OutboxError, if the file cannot be read at all. */
export function salvage(path: string): Salvage {
  const rows = entriesOfRows(path);
  const found = [...recordsOf(path)];
  const inOnePiece = found.flatMap((content) => (content?.kind === "entry" ? [content.entry] : []));
  const progress = found.flatMap((content) =>
    content?.kind === "progress" ? [content.progress] : [],
  );
  const pendingFrom = Math.max(1, ...progress.map((each) => each.pendingFrom));
  const entries = latestByKey([...rows, ...inOnePiece]).filter(
    ({ death, sequence }) => death !== undefined || sequence >= pendingFrom,
  );
  const nextSequence = Math.max(
    ...progress.map((each) => each.nextSequence),
    (entries.at(-1)?.sequence ?? 0) + 1,
  );
  const sequences = new Set(inOnePiece.map(({ sequence }) => sequence));
  const inPieces = rows.filter(({ sequence }) => !sequences.has(sequence));
  const brokenCount = found.filter((content) => content === undefined).length - inPieces.length;
  return {
    entries,
    progress: { pendingFrom, nextSequence },
    brokenCount: Math.max(0, brokenCount),
  };
}

/** In order. */
function latestByKey(entries: readonly Entry[]): Entry[] {
  const inOrder = [...entries].sort((one, other) => one.sequence - other.sequence);
  const latest = new Map(inOrder.map((entry) => [entry.idempotencyKey, entry]));
  return [...latest.values()].sort((one, other) => one.sequence - other.sequence);
}

/** What SQLite can still read. */
function entriesOfRows(path: string): Entry[] {
  let file: OutboxFile | undefined;
  try {
    file = new OutboxFile(path);
    return [...file.readable()];
  } catch (error) {
    if (error instanceof OutboxDamagedError) return [];
    throw error;
  } finally {
    file?.close();
  }
}

/** What the places say that look like the beginning of a record; `undefined` if it is not whole. */
function* recordsOf(path: string): Generator<RecordContent | undefined> {
  const file = openSync(path, "r");
  try {
    const { size } = fstatSync(file);
    for (let start = 0; start < size; start += WINDOW_BYTES) {
      const window = bytesAt(file, start, WINDOW_BYTES + RECORD_MARK.length - 1);
      for (
        let at = window.indexOf(RECORD_MARK);
        at >= 0;
        at = window.indexOf(RECORD_MARK, at + 1)
      ) {
        const length = recordLength(bytesAt(file, start + at, RECORD_HEAD_BYTES));
        yield length === undefined ? undefined : decodeRecord(bytesAt(file, start + at, length));
      }
    }
  } finally {
    closeSync(file);
  }
}

/** The bytes at a place, fewer at the end of the file. */
function bytesAt(file: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, readSync(file, bytes, 0, length, position));
}
