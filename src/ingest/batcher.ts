/**
 * Collects accepted signals from many calls and hands them to the store in batches, since
 * a database stores a hundred signals in one transaction almost as fast as one.
 *
 * A call's signals are *queued*; then a batch takes them and they are *in flight*; then
 * they are *answered*. Each is answered exactly once: by the store's outcome, by a
 * refusal, or by its call's deadline, whichever comes first. An answer by deadline does
 * not take a signal back that is in flight: it may still be stored, and a retry under the
 * same key then finds it.
 *
 * The batcher sends a batch whenever signals are queued and fewer than
 * `maxBatchesInFlight` batches are in flight. While it is idle, a lone signal therefore
 * goes out at once and waits for nobody; while it is busy, what arrives gathers and
 * leaves with the next batch. Nothing waits for a batch to fill.
 *
 * A batch that the store refuses because of its content is halved until the one signal
 * that it cannot take stands alone; that one is refused as a fault of the server, and
 * the others are stored. The halves run one after the other in their batch's own place,
 * so no more is in flight than allowed.
 *
 * Once it is *closing*, new calls are refused; it is *closed* when all that it accepted
 * is answered.
 */
import type { Clock } from "./clock.ts";
import { type Refusal, refuse } from "./refusal.ts";
import {
  type SignalCandidate,
  SignalRejectedError,
  type SignalStore,
  type StoreOutcome,
  StoreUnavailableError,
} from "./store.ts";

/** What became of one signal: the store's outcome, or why there is none. */
export type BatchOutcome = StoreOutcome | { readonly kind: "refused"; readonly refusal: Refusal };

/** How a batcher works. */
export interface BatcherOptions {
  readonly store: SignalStore;
  readonly clock: Clock;
  readonly timers: Timers;
  /** The most signals in one batch. More in one statement only delays those that wait. */
  readonly maxBatchSize: number;
  /** The most batches at the database at a time. */
  readonly maxBatchesInFlight: number;
  /** The most signals that wait. Beyond it a call is refused at once as `OVERLOADED`. */
  readonly maxQueued: number;
  /** The longest that a batch waits for the store, in milliseconds. */
  readonly storeTimeoutMs: number;
  /** Told of each failure of the store, for the log. */
  readonly onStoreFailure: (error: unknown) => void;
}

/** Where waiting comes from; tests bring their own. */
export interface Timers {
  /** Calls back once after so many milliseconds. @returns how to call it off. */
  after(milliseconds: number, callback: () => void): () => void;
  /** Calls back as soon as the events that have already arrived are dealt with. */
  soon(callback: () => void): void;
}

/** Stores signals in batches. */
export interface Batcher {
  /**
   * Stores the signals of one call.
   *
   * @param deadlineMs by the monotonic clock, when the caller stops waiting.
   * @returns one outcome for each, in order, by the deadline. Never rejects.
   */
  store(candidates: readonly SignalCandidate[], deadlineMs: number): Promise<BatchOutcome[]>;
  /** Takes no more, and resolves when all that was taken is answered. */
  close(): Promise<void>;
}

/** One call and what is known of its signals so far. */
interface Call {
  readonly outcomes: (BatchOutcome | undefined)[];
  unanswered: number;
  readonly finish: () => void;
}

/** One signal of a call. */
interface Entry {
  readonly candidate: SignalCandidate;
  readonly call: Call;
  readonly index: number;
}

/** Long enough for a connection pool to be replaced, short enough for a trading signal. */
const RETRY_AFTER_MS = 1_000;

