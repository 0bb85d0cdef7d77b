/**
 * The outbox that keeps its signals in a file: it stores what it is given, and has a worker
 * deliver it.
 */
import { v7 as randomUUIDv7 } from "uuid";
import { uptimeMs } from "../clock.ts";
import type { SignalInput } from "../input.ts";
import { createBackoff } from "../retry/backoff.ts";
import { callOptions } from "../settings.ts";
import { SignalError } from "../signalError.ts";
import { sooner } from "./attempt.ts";
import { requireSqlite } from "./database.ts";
import { fixRequest } from "./entry.ts";
import type { Insertion, NewRequest } from "./file.ts";
import { type OutboxMetrics, outboxMetrics } from "./metrics.ts";
import { defaultOutboxLogger, OutboxNotices } from "./notices.ts";
import { type OutboxOptions, type ResolvedOutboxOptions, resolveOutboxOptions } from "./options.ts";
import type { EnqueueOptions, EnqueueResult, Outbox, OutboxStatus } from "./outbox.ts";
import { OutboxClock } from "./outboxClock.ts";
import { OutboxError, OutboxFullError } from "./outboxError.ts";
import { OutboxStore } from "./store.ts";
import { every, processTimers, TIMER_MS_MAX } from "./timers.ts";
import { DeliveryWorker } from "./worker.ts";

/** How often to look whether another process changed the file, or somebody deleted it. */
const POLL_MS = 2_000;
const DRAIN_MS_DEFAULT = 5_000;
/** How often an attempt is made while only a person can fix the cause: */
const HELD_DELAY_MS = 60_000;
/** and how much longer it may be by chance, so that many producers do not come together. */
const HELD_JITTER = 0.2;

/**
 * Opens an outbox, and begins to deliver what is in its file.
 *
 * ```ts
 * await using client = createSignalClient(clientOptionsFromEnv());
 * await using outbox = createOutbox({ path: "signals.outbox", client });
 * await outbox.enqueue({ instrument: "GOLD", side: "buy", entryPrice: 4000 });
 * ```
 *
 * Its timers do not keep the process alive; what is pending when the process ends is delivered
 * after its next start. Storing blocks the event loop for about a millisecond; calls of one
 * turn of the event loop share one write.
 *
 * A damaged file is set aside and reported, and what can be read of it is delivered.
 *
 * @throws ConfigError naming every wrong option.
 * @throws Error of prom-client if the registry has metrics of somebody else by the same names.
 * @throws OutboxError `OUTBOX_LOCKED` if the file is in use, `OUTBOX_FOREIGN_FILE` if it is
 *   another program's, `OUTBOX_STORAGE` if it cannot be read or written, `OUTBOX_UNSUPPORTED` if
 *   this Node.js is older than 24.16.
 */
export function createOutbox(options: OutboxOptions): Outbox {
  requireSqlite();
  return new FileOutbox(resolveOutboxOptions(options));
}

/** A call of `enqueue` whose signal is not on disk yet. */
interface WaitingCall {
  readonly request: NewRequest;
  readonly resolve: (result: EnqueueResult) => void;
  readonly reject: (error: unknown) => void;
}

class FileOutbox implements Outbox {
  readonly #options: ResolvedOutboxOptions;
  readonly #clock: OutboxClock;
  readonly #notices: OutboxNotices;
  readonly #store: OutboxStore;
  readonly #metrics: OutboxMetrics;
  readonly #worker: DeliveryWorker;
  readonly #flushes = new Set<(isEmpty: boolean) => void>();
  #calls: WaitingCall[] = [];
  #cancelPoll: () => void;
  #closed: Promise<void> | undefined;

