/**
 * Signals in PostgreSQL. What storing exactly once means is decided by the function
 * `ingest_signals` in the migrations; here is only the translation to and from it.
 */
import type { SignalCandidate, SignalStore, StoreOutcome } from "../ingest/store.ts";
import { SignalRejectedError, StoreUnavailableError } from "../ingest/store.ts";
import {
  type Instant,
  SIGNAL_FIELD_LIST,
  type Signal,
  type SignalFieldRow,
  type SignalStatus,
} from "../signal/index.ts";
import type { Database } from "./database.ts";
import { isDataException } from "./failure.ts";
import { DURABLE_COMMIT } from "./session.ts";
import { fromMicros, nanosBelowMicro, toArray, toBytea, toTimestamptz } from "./values.ts";

/** A signal as it is on disk. */
export interface StoredSignal {
  readonly signalId: string;
  readonly producerId: string;
  readonly idempotencyKey: string | undefined;
  /** SHA-256 of the signal's content, 32 bytes. */
  readonly contentSha256: Uint8Array;
  readonly status: SignalStatus;
  /** Its place in the order in which signals were stored and changed. */
  readonly sequence: bigint;
  /** When the server received it, cut to the microsecond. */
  readonly receiveTime: Instant;
  /** When its row last changed, to the microsecond. */
  readonly updateTime: Instant;
  readonly signal: Signal;
}

/** Which signals to list. */
export interface ListSignalsOptions {
  /** Only those whose sequence is greater. 0 gives all. */
  readonly afterSequence: bigint;
  /** The most to return. */
  readonly limit: number;
}

/** {@link SignalStore} with what is needed to read signals back. */
export interface PostgresSignalStore extends SignalStore {
  /** @throws StoreUnavailableError */
  findSignal(signalId: string, timeoutMs?: number): Promise<StoredSignal | undefined>;
  /**
   * In the order of their sequence. Whoever goes on with the last sequence of the answer
   * sees every signal, since sequences become visible in their order.
   *
   * @throws StoreUnavailableError
   */
  listSignals(options: ListSignalsOptions, timeoutMs?: number): Promise<StoredSignal[]>;
}

const DEFAULT_READ_TIMEOUT_MS = 5_000;

/** Makes the store on a database whose migrations are all applied. */
export function createSignalStore(database: Database): PostgresSignalStore {
  return {
    async ingest(candidates, timeoutMs) {
      if (candidates.length === 0) {
        return [];
      }
      const rows = await ingestSignals(database, candidates, timeoutMs).catch((error: unknown) => {
        throw isDataException(error)
          ? new SignalRejectedError("A signal does not fit", { cause: error })
          : error;
      });
      if (rows.length === 0) {
        throw new StoreUnavailableError(
          "The database would not keep what it stores now, so nothing was stored: see its settings fsync, full_page_writes, default_transaction_isolation and array_nulls",
        );
      }
      if (rows.length !== candidates.length) {
        throw new StoreUnavailableError(
          `The database gave ${rows.length} answers for ${candidates.length} signals`,
        );
      }
      return rows.map(toStoreOutcome);
    },

    async findSignal(signalId, timeoutMs = DEFAULT_READ_TIMEOUT_MS) {
      const [row] = await database.query<SignalRow>(
        timeoutMs,
        (sql) => sql`
          SELECT ${sql.unsafe(SIGNAL_COLUMNS)} FROM signals WHERE signal_id = ${signalId}
        `,
      );
      return row && toStoredSignal(row);
    },

    async listSignals({ afterSequence, limit }, timeoutMs = DEFAULT_READ_TIMEOUT_MS) {
      const rows = await database.query<SignalRow>(
        timeoutMs,
        (sql) => sql`
          SELECT ${sql.unsafe(SIGNAL_COLUMNS)} FROM signals WHERE sequence > ${afterSequence} ORDER BY sequence LIMIT ${limit}
        `,
      );
      return rows.map(toStoredSignal);
    },
  };
}

/** A row of the function `ingest_signals`. */
interface OutcomeRow {
  readonly outcome: "stored" | "duplicate" | "key_reused" | "expired";
  readonly signal_id: string | null;
  readonly status: SignalStatus | null;
  readonly receive_time_micros: bigint | null;
}

/** One field of each candidate, as a parameter of `ingest_signals`. */
type Parameter = (candidate: SignalCandidate) => string | number | boolean | undefined;

/** A time has two, since a timestamptz has microseconds only. */
function parametersOf({ field, kind }: SignalFieldRow): Parameter[] {
  if (kind === "object") return [({ payloadJson }) => payloadJson];
  if (kind !== "time") return [({ signal }) => signal[field]];
  return [toTimestamptz, nanosBelowMicro].map((part): Parameter => {
    return ({ signal: { [field]: time } }) => (time === undefined ? undefined : part(time));
  });
}

