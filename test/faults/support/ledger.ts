/**
 * What producers sent and what they were promised, held against what is on disk.
 */
import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { contentSha256, type Signal } from "../../../src/signal/index.ts";
import { createSignalStore, openDatabase, type StoredSignal } from "../../../src/store/index.ts";
import { silentLog } from "../../support/postgres.ts";
import { validSignal } from "../../support/signals.ts";

/** One signal under its key. */
export interface Sent {
  readonly key: string;
  readonly signal: Signal;
  /** The id that an acknowledgement named; `undefined` as long as there was none. */
  acknowledgedId: string | undefined;
}

/** A signal like no other, under a new key. */
export function nextSent(): Sent {
  const key = randomUUID();
  const signal = validSignal({ comment: key, payload: { key, levels: [1, 2.5, { deep: true }] } });
  return { key, signal, acknowledgedId: undefined };
}

/** Those that nobody promised anything about. */
export function unacknowledged(sent: readonly Sent[]): Sent[] {
  return sent.filter(({ acknowledgedId }) => acknowledgedId === undefined);
}

/** Reads what is on disk: one connection for the whole of a test. */
export interface Reader {
  /** The rows whose sequence is greater, in the order of their sequence. */
  read(afterSequence?: bigint): Promise<StoredSignal[]>;
  close(): Promise<void>;
}

const ROWS_MAX = 1_000_000;
const READ_TIMEOUT_MS = 20_000;

/** Opens a reader of the database itself, past any server. */
export function openReader(databaseUrl: string): Reader {
  const database = openDatabase({ url: databaseUrl, poolSize: 1, log: silentLog });
  const store = createSignalStore(database);
  return {
    read: (afterSequence = 0n) =>
      store.listSignals({ afterSequence, limit: ROWS_MAX }, READ_TIMEOUT_MS),
    close: () => database.close(),
  };
}

/** Reads all rows once. */
export async function readRows(databaseUrl: string): Promise<StoredSignal[]> {
  const reader = openReader(databaseUrl);
  return reader.read().finally(() => reader.close());
}

/**
 * Every way in which an acknowledgement is broken: the signal is not there, is there under
 * another id, or is not what was sent. Empty if all are kept.
 */
export function brokenPromises(sent: readonly Sent[], rows: readonly StoredSignal[]): string[] {
  const rowByKey = new Map(rows.map((row) => [row.idempotencyKey, row]));
  return sent.flatMap(({ key, signal, acknowledgedId }) => {
    if (acknowledgedId === undefined) return [];
    const row = rowByKey.get(key);
    if (row === undefined) return [`${key} was acknowledged and is not stored`];
    if (row.signalId !== acknowledgedId) return [`${key} is stored under another id`];
    const isSame =
      isDeepStrictEqual(row.signal, signal) &&
      Buffer.from(row.contentSha256).equals(contentSha256(signal));
    return isSame ? [] : [`${key} is stored with another content`];
  });
}

/** The keys in an order of their own, to compare what is stored with what was sent. */
export function sortedKeys(sent: readonly Sent[]): string[] {
  return sent.map(({ key }) => key).sort();
}

/** The keys of rows, each as often as it is stored. */
export function sortedRowKeys(rows: readonly StoredSignal[]): string[] {
  return rows.map(({ idempotencyKey }) => String(idempotencyKey)).sort();
}