/** Makes a batcher. */
export function createBatcher(options: BatcherOptions): Batcher {
  const { store, clock, timers, maxBatchSize, maxBatchesInFlight, maxQueued } = options;
  const queue: Entry[] = [];
  let batchesInFlight = 0;
  let isSendScheduled = false;
  let closing: PromiseWithResolvers<void> | undefined;

  function accept(candidates: readonly SignalCandidate[], deadlineMs: number) {
    return new Promise<BatchOutcome[]>((resolve) => {
      const call: Call = {
        outcomes: candidates.map(() => undefined),
        unanswered: candidates.length,
        finish() {
          callOffDeadline();
          resolve(call.outcomes as BatchOutcome[]);
        },
      };
      const remainingMs = deadlineMs - clock.monotonicMs();
      const callOffDeadline = timers.after(remainingMs, () => expire(call));
      for (const [index, candidate] of candidates.entries()) {
        queue.push({ candidate, call, index });
      }
      scheduleSend();
    });
  }

  /** One turn of the event loop later, all calls that arrived together share a batch. */
  function scheduleSend(): void {
    if (isSendScheduled || batchesInFlight >= maxBatchesInFlight) return;
    isSendScheduled = true;
    timers.soon(() => {
      isSendScheduled = false;
      sendBatches();
    });
  }

  function sendBatches(): void {
    while (batchesInFlight < maxBatchesInFlight) {
      const batch = takeBatch();
      if (batch.length === 0) break;
      batchesInFlight += 1;
      void send(batch).then(() => {
        batchesInFlight -= 1;
        sendBatches();
      });
    }
    if (queue.length === 0 && batchesInFlight === 0) closing?.resolve();
  }

  /** The signals that have waited longest; those of a call that gave up are dropped. */
  function takeBatch(): Entry[] {
    const batch: Entry[] = [];
    while (batch.length < maxBatchSize && queue.length > 0) {
      const taken = queue.splice(0, maxBatchSize - batch.length);
      batch.push(...taken.filter(({ call }) => call.unanswered > 0));
    }
    return batch;
  }

  /** Answers every entry. Never rejects. */
  async function send(batch: readonly Entry[]): Promise<void> {
    try {
      const candidates = batch.map(({ candidate }) => candidate);
      const outcomes = await store.ingest(candidates, options.storeTimeoutMs);
      for (const [index, entry] of batch.entries()) answer(entry, outcomes[index] as StoreOutcome);
    } catch (error) {
      if (error instanceof SignalRejectedError && batch.length > 1) {
        const middle = batch.length >> 1;
        await send(batch.slice(0, middle));
        await send(batch.slice(middle));
        return;
      }
      options.onStoreFailure(error);
      const refusal = error instanceof StoreUnavailableError ? storeUnavailable() : storeFault();
      for (const entry of batch) answer(entry, { kind: "refused", refusal });
    }
  }

  function answer({ call, index }: Entry, outcome: BatchOutcome): void {
    if (call.outcomes[index] !== undefined) return;
    call.outcomes[index] = outcome;
    call.unanswered -= 1;
    if (call.unanswered === 0) call.finish();
  }

  /** The caller stops waiting: what is still queued of its call will not be sent. */
  function expire(call: Call): void {
    const outcome: BatchOutcome = { kind: "refused", refusal: deadlineExceeded() };
    for (const [index, known] of call.outcomes.entries()) call.outcomes[index] = known ?? outcome;
    call.unanswered = 0;
    call.finish();
  }

  return {
    async store(candidates, deadlineMs) {
      if (candidates.length === 0) return [];
      if (closing !== undefined) return refuseAll(candidates, overloaded("is closing"));
      if (clock.monotonicMs() >= deadlineMs) return refuseAll(candidates, deadlineExceeded());
      if (queue.length + candidates.length > maxQueued) {
        return refuseAll(
          candidates,
          overloaded("has more signals waiting than it can store in time"),
        );
      }
      return accept(candidates, deadlineMs);
    },
    close() {
      closing ??= Promise.withResolvers<void>();
      sendBatches();
      return closing.promise;
    },
  };
}

function refuseAll(candidates: readonly SignalCandidate[], refusal: Refusal): BatchOutcome[] {
  return candidates.map(() => ({ kind: "refused", refusal }));
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
    "The database does not answer. Send the signal again under the same idempotency key.",
    { retryAfterMs: RETRY_AFTER_MS },
  );
}

function storeFault(): Refusal {
  return refuse("INTERNAL", "The server failed to store the signal.");
}
