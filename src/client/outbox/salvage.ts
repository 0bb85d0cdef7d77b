/**
 * Reads what can be read of a damaged outbox file, by its raw bytes: it looks for records
 * wherever they lie, and takes those that prove to be unchanged. Whatever became of the
 * structure around them, one flipped bit then costs at most the one signal that it is in.
 *
 * Nearly all records lie in one piece. One that is too long for a page of SQLite goes on in
 * a chain of overflow pages (https://sqlite.org/fileformat2.html, "Cell Payload Overflow
 * Pages"), and is followed there.
 *
 * Records of signals that were delivered since can still lie in unused parts of the file, so
 * whatever is older than the progress of delivery is left out. Of two records with one key the
 * later one counts.
 */
import { closeSync, existsSync, fstatSync, openSync, readSync } from "node:fs";
import { PAGE_BYTES } from "./outboxFormat.ts";
import {
  decodeRecord,
  type Entry,
  type Progress,
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
  /** How many places look like a record that is no longer whole. */
  readonly brokenCount: number;
}

/** How much is read at a time. */
const WINDOW_BYTES = 4 * 1_048_576;
/** How a journal begins that is still to be rolled back; otherwise it holds what is past. */
const HOT_JOURNAL_MARK = Buffer.from("d9d505f920a163d7", "hex");

/** @throws Error of the file system if the file cannot be read at all. */
export function salvage(path: string): Salvage {
  const latestByKey = new Map<string, Entry>();
  let progress: Progress = { pendingFrom: 1, nextSequence: 1 };
  let brokenCount = 0;
  for (const content of recordsIn(path)) {
    if (content === undefined) brokenCount += 1;
    else if (content.kind === "progress") progress = later(progress, content.progress);
    else keepLatest(latestByKey, content.entry);
  }
  const entries = [...latestByKey.values()]
    .filter(({ death, sequence }) => death !== undefined || sequence >= progress.pendingFrom)
    .sort((one, other) => one.sequence - other.sequence);
  const last = entries.at(-1)?.sequence ?? 0;
  const nextSequence = Math.max(progress.nextSequence, last + 1);
  return { entries, progress: { ...progress, nextSequence }, brokenCount };
}

function later(one: Progress, other: Progress): Progress {
  return {
    pendingFrom: Math.max(one.pendingFrom, other.pendingFrom),
    nextSequence: Math.max(one.nextSequence, other.nextSequence),
  };
}

function keepLatest(latestByKey: Map<string, Entry>, entry: Entry): void {
  const known = latestByKey.get(entry.idempotencyKey);
  if (known === undefined || known.sequence < entry.sequence) {
    latestByKey.set(entry.idempotencyKey, entry);
  }
}

/** Every record of the file and of its journal; `undefined` for one that is not whole. */
function* recordsIn(path: string): Generator<RecordContent | undefined> {
  yield* recordsOf(path);
  const journal = `${path}-journal`;
  if (existsSync(journal) && isHot(journal)) yield* recordsOf(journal);
}

function isHot(journal: string): boolean {
  using file = new RawFile(journal);
  return file.read(0, HOT_JOURNAL_MARK.length).equals(HOT_JOURNAL_MARK);
}

function* recordsOf(path: string): Generator<RecordContent | undefined> {
  using file = new RawFile(path);
  for (const place of placesOfMarks(file)) {
    const length = recordLength(file.read(place, RECORD_HEAD_BYTES));
    yield length === undefined
      ? undefined
      : (decodeRecord(file.read(place, length)) ?? decodeInChain(file, place, length));
  }
}

function* placesOfMarks(file: RawFile): Generator<number> {
  for (let start = 0; start < file.size; start += WINDOW_BYTES) {
    const window = file.read(start, WINDOW_BYTES + RECORD_MARK.length - 1);
    let at = window.indexOf(RECORD_MARK);
    while (at >= 0) {
      yield start + at;
      at = window.indexOf(RECORD_MARK, at + 1);
    }
  }
}

// The formulas of the file format, for the leaf of a table, whose pages reserve no bytes.
const LOCAL_MAX = PAGE_BYTES - 35;
const LOCAL_MIN = Math.floor(((PAGE_BYTES - 12) * 32) / 255) - 23;
const PAGE_LINK_BYTES = 4;
const OVERFLOW_BYTES = PAGE_BYTES - PAGE_LINK_BYTES;
/** How much of a record holds its key for certain. */
const KEY_WITHIN_BYTES = 400;

/**
 * Reads a record that goes on in overflow pages. How much of it lies before them depends on
 * what stands before it in its row: the lengths of the columns, and the key, which the record
 * begins with too.
 */
function decodeInChain(file: RawFile, place: number, length: number): RecordContent | undefined {
  const keyLength = keyLengthIn(file.read(place, KEY_WITHIN_BYTES));
  if (keyLength === undefined) return undefined;
  const prefix = rowPrefixBytes(keyLength, length);
  const payload = prefix + length;
  if (payload <= LOCAL_MAX) return undefined;
  const wanted = LOCAL_MIN + ((payload - LOCAL_MIN) % OVERFLOW_BYTES);
  const local = (wanted <= LOCAL_MAX ? wanted : LOCAL_MIN) - prefix;
  const record = readChain(file, place, local, length);
  return record && decodeRecord(record);
}

function keyLengthIn(head: Buffer): number | undefined {
  const literal = /"idempotencyKey":("(?:[^"\\]|\\.)*")/.exec(head.toString("latin1"))?.[1];
  return literal?.replaceAll(/\\./g, "x").slice(1, -1).length;
}

/**
 * The length of the row's header (its own length, no bytes for the sequence, then key and
 * record by their types) and of the key.
 */
function rowPrefixBytes(keyLength: number, recordBytes: number): number {
  return 2 + varintBytes(13 + 2 * keyLength) + varintBytes(12 + 2 * recordBytes) + keyLength;
}

function varintBytes(value: number): number {
  return value < 128 ? 1 : 1 + varintBytes(Math.floor(value / 128));
}

/** The bytes of a record whose first part has `local` bytes; `undefined` if the chain breaks. */
function readChain(
  file: RawFile,
  place: number,
  local: number,
  length: number,
): Buffer | undefined {
  const head = file.read(place, local + PAGE_LINK_BYTES);
  if (head.length < local + PAGE_LINK_BYTES) return undefined;
  const parts = [head.subarray(0, local)];
  let page = head.readUInt32BE(local);
  for (let missing = length - local; missing > 0; missing -= OVERFLOW_BYTES) {
    if (page < 2 || page * PAGE_BYTES > file.size) return undefined;
    const bytes = file.read((page - 1) * PAGE_BYTES, PAGE_BYTES);
    parts.push(bytes.subarray(PAGE_LINK_BYTES, PAGE_LINK_BYTES + missing));
    page = bytes.readUInt32BE(0);
  }
  return Buffer.concat(parts);
}

/** A file to read at any place. */
class RawFile implements Disposable {
  readonly size: number;
  readonly #handle: number;

  constructor(path: string) {
    this.#handle = openSync(path, "r");
    this.size = fstatSync(this.#handle).size;
  }

  /** The bytes at a place, fewer at the end of the file. */
  read(position: number, length: number): Buffer {
    const bytes = Buffer.alloc(Math.max(0, Math.min(length, this.size - position)));
    let read = 0;
    while (read < bytes.length) {
      const count = readSync(this.#handle, bytes, read, bytes.length - read, position + read);
      if (count === 0) break;
      read += count;
    }
    return bytes.subarray(0, read);
  }

  [Symbol.dispose](): void {
    closeSync(this.#handle);
  }
}
