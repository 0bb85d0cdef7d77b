/**
 * Signals in PostgreSQL. What storing exactly once means is decided by the function
 * `ingest_signals` in the migrations; here is only the translation to and from it.
 */
import type { SignalCandidate, SignalStore, StoreOutcome } from "../ingest/store.ts";
import { SignalRejectedError, StoreUnavailableError } from "../ingest/store.ts";
import type { Instant, JsonObject, Side, Signal, SignalStatus } from "../signal/index.ts";
import type { Database } from "./database.ts";
import { isDataException } from "./failure.ts";
import type { Sql } from "./pool.ts";
import { durableCommit } from "./session.ts";
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
          SELECT ${signalColumns(sql)} FROM signals WHERE signal_id = ${signalId}
        `,
      );
      return row && toStoredSignal(row);
    },

    async listSignals({ afterSequence, limit }, timeoutMs = DEFAULT_READ_TIMEOUT_MS) {
      const rows = await database.query<SignalRow>(
        timeoutMs,
        (sql) => sql`
          SELECT ${signalColumns(sql)} FROM signals WHERE sequence > ${afterSequence} ORDER BY sequence LIMIT ${limit}
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

/**
 * Nothing is stored while a crash could lose it, in an isolation that would not see what was
 * committed while the lock was waited for, or where a missing field would be the text "NULL",
 * so that signals without a key would share one. The condition names no column, so it is
 * looked at before the function is called, and costs no message of its own.
 */
function ingestSignals(
  database: Database,
  candidates: readonly SignalCandidate[],
  timeoutMs: number,
): Promise<readonly OutcomeRow[]> {
  /** One field of every candidate. */
  const column = (field: (candidate: SignalCandidate) => string | number | boolean | undefined) =>
    toArray(candidates.map(field));
  const signalColumn = (
    field: (signal: SignalCandidate["signal"]) => string | number | undefined,
  ) => toArray(candidates.map(({ signal }) => field(signal)));

  return database.query<OutcomeRow>(
    timeoutMs,
    (sql) => sql`
      SELECT outcome, signal_id, status, epoch_micros(receive_time) AS receive_time_micros
      FROM ingest_signals(
        ${column((c) => c.signalId)},
        ${column((c) => c.producerId)},
        ${column((c) => c.idempotencyKey)},
        ${column((c) => c.requestSignature && toBytea(c.requestSignature))},
        ${column((c) => c.requestItem)},
        ${column((c) => toBytea(c.contentSha256))},
        ${column((c) => c.status)},
        ${column((c) => toTimestamptz(c.receiveTime))},
        ${column(isExpired)},
        ${signalColumn((s) => s.instrument)},
        ${signalColumn((s) => s.side)},
        ${signalColumn((s) => s.entryPrice)},
        ${signalColumn((s) => s.stopLoss)},
        ${signalColumn((s) => s.takeProfit)},
        ${signalColumn((s) => s.confidence)},
        ${signalColumn((s) => s.riskPercent)},
        ${signalColumn((s) => s.strategyName)},
        ${signalColumn((s) => s.reason)},
        ${signalColumn((s) => s.comment)},
        ${signalColumn((s) => toTimestamptz(s.signalTime))},
        ${signalColumn((s) => nanosBelowMicro(s.signalTime))},
        ${signalColumn((s) => (s.expireTime === undefined ? undefined : toTimestamptz(s.expireTime)))},
        ${signalColumn((s) => (s.expireTime === undefined ? undefined : nanosBelowMicro(s.expireTime)))},
        ${column((c) => c.payloadJson)}
      ), ${durableCommit(sql)} AS synchronous_commit
      WHERE current_setting('fsync') = 'on'
        AND current_setting('full_page_writes') = 'on'
        AND current_setting('transaction_isolation') = 'read committed'
        AND current_setting('array_nulls') = 'on'
      ORDER BY item
    `,
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
function signalColumns(sql: Sql) {
  return sql`
    signal_id, producer_id, idempotency_key, content_sha256, status, sequence,
    instrument, side, entry_price, stop_loss, take_profit, confidence, risk_percent,
    strategy_name, reason, comment, payload,
    epoch_micros(signal_time) AS signal_time_micros, signal_time_nanos,
    epoch_micros(expire_time) AS expire_time_micros, expire_time_nanos,
    epoch_micros(receive_time) AS receive_time_micros,
    epoch_micros(updated_at) AS updated_at_micros
  `;
}

/** A row of the table `signals`, its times as whole microseconds. */
interface SignalRow {
  readonly signal_id: string;
  readonly producer_id: string;
  readonly idempotency_key: string | null;
  readonly content_sha256: Uint8Array;
  readonly status: SignalStatus;
  readonly sequence: bigint;
  readonly instrument: string;
  readonly side: Side;
  readonly entry_price: number;
  readonly stop_loss: number | null;
  readonly take_profit: number | null;
  readonly confidence: number | null;
  readonly risk_percent: number | null;
  readonly strategy_name: string;
  readonly reason: string;
  readonly comment: string;
  readonly signal_time_micros: bigint;
  readonly signal_time_nanos: number;
  readonly expire_time_micros: bigint | null;
  readonly expire_time_nanos: number | null;
  readonly payload: JsonObject | null;
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
    signal: {
      instrument: row.instrument,
      side: row.side,
      entryPrice: row.entry_price,
      stopLoss: row.stop_loss ?? undefined,
      takeProfit: row.take_profit ?? undefined,
      confidence: row.confidence ?? undefined,
      riskPercent: row.risk_percent ?? undefined,
      strategyName: row.strategy_name,
      reason: row.reason,
      comment: row.comment,
      signalTime: fromMicros(row.signal_time_micros, row.signal_time_nanos),
      expireTime:
        row.expire_time_micros === null
          ? undefined
          : fromMicros(row.expire_time_micros, row.expire_time_nanos ?? 0),
      payload: row.payload ?? undefined,
    },
  };
}
