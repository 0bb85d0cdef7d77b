/**
 * Collects accepted signals from many calls and hands them to the store in batches, since
 * a database stores a hundred signals in one transaction almost as fast as one.
 *
 * A signal is *queued* when its call is accepted; then a batch takes it and it is *in
 * flight*; then it is *answered*. Each is answered exactly once: by the store's outcome, by
 * a refusal, or because its call gave up, whichever comes first. A call gives up at its
 * deadline, or when it has waited for the store as long as any may. If it is still queued,
 * it is then dropped; but what is in flight is not taken back: it may still be stored, and
 * a retry under the same key then finds it.
 *
 * Calls leave in the order in which they came, and a call is never cut in two: two batches
 * in flight may be stored in either order, but the signals of a call are stored in theirs,
 * and of two that have one key, the first wins.
 *
 * The batcher sends a batch whenever signals are queued and fewer than
 * `maxBatchesInFlight` batches are in flight. While it is idle, a lone signal therefore
 * goes out one turn of the event loop later and waits for nobody; while it is busy, what
 * arrives gathers and leaves with the next batch. Nothing waits for a batch to fill.
 *
 * A batch that the store refuses because of its content is halved until the one signal
 * that it cannot take stands alone; that one is refused as a fault of the server, and
 * the others are stored. The halves run one after the other, in their order, in their
 * batch's own place, so no more is in flight than allowed. After any other failure nothing
 * is sent again, since it may be stored.
 *
 * A store that does not keep to its time is not waited for: its batch is refused, and its
 * place is free.
 *
 * The batcher is *open* until it is told to close. While it is *closing*, new calls are
 * refused. It is *closed* when all that it accepted is answered and nothing is in flight.
 */
import assert from "node:assert/strict";
import { type Refusal, refuse } from "../signal/index.ts";
import { type BatchOutcome, Call, type CallItem, CallQueue } from "./callQueue.ts";
import type { Clock } from "./clock.ts";
import {
  type SignalCandidate,
  SignalRejectedError,
  type SignalStore,
  type StoreOutcome,
  StoreUnavailableError,
} from "./store.ts";

/** How a batcher works. */
export interface BatcherOptions {
  readonly store: SignalStore;
  readonly clock: Clock;
  readonly timers: Timers;
  /**
   * The most signals in one batch, unless a single call has more. A bigger batch only
   * delays those that wait.
   */
  readonly maxBatchSize: number;
  /** The most batches at the database at a time, at least 1. */
  readonly maxBatchesInFlight: number;
  /**
   * The most signals that are queued, at least as many as one call may have. A call that
   * does not fit is refused as a whole and at once, as `OVERLOADED`.
   */
  readonly maxQueued: number;
  /**
   * The longest that a call waits for the store, queued and in flight together, and that
   * the store may take for one batch, in milliseconds.
   */
  readonly storeTimeoutMs: number;
  /** Told of each failure of the store, for the log. What it throws is ignored. */
  readonly onStoreFailure: (error: unknown) => void;
}

/** Where waiting comes from; tests bring their own. */
export interface Timers {
  /** Calls back once after so many milliseconds. @returns what cancels it. */
  after(milliseconds: number, callback: () => void): () => void;
  /** Calls back as soon as the events that have already arrived are dealt with. */
  soon(callback: () => void): void;
}

/** Stores signals in batches. */
export interface Batcher {
  /** How many signals are queued now. */
  readonly queuedSignals: number;
  /**
   * Stores the signals of one call.
   *
   * @param deadlineMs by the monotonic clock, when the caller stops waiting.
   * @returns one outcome for each, in order, by the deadline. Never rejects.
   */
  store(candidates: readonly SignalCandidate[], deadlineMs: number): Promise<BatchOutcome[]>;
  /** Takes no more, and resolves when the batcher is closed. May be called again. */
  close(): Promise<void>;
}

/** Long enough for a connection pool to be replaced, short enough for a trading signal. */
const RETRY_AFTER_MS = 1_000;

/**
 * How long after its time the store is given up. A store that keeps to its time has
 * answered by then even on a busy machine, and said what is wrong.
 */
const STORE_GRACE_MS = 1_000;

