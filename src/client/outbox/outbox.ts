/**
 * The outbox of a producer: it takes a signal once it is on this machine's disk, and delivers
 * it when it can. What it took is delivered, or reported to a person as undeliverable, through
 * crashes and outages of either side.
 */
import { v7 as randomUUIDv7 } from "uuid";
import { monotonicMs, uptimeMs } from "../clock.ts";
import type { SignalErrorReason } from "../errorReason.ts";
import type { SignalInput } from "../input.ts";
import { createBackoff } from "../retry/backoff.ts";
import { callOptions } from "../settings.ts";
import { SignalError } from "../signalError.ts";
import { sooner } from "./attempt.ts";
import { type DeliveryState, DeliveryWorker } from "./deliveryWorker.ts";
import { fixRequest } from "./item.ts";
import { type OutboxMetrics, outboxMetrics } from "./metrics.ts";
import { defaultOutboxLogger, OutboxNotices } from "./notices.ts";
import { type OutboxOptions, type ResolvedOutboxOptions, resolveOutboxOptions } from "./options.ts";
import { OutboxClock } from "./outboxClock.ts";
import { OutboxError, OutboxFullError } from "./outboxError.ts";
import type { Insertion, NewRequest } from "./outboxFile.ts";
import { OutboxStore } from "./outboxStore.ts";
import type { OutboxTimers } from "./pause.ts";
import { requireSqlite } from "./sqlite.ts";
import { deadCount } from "./totals.ts";

/** How to take one signal in. */
export interface EnqueueOptions {
  /**
   * Names this signal for good: 1 to 128 visible ASCII characters. Defaults to a new UUIDv7,
   * which the result tells. To be able to enqueue again after a crash without sending twice,
   * give one that follows from the decision, and the `signalTime` too: once the first was
   * delivered, the same key with another time is another content.
   */
  readonly idempotencyKey?: string | undefined;
}

/** A signal that is on disk. */
export interface EnqueueResult {
  /** The key that names the signal: the one given, or the one made for it. */
  readonly idempotencyKey: string;
  /**
   * - `pending`: it will be delivered, or reported.
   * - `dead_letter`: it was enqueued before, and could not be delivered, as was reported.
   */
  readonly state: "pending" | "dead_letter";
  /** Whether the very same signal was in the outbox already. */
  readonly duplicate: boolean;
}

/** How an outbox stands. */
export interface OutboxStatus {
  /** The file, with links resolved. */
  readonly path: string;
  /**
   * - `idle`: nothing is to be delivered.
   * - `delivering`: an attempt is under way.
   * - `waiting`: an attempt failed and will be repeated.
   * - `held`: nothing can be delivered until a person mends the cause, see `lastError`.
   * - `closed`: it takes and delivers nothing any more.
   */
  readonly state: DeliveryState;
  /** How many signals are to be delivered. */
  readonly pending: number;
  /** How many dead letters there are. */
  readonly deadLetters: number;
  /** Bytes of all of them. */
  readonly bytes: number;
  /** How long the oldest signal has waited to be delivered, in milliseconds; 0 if there is none. */
  readonly oldestAgeMs: number;
  /** Why the last attempt failed, if it did. */
  readonly lastError: { readonly reason: SignalErrorReason; readonly message: string } | undefined;
}

/** Takes signals and delivers them. Made by {@link createOutbox}. */
export interface Outbox extends AsyncDisposable {
  /**
   * Takes a signal. When this resolves, the signal is on disk, with its key and its
   * `signalTime` fixed; it never waits for the network. Every attempt to deliver it, also after
   * a reboot, sends the same content under the same key.
   *
   * A signal whose key is in the outbox is not taken twice: with the same content it is the
   * same signal. If `signalTime` is not given, that of the first call stays.
   *
   * @throws SignalError `INVALID_SIGNAL`, `PAYLOAD_TOO_LARGE` or `BODY_TOO_LARGE`, naming every
   *   wrong field; `IDEMPOTENCY_KEY_REUSED` if the key is in the outbox with another content.
   * @throws OutboxFullError if a bound is reached.
   * @throws OutboxError `OUTBOX_STORAGE` if the disk fails or is full; `OUTBOX_CLOSED`.
   * @throws ConfigError naming every option that there is not.
   */
  enqueue(signal: SignalInput, options?: EnqueueOptions): Promise<EnqueueResult>;