  constructor(options: ResolvedOutboxOptions) {
    const { path, clock, logger = defaultOutboxLogger() } = options;
    this.#options = options;
    this.#clock = new OutboxClock(clock, uptimeMs);
    const { destination } = options.client;
    this.#notices = new OutboxNotices({ path, logger, alerts: options.alerts, destination });
    this.#store = new OutboxStore({
      path,
      nowMs: () => this.#clock.machineMs(),
      onIncident: (incident) => this.#notices.incident(incident),
    });
    try {
      this.#metrics = outboxMetrics(options.registry, () => this.#reading());
    } catch (error) {
      // The registry has such metrics of somebody else. The file must not stay locked.
      this.#store.close();
      throw error;
    }
    this.#worker = this.#createWorker();
    this.#cancelPoll = every(POLL_MS, processTimers, () => this.#poll());
    this.#notices.opened(this.#store.totals);
    this.#noteFill();
    this.#worker.wake();
  }

  async enqueue(signal: SignalInput, options: EnqueueOptions = {}): Promise<EnqueueResult> {
    if (this.#closed !== undefined) throw closedError(this.#store.path);
    const { idempotencyKey = randomUUIDv7() } = callOptions(options, { idempotencyKey: true });
    const item = { signal, idempotencyKey };
    const { client, maxBodyBytes } = this.#options;
    const fixed = fixRequest(item, this.#clock.now(), maxBodyBytes, client.payloadMaxBytes);
    const hasOwnTime = signal.signalTime !== undefined;
    const request = { ...fixed, hasOwnTime, taken: this.#clock.taken(!hasOwnTime) };
    return new Promise((resolve, reject) => {
      this.#calls.push({ request, resolve, reject });
      if (this.#calls.length === 1) setImmediate(() => this.#storeCalls());
    });
  }

  async flush(timeoutMs: number): Promise<boolean> {
    requireDuration("timeoutMs", timeoutMs);
    this.#storeCalls();
    const isEmpty = this.#store.totals.pendingCount === 0;
    if (isEmpty || this.#closed !== undefined) return isEmpty;
    return new Promise((resolve) => {
      const end = (isEmpty: boolean) => {
        clearTimeout(timer);
        this.#flushes.delete(end);
        resolve(isEmpty);
      };
      // Unlike the others, this timer keeps the process alive: somebody waits for it.
      const timer = setTimeout(() => end(false), Math.min(timeoutMs, TIMER_MS_MAX));
      this.#flushes.add(end);
    });
  }

  status(): OutboxStatus {
    const { totals, path } = this.#store;
    const { state, lastError } = this.#worker;
    // What was delivered or died last may be written before the worker has come to rest.
    const isDone = state === "delivering" && totals.pendingCount === 0;
    return {
      path,
      state: isDone ? "idle" : state,
      pending: totals.pendingCount,
      deadLetters: totals.deadCount,
      bytes: totals.bytes,
      oldestAgeMs: this.#oldestAgeMs(),
      lastError: lastError && { reason: lastError.reason, message: lastError.message },
    };
  }

  async close(options: { readonly drainMs?: number | undefined } = {}): Promise<void> {
    const { drainMs = DRAIN_MS_DEFAULT } = callOptions(options, { drainMs: true });
    requireDuration("drainMs", drainMs);
    this.#closed ??= this.#close(drainMs);
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(drainMs: number): Promise<void> {
    this.#storeCalls();
    this.#cancelPoll();
    await this.#worker.stop(drainMs);
    for (const end of this.#flushes) end(this.#store.totals.pendingCount === 0);
    this.#metrics.close();
    this.#store.close();
  }

  /** Stores the signals of all calls that came in this turn of the event loop. */
  #storeCalls(): void {
    const calls = this.#calls;
    this.#calls = [];
    if (calls.length === 0) return;
    let insertions: Insertion[];
    try {
      const requests = calls.map(({ request }) => request);
      const nowMs = this.#clock.machineMs();
      insertions = this.#store.use((file) => file.insert(requests, nowMs, this.#options));
    } catch (error) {
      this.#notices.failed(error);
      for (const { reject } of calls) reject(error);
      return;
    }
    this.#notices.wrote();
    for (const [index, call] of calls.entries()) this.#answer(call, insertions[index] as Insertion);
    this.#noteFill();
    const taken = calls.filter((_, index) => insertions[index]?.kind === "taken");
    const expireTimes = taken.map(({ request }) => request.expireTime);
    this.#metrics.enqueued(taken.length);
    this.#worker.wake(expireTimes.reduce(sooner, undefined));
  }

  #answer({ request, resolve, reject }: WaitingCall, insertion: Insertion): void {
    const { idempotencyKey } = request;
    if (insertion.kind === "taken") {
      resolve({ idempotencyKey, state: "pending", duplicate: false });
    } else if (insertion.kind === "known") {
      const state = insertion.table === "pending" ? "pending" : "dead_letter";
      resolve({ idempotencyKey, state, duplicate: true });
    } else if (insertion.kind === "reused") {
      reject(keyReused(idempotencyKey));
    } else {
      reject(new OutboxFullError(this.#store.path, insertion.bound));
    }
  }

  #createWorker(): DeliveryWorker {
    const { client, giveUpAfterMs, timeoutMs, maxBatchSize, retry } = this.#options;
    const endless = { retriesMax: Number.POSITIVE_INFINITY, budgetMs: Number.POSITIVE_INFINITY };
    const notices = this.#notices;
    return new DeliveryWorker({
      client,
      clock: this.#clock,
      timers: processTimers,
      giveUpAfterMs,
      timeoutMs,
      maxBatchSize,
      newBackoff: () => createBackoff({ ...retry, ...endless, isRetryable: () => true }),
      heldDelayMs: () => HELD_DELAY_MS * (1 + HELD_JITTER * Math.random()),
      queue: {
        pending: (...which) => this.#store.use((file) => file.pending(...which)),
        pendingAfter: (...which) => this.#store.use((file) => file.entries("pending", ...which)),
        replace: (entries) => this.#store.use((file) => file.replace(entries)),
        settle: (...outcomes) => this.#store.use((file) => file.settle(...outcomes)),
      },
      observer: {
        delivered: (count) => {
          this.#metrics.delivered(count);
          notices.delivered(count);
        },
        written: () => {
          notices.wrote();
          this.#noteFill();
          this.#noteEmptied();
        },
        died: (item, death, error) => {
          notices.died(item, death, error);
          this.#metrics.died(death.reason);
        },
        waiting: (error, delayMs) => notices.waiting(error, delayMs),
        held: (error) => notices.held(error),
        released: () => notices.released(),
        failed: (error) => notices.failed(error),
      },
    });
  }

  /** Looks after the file, and wakes the worker if somebody gave it work. */
  #poll(): void {
    try {
      if (this.#store.use((file) => file.refresh())) this.#worker.wake();
      this.#noteFill();
      this.#noteEmptied();
    } catch (error) {
      this.#notices.failed(error);
    }
  }

  #noteFill(): void {
    const { totals } = this.#store;
    const count = totals.pendingCount + totals.deadCount;
    const { maxSignals, maxBytes } = this.#options;
    this.#notices.filled(Math.max(count / maxSignals, totals.bytes / maxBytes));
  }

  #noteEmptied(): void {
    if (this.#store.totals.pendingCount > 0) return;
    for (const end of this.#flushes) end(true);
  }

  #reading() {
    const { pendingCount, bytes, deadByReason } = this.#store.totals;
    return {
      pending: pendingCount,
      bytes,
      oldestAgeSeconds: this.#oldestAgeMs() / 1_000,
      deadByReason,
    };
  }

  #oldestAgeMs(): number {
    if (this.#worker.state === "closed" || this.#store.totals.pendingCount === 0) return 0;
    try {
      const oldest = this.#store.use((file) => file.oldest());
      return oldest === undefined ? 0 : Math.max(0, this.#clock.ageMs(oldest));
    } catch (error) {
      this.#notices.failed(error);
      return 0;
    }
  }
}

/** @throws RangeError unless a timer can last so long; `Infinity` is for ever. */
function requireDuration(name: string, milliseconds: number): void {
  if (typeof milliseconds === "number" && milliseconds >= 0) return;
  throw new RangeError(`${name} must be a number of milliseconds, at least 0.`);
}

function closedError(path: string): OutboxError {
  return new OutboxError(
    "OUTBOX_CLOSED",
    `The outbox ${path} is closed. The signal was not taken.`,
  );
}

function keyReused(idempotencyKey: string): SignalError {
  return new SignalError(
    "IDEMPOTENCY_KEY_REUSED",
    `Nothing was stored, because the key ${idempotencyKey} is in the outbox with another content.`,
  );
}