/** What `ingest_signals` takes of each candidate, in the order of its parameters. */
const PARAMETERS: readonly Parameter[] = [
  (c) => c.signalId,
  (c) => c.producerId,
  (c) => c.idempotencyKey,
  (c) => c.requestSignature && toBytea(c.requestSignature),
  (c) => c.requestItem,
  (c) => toBytea(c.contentSha256),
  (c) => c.status,
  (c) => toTimestamptz(c.receiveTime),
  isExpired,
  ...SIGNAL_FIELD_LIST.flatMap(parametersOf),
];

/**
 * Nothing is stored while a crash could lose it, in an isolation that would not see what was
 * committed while the lock was waited for, or where a missing field would be the text "NULL",
 * so that signals without a key would share one. The condition names no column, so it is
 * looked at before the function is called, and costs no message of its own.
 */
const INGEST_SIGNALS = `
  SELECT outcome, signal_id, status, epoch_micros(receive_time) AS receive_time_micros
  FROM ingest_signals(${PARAMETERS.map((_, index) => `$${index + 1}`).join(", ")}),
    ${DURABLE_COMMIT} AS synchronous_commit
  WHERE current_setting('fsync') = 'on'
    AND current_setting('full_page_writes') = 'on'
    AND current_setting('transaction_isolation') = 'read committed'
    AND current_setting('array_nulls') = 'on'
  ORDER BY item
`;

function ingestSignals(
  database: Database,
  candidates: readonly SignalCandidate[],
  timeoutMs: number,
): Promise<readonly OutcomeRow[]> {
  const parameters = PARAMETERS.map((parameter) => toArray(candidates.map(parameter)));
  return database.query<OutcomeRow>(timeoutMs, (sql) =>
    sql.unsafe(INGEST_SIGNALS, parameters, { prepare: true }),
  );
}

function isExpired({ signal, receiveTime }: SignalCandidate): boolean {
  return signal.expireTime !== undefined && signal.expireTime <= receiveTime;
}

function toStoreOutcome(row: OutcomeRow): StoreOutcome {
  if (row.outcome === "expired" || row.outcome === "key_reused") {
    return { kind: row.outcome };
  }
  if (row.signal_id === null || row.status === null || row.receive_time_micros === null) {
    throw new StoreUnavailableError("The database answered without the signal that it stored");
  }
  return {
    kind: row.outcome,
    signalId: row.signal_id,
    status: row.status,
    receiveTime: fromMicros(row.receive_time_micros),
  };
}

/** The columns of a {@link SignalRow}. */
const SIGNAL_COLUMNS = [
  "signal_id",
  "producer_id",
  "idempotency_key",
  "content_sha256",
  "status",
  "sequence",
  "epoch_micros(receive_time) AS receive_time_micros",
  "epoch_micros(updated_at) AS updated_at_micros",
  ...SIGNAL_FIELD_LIST.flatMap(({ name, kind }) =>
    kind === "time" ? [`epoch_micros(${name}) AS ${name}_micros`, `${name}_nanos`] : [name],
  ),
].join(", ");

/** A row of the table `signals`, its times as whole microseconds, with the fields of its signal. */
interface SignalRow extends Readonly<Record<string, unknown>> {
  readonly signal_id: string;
  readonly producer_id: string;
  readonly idempotency_key: string | null;
  readonly content_sha256: Uint8Array;
  readonly status: SignalStatus;
  readonly sequence: bigint;
  readonly receive_time_micros: bigint;
  readonly updated_at_micros: bigint;
}

function toStoredSignal(row: SignalRow): StoredSignal {
  return {
    signalId: row.signal_id,
    producerId: row.producer_id,
    idempotencyKey: row.idempotency_key ?? undefined,
    contentSha256: new Uint8Array(row.content_sha256),
    status: row.status,
    sequence: row.sequence,
    receiveTime: fromMicros(row.receive_time_micros),
    updateTime: fromMicros(row.updated_at_micros),
    signal: signalOf(row),
  };
}

/** What was stored was valid, so that each column holds what its field does. */
function signalOf(row: SignalRow): Signal {
  const fields = SIGNAL_FIELD_LIST.map(({ field, name, kind }) => {
    if (kind !== "time") return [field, row[name] ?? undefined];
    const micros = row[`${name}_micros`] as bigint | null;
    return [
      field,
      micros === null ? undefined : fromMicros(micros, row[`${name}_nanos`] as number),
    ];
  });
  return Object.fromEntries(fields) as Signal;
}