/** Makes a batcher. */
export function createBatcher(options: BatcherOptions): Batcher {
  const { clock, timers, maxBatchSize, maxBatchesInFlight, maxQueued, storeTimeoutMs } = options;
  const queue = new CallQueue();
  let batchesInFlight = 0;
  let isSendScheduled = false;
  let closing: PromiseWithResolvers<void> | undefined;

  function accept(
    candidates: readonly SignalCandidate[],
    nowMs: number,
    deadlineMs: number,
  ): Promise<BatchOutcome[]> {
    return new Promise((resolve) => {
      const storeDeadlineMs = nowMs + storeTimeoutMs;
      const call = new Call(candidates, {
        giveUpMs: Math.min(deadlineMs, storeDeadlineMs),
        giveUpRefusal: deadlineMs <= storeDeadlineMs ? deadlineExceeded : storeUnavailable,
        onAnswered(outcomes) {
          cancelGivingUp();
          resolve(outcomes);
        },
      });
      const cancelGivingUp = timers.after(call.giveUpMs - nowMs, () => {
        queue.remove(call);
        call.giveUp();
      });
      queue.add(call);
      scheduleSend();
    });
  }

  /** One turn of the event loop later, all calls that arrived together share a batch. */
  function scheduleSend(): void {
    if (isSendScheduled || batchesInFlight === maxBatchesInFlight) return;
    isSendScheduled = true;
    timers.soon(() => {
      isSendScheduled = false;
      sendBatches();
    });
  }

  function sendBatches(): void {
    while (batchesInFlight < maxBatchesInFlight) {
      const batch = queue.take(maxBatchSize, clock.monotonicMs());
      if (batch.length === 0) break;
      batchesInFlight += 1;
      void store(batch).then(() => {
        assert(batch.every(({ call, index }) => call.isAnsweredAt(index)));
        batchesInFlight -= 1;
        sendBatches();
      });
    }
    assert(queue.signalCount === 0 || batchesInFlight === maxBatchesInFlight);
    if (batchesInFlight === 0) closing?.resolve();
  }

  /** Sees to it that every signal of a batch is answered. Never rejects. */
  async function store(batch: readonly CallItem[]): Promise<void> {
    let outcomes: readonly StoreOutcome[];
    try {
      outcomes = await askStore(batch, options);
    } catch (error) {
      const isDivisible = error instanceof SignalRejectedError && batch.length > 1;
      await (isDivisible ? storeHalves(batch) : refuseBatch(batch, error));
      return;
    }
    for (const [place, { call, index }] of batch.entries()) {
      call.answer(index, outcomes[place] as StoreOutcome);
    }
  }

  /** What nobody waits for any more is left out: nothing of the batch was stored yet. */
  async function storeHalves(batch: readonly CallItem[]): Promise<void> {
    const middle = batch.length >> 1;
    for (const half of [batch.slice(0, middle), batch.slice(middle)]) {
      const awaited = half.filter(({ call }) => !call.isAnswered);
      if (awaited.length > 0) await store(awaited);
    }
  }

  function refuseBatch(batch: readonly CallItem[], error: unknown): void {
    const refusal = error instanceof StoreUnavailableError ? storeUnavailable() : storeFault();
    for (const { call, index } of batch) call.answer(index, { kind: "refused", refusal });
    try {
      options.onStoreFailure(error);
    } catch {
      // A log that fails must not end the process, nor keep the next batch from its place.
    }
  }

  /** Why a call is not accepted; `undefined` if it is. */
  function refusalOf(signalCount: number, nowMs: number, deadlineMs: number): Refusal | undefined {
    if (closing !== undefined) return overloaded("is closing");
    if (nowMs >= deadlineMs) return deadlineExceeded();
    if (queue.signalCount + signalCount <= maxQueued) return undefined;
    return overloaded("has more signals waiting than it can store in time");
  }

  return {
    get queuedSignals() {
      return queue.signalCount;
    },

    async store(candidates, deadlineMs) {
      if (candidates.length === 0) return [];
      const nowMs = clock.monotonicMs();
      const refusal = refusalOf(candidates.length, nowMs, deadlineMs);
      if (refusal === undefined) return accept(candidates, nowMs, deadlineMs);
      return candidates.map(() => ({ kind: "refused", refusal }));
    },

    close() {
      closing ??= Promise.withResolvers<void>();
      sendBatches();
      return closing.promise;
    },
  };
}

/**
 * Asks the store for one batch.
 *
 * @returns one outcome for each signal, in order.
 * @throws anything that the store throws, StoreUnavailableError if it does not keep to its
 *   time, and Error if it does not answer for every signal.
 */
async function askStore(
  batch: readonly CallItem[],
  { store, timers, storeTimeoutMs }: BatcherOptions,
): Promise<readonly StoreOutcome[]> {
  const candidates = batch.map(({ call, index }) => call.candidates[index] as SignalCandidate);
  const overdue = Promise.withResolvers<never>();
  const cancelWaiting = timers.after(storeTimeoutMs + STORE_GRACE_MS, () => {
    overdue.reject(new StoreUnavailableError("The store did not keep to its time"));
  });
  try {
    const answer = store.ingest(candidates, storeTimeoutMs);
    const outcomes = await Promise.race([answer, overdue.promise]);
    if (outcomes.length !== batch.length) {
      throw new Error(`The store answered ${outcomes.length} of ${batch.length} signals`);
    }
    return outcomes;
  } finally {
    cancelWaiting();
  }
}

function overloaded(why: string): Refusal {
  return refuse(
    "OVERLOADED",
    `The server ${why}. Send the signal again under the same idempotency key.`,
    { retryAfterMs: RETRY_AFTER_MS },
  );
}

function deadlineExceeded(): Refusal {
  return refuse(
    "DEADLINE_EXCEEDED",
    "The request's deadline passed before the signal was known to be stored. Send it again under the same idempotency key.",
  );
}

function storeUnavailable(): Refusal {
  return refuse(
    "STORE_UNAVAILABLE",
    "The database does not answer, so it is not known whether the signal is stored. Send it again under the same idempotency key.",
    { retryAfterMs: RETRY_AFTER_MS },
  );
}

function storeFault(): Refusal {
  return refuse(
    "INTERNAL",
    "The server failed, and it is not known whether the signal is stored. Send it again under the same idempotency key.",
  );
}