  /**
   * Waits until nothing is to be delivered. It hurries nothing: a wait for a retry goes on.
   *
   * @param timeoutMs how long to wait at most, in milliseconds; `Infinity` for as long as it takes.
   * @returns whether nothing is to be delivered; false if the time was over before, or the
   *   outbox was closed.
   * @throws RangeError if `timeoutMs` is not such a number.
   */
  flush(timeoutMs: number): Promise<boolean>;

  /** How the outbox stands now. */
  status(): OutboxStatus;

  /**
   * Takes no more signals, lets the attempt under way end, and closes the file. What is not
   * delivered stays in the file for the next start; to have it delivered first, `flush`.
   * `await using` does the same.
   *
   * @param options.drainMs how long the attempt under way may still take, in milliseconds;
   *   defaults to 5,000. Then it is aborted.
   * @throws RangeError, ConfigError if the options are wrong; then nothing is closed.
   */
  close(options?: { readonly drainMs?: number | undefined }): Promise<void>;
}

/** How often to look whether another process changed the file, or somebody deleted it. */
const POLL_MS = 2_000;
const DRAIN_MS_DEFAULT = 5_000;
/** How often an attempt is made while only a person can mend the cause: */
const HOLD_DELAY_MS = 60_000;
/** and how much longer it may be by chance, so that many producers do not come together. */
const HOLD_JITTER = 0.2;
/** Some 25 days: a timer of Node.js that should be longer fires at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

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
  #callOffPoll: () => void;
  #closed: Promise<void> | undefined;

  constructor(options: ResolvedOutboxOptions) {
    const { path, clock, maxSignals, maxBytes, logger = defaultOutboxLogger() } = options;
    this.#options = options;
    this.#clock = new OutboxClock(clock, uptimeMs);
    const { destination } = options.client;
    this.#notices = new OutboxNotices({ path, logger, alerts: options.alerts, destination });
    this.#store = new OutboxStore({
      path,
      bounds: { maxSignals, maxBytes },
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
    this.#callOffPoll = this.#schedulePoll();
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
      deadLetters: deadCount(totals),
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
    this.#callOffPoll();
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
      insertions = this.#store.insert(calls.map(({ request }) => request));
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
      timers,
      giveUpAfterMs,
      timeoutMs,
      maxBatchSize,
      newBackoff: () => createBackoff({ ...retry, ...endless, isRetryable: () => true }),
      holdDelayMs: () => HOLD_DELAY_MS * (1 + HOLD_JITTER * Math.random()),
      queue: {
        pending: (...bounds) => this.#store.pending(...bounds),
        pendingAfter: (...bounds) => this.#store.pendingAfter(...bounds),
        replace: (entries) => this.#store.replace(entries),
        settle: (delivered, dead) => this.#settle(delivered, dead),
      },
      observer: {
        delivered: (count) => {
          this.#metrics.delivered(count);
          notices.delivered(count);
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

  #settle(...[delivered, dead]: Parameters<OutboxStore["settle"]>): void {
    this.#store.settle(delivered, dead);
    this.#notices.wrote();
    this.#noteFill();
    this.#noteEmptied();
  }

  /** Looks after the file now and then, and wakes the worker if somebody gave it work. */
  #schedulePoll(): () => void {
    return timers.after(POLL_MS, () => {
      try {
        if (this.#store.refresh()) this.#worker.wake();
        this.#noteFill();
        this.#noteEmptied();
      } catch (error) {
        this.#notices.failed(error);
      }
      this.#callOffPoll = this.#schedulePoll();
    });
  }

  #noteFill(): void {
    const { totals } = this.#store;
    const count = totals.pendingCount + deadCount(totals);
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
      const oldest = this.#store.oldest();
      return oldest === undefined ? 0 : Math.max(0, this.#clock.ageMs(oldest));
    } catch (error) {
      this.#notices.failed(error);
      return 0;
    }
  }
}

/** The timers of the process. They do not keep it alive. */
const timers: OutboxTimers = {
  monotonicMs,
  after(milliseconds, callback) {
    const timer = setTimeout(callback, Math.min(milliseconds, TIMER_MS_MAX));
    timer.unref();
    return () => clearTimeout(timer);
  },
};

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
