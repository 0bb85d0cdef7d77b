/**
 * Delivers what is in the outbox: in order, one request at a time.
 *
 * An entry is *pending* from the moment that it is on disk. The worker takes the oldest
 * pending entries, leaves out those that came too late, and hands the others to the client in
 * one request: one alone if nothing else waits, many if there is a backlog. Each is then
 * - *delivered*, and removed, if the server has it, now or since an earlier attempt;
 * - a *dead letter*, and reported, if it can never be delivered: it is refused for good,
 *   its `expire_time` has passed, or it is too old;
 * - still pending otherwise, and first in line for the next attempt.
 * What the policy table says of a failure decides between the last two. A crash between the
 * server's answer and the removal only means that the same signal is sent again under the same
 * key, which the server answers with the first result.
 *
 * The worker is *idle* when nothing is pending, and *delivering* while a request is under way
 * or about to be. After a failure that passes it is *waiting*, as long as the retry schedule
 * says and the server asked for; a signal that expires makes it wait no longer than half of what
 * it has left, but never shorter than the server asked for. After one that only a person can mend it is
 * *held*: it tries about once a minute. Apart from that, waits end when their time is over; new
 * entries queue behind. When nothing is pending any more, the schedule begins anew. It is
 * *closed* when it was told to stop and the request under way has ended.
 *
 * A whole batch that is refused for good is halved until the signal that is to blame stands
 * alone. One that got no answer of the service is halved for the next attempt too: it may be
 * too big for a proxy, or for a slow line. A signal that fails by a fault of the server again
 * and again, while its neighbours in the same batch are taken, is to blame for it and becomes
 * a dead letter.
 *
 * That signals were delivered is written for many of them at once while the next are under way,
 * or as soon as nothing else is to be done, so that it does not slow down those that come
 * meanwhile. Of a backlog the next ones are read in that time, too.
 */

import { setImmediate } from "node:timers/promises";
import type { Instant } from "../../signal/index.ts";
import type { SignalClient } from "../client.ts";
import { askedDelayMs, type Backoff } from "../retry/backoff.ts";
import { SignalError } from "../signalError.ts";
import { type AttemptLimits, planAttempt } from "./attempt.ts";
import { Backlog, type EntryQueue } from "./backlog.ts";
import type { OutboxItem } from "./item.ts";
import type { OutboxClock } from "./outboxClock.ts";
import { OutboxError } from "./outboxError.ts";
import { type ItemOutcome, outcomeOf, outcomesOfFailure, UNSENT } from "./outcome.ts";
import { type OutboxTimers, Pause } from "./pause.ts";
import { dispositionAfter } from "./policy.ts";
import type { Entry } from "./record.ts";
import {
  expired,
  isClockSkew,
  isFinal,
  isOneError,
  isPerhapsTooBig,
  isRefused,
  type SettledItem,
  toIngestItem,
} from "./settled.ts";
import { SWEEP_MS, Sweep } from "./sweep.ts";
import { type OutcomeObserver, type OutcomeQueue, UnwrittenOutcomes } from "./unwritten.ts";

/** The entries to deliver, on disk. */
export interface DeliveryQueue extends OutcomeQueue, EntryQueue {
  /** Those with a greater sequence, in order. */
  pendingAfter(sequence: number, maxCount: number): Entry[];
}

/** Told of what happens. Nothing of it may throw. */
export interface DeliveryObserver extends OutcomeObserver {
  delivered(count: number): void;
  /** An attempt failed and is repeated. */
  waiting(error: SignalError, delayMs: number): void;
  /** Nothing can be delivered until a person mends it; told once. */
  held(error: SignalError): void;
  /** After `held`: something was delivered or refused by itself again. */
  released(): void;
}

/** What a worker needs. */
export interface DeliveryOptions extends AttemptLimits {
  readonly queue: DeliveryQueue;
  readonly client: Pick<SignalClient, "ingest" | "ingestBatch">;
  readonly clock: OutboxClock;
  readonly timers: OutboxTimers;
  /** Makes the schedule of waits, which never ends. */
  readonly newBackoff: () => Backoff;
  /** How long to wait while only a person can mend the cause, in milliseconds; asked each time. */
  readonly holdDelayMs: () => number;
  readonly observer: DeliveryObserver;
  /** The most signals in one request, 1 to 1,000. */
  readonly maxBatchSize: number;
}

/** Where a worker stands. */
export type DeliveryState = "idle" | "delivering" | "waiting" | "held" | "closed";

/** How soon the file is tried again after it could not be read or written. */
const STORAGE_RETRY_MS = 5_000;
/** How often a signal may fail while its neighbours are taken: by then it is the signal. */
const ISOLATED_FAILURES_MAX = 5;
/** How long an attempt that was aborted may take to end. */
const ABORT_GRACE_MS = 1_000;

/** From how many delivered signals on it is worth writing them while more are under way, */
const WORTH_WRITING = 64;
/** and how long fewer are left unwritten when there is nothing else to do. */
const LINGER_MS = 25;
/**
 * An attempt that may take less is not shared with work on the file, which holds up the whole
 * process: for seconds if another process has the file, and then an answer that is there by
 * then would be too late.
 */
const UNHURRIED_MS = 10_000;

export class DeliveryWorker {
  readonly #options: DeliveryOptions;
  readonly #abort = new AbortController();
  readonly #isolatedFailures = new Map<number, number>();
  readonly #unwritten: UnwrittenOutcomes;
  readonly #backlog: Backlog;
  readonly #sweep: Sweep;
  #state: DeliveryState = "idle";
  #lastError: SignalError | undefined;
  /** The schedule since the last success; `undefined` if nothing has failed since. */
  #backoff: Backoff | undefined;
  #batchSize: number;
  #hasWork = false;
  /** Whether the last attempt only corrected the clock: two in a row would never end. */
  #hasCorrected = false;
  #isHeld = false;
  #isStopping = false;
  #running: Promise<void> | undefined;
  #pause: Pause | undefined;
  /** How long the pause to come must last at least, in milliseconds. */
  #shortestWaitMs = Number.POSITIVE_INFINITY;
  /** Ends the pause that only waits for more to write at once. */
  #endLinger: (() => void) | undefined;

  constructor(options: DeliveryOptions) {
    this.#options = options;
    this.#unwritten = new UnwrittenOutcomes(options);
    this.#backlog = new Backlog(options, () => this.#unwritten.sequences);
    const { clock, giveUpAfterMs, queue } = options;
    this.#sweep = new Sweep({
      clock,
      giveUpAfterMs,
      after: (sequence, maxCount) => queue.pendingAfter(sequence, maxCount),
      bury: (item, why) => this.#buryOnce(item, why === "expired" ? expired() : this.#givenUp()),
    });
    this.#batchSize = options.maxBatchSize;
  }

  get state(): DeliveryState {
    return this.#state;
  }

  /** The failure of the last attempt, if it failed and is to be repeated. */
  get lastError(): SignalError | undefined {
    return this.#lastError;
  }

  /**
   * Says that there may be something to deliver. It shortens the wait for the next attempt only
   * if what is new expires soon.
   */
  wake(expireTime?: Instant): void {
    this.#hasWork = true;
    if (this.#isStopping) return;
    this.#endLinger?.();
    this.#backlog.noteExpiries([expireTime]);
    this.#pause?.shortenTo(this.#backlog.longestWaitMs());
    this.#running ??= this.#run();
  }

  /** Starts no more requests. Resolves when the one under way has ended, at the latest in time. */
  async stop(drainMs: number): Promise<void> {
    this.#isStopping = true;
    this.#pause?.end();
    if (this.#running !== undefined) await this.#endOf(this.#running, drainMs);
    this.#unwritten.write();
    this.#state = "closed";
  }

  /** Gives the request under way up when its time is over, and then does not wait for long. */
  #endOf(running: Promise<void>, drainMs: number): Promise<void> {
    const { timers } = this.#options;
    return new Promise((resolve) => {
      let callOff = timers.after(drainMs, () => {
        this.#abort.abort();
        callOff = timers.after(ABORT_GRACE_MS, resolve);
      });
      void running.then(() => {
        callOff();
        resolve();
      });
    });
  }

  async #run(): Promise<void> {
    while (this.#hasWork && !this.#isStopping) {
      this.#hasWork = false;
      let delayMs: number | undefined;
      do {
        this.#state = this.#isHeld ? "held" : "delivering";
        delayMs = await this.#step();
        if (delayMs !== undefined && delayMs > 0) {
          this.#state = this.#isHeld ? "held" : "waiting";
          await this.#wait(delayMs);
        }
      } while (delayMs !== undefined && !this.#isStopping);
    }
    if (!this.#isStopping) this.#state = "idle";
    // In the same turn as the last look for work: in a later one, a call of `wake` in between
    // would find a run that is over, and begin none.
    this.#running = undefined;
  }

  /** Ends early when the worker is stopped. */
  async #wait(delayMs: number): Promise<void> {
    if (this.#isStopping) return;
    const length = { delayMs, shortestMs: this.#shortestWaitMs };
    this.#pause = new Pause(length, this.#options.timers);
    const callOffSweeps = delayMs > SWEEP_MS ? this.#sweepNowAndThen() : undefined;
    await this.#pause.over;
    callOffSweeps?.();
    this.#pause = undefined;
    this.#shortestWaitMs = Number.POSITIVE_INFINITY;
  }

  /** Tells of what comes too late during the wait. @returns how to call it off. */
  #sweepNowAndThen(): () => void {
    const { timers, observer, queue } = this.#options;
    const sweep = () => {
      callOff = timers.after(SWEEP_MS, sweep);
      try {
        this.#sweep.next();
        if (this.#unwritten.deadCount > 0) this.#unwritten.write();
        if (queue.pendingAfter(0, 1).length === 0) this.#pause?.end();
      } catch (error) {
        observer.failed(error);
      }
    };
    let callOff = timers.after(SWEEP_MS, sweep);
    return () => callOff();
  }

  #buryOnce(item: OutboxItem, error: SignalError | OutboxError): void {
    if (!this.#unwritten.sequences.includes(item.entry.sequence)) this.#unwritten.bury(item, error);
  }

  /** @returns how long to wait before the next step; `undefined` if there is nothing to do. */
  async #step(): Promise<number | undefined> {
    try {
      return await this.#deliverOldest();
    } catch (error) {
      this.#options.observer.failed(error);
      return STORAGE_RETRY_MS;
    }
  }

  async #deliverOldest(): Promise<number | undefined> {
    const items = this.#backlog.next();
    if (items.length === 0) {
      this.#backoff = undefined;
      return this.#writeWhenIdle();
    }
    const { clock } = this.#options;
    const attempt = planAttempt(items, clock, this.#options, this.#batchSize);
    for (const item of attempt.expired) this.#unwritten.bury(item, expired());
    for (const item of attempt.tooOld) this.#unwritten.bury(item, this.#givenUp());
    if (this.#unwritten.deadCount > 0) this.#unwritten.write();
    if (attempt.sent.length === 0) return this.#confirmClock(attempt.doubtful[0]);
    const isHurried = attempt.timeoutMs < UNHURRIED_MS;
    if (isHurried && this.#isWorthWriting) this.#unwritten.write();
    const { correctionMs } = clock;
    const sending = this.#send(attempt.sent, attempt.timeoutMs);
    if (!isHurried) await this.#workMeanwhile(attempt.sent);
    const outcomes = await sending;
    // Too late for the file. The next start sends them again, under the same keys.
    if (this.#state === "closed") return undefined;
    const isClockWrong = outcomes.some(isClockSkew) && clock.correctionMs !== correctionMs;
    if (isClockWrong && !this.#hasCorrected) {
      this.#hasCorrected = true;
      this.#backlog.forgetReadAhead();
      return 0;
    }
    this.#hasCorrected = false;
    const settled = attempt.sent.map((item, index) => {
      return { item, outcome: outcomes[index] ?? UNSENT };
    });
    return this.#conclude(settled);
  }

  /**
   * Finds out whether a signal that seems to come too late does, without any risk that it is
   * stored: by a clock by which all do, none would ever be sent, and so it would stay wrong.
   */
  async #confirmClock(item: OutboxItem | undefined): Promise<number> {
    if (item === undefined) return 0;
    const { client, clock, timeoutMs } = this.#options;
    const { idempotencyKey } = item.entry;
    const call = { ...this.#callOptions(timeoutMs), idempotencyKey, validateOnly: true };
    try {
      await client.ingest(item.signal, call);
    } catch (thrown) {
      const error = SignalError.from(thrown);
      if (this.#state === "closed") return 0;
      if (!clock.isConfirmed && !isFinal(error)) return this.#delayAfter([error]);
    }
    if (!clock.isConfirmed) clock.trust();
    return 0;
  }

  get #isWorthWriting(): boolean {
    return this.#unwritten.deliveredCount >= WORTH_WRITING;
  }

  /**
   * While a request is under way, writes what became of earlier ones, and if there is a backlog
   * reads what comes next.
   */
  async #workMeanwhile(underWay: readonly OutboxItem[]): Promise<void> {
    const isBacklog = underWay.length > 1;
    if (!isBacklog && !this.#isWorthWriting) return;
    // Work on the file holds up the whole process, so the request goes first.
    await setImmediate();
    if (this.#state === "closed") return;
    try {
      if (this.#isWorthWriting) this.#unwritten.write();
      if (isBacklog) this.#backlog.readAhead(underWay);
    } catch (error) {
      this.#options.observer.failed(error);
    }
  }

  /** @returns how long to wait before the next step; `undefined` if all is done and written. */
  async #writeWhenIdle(): Promise<number | undefined> {
    if (this.#unwritten.sequences.length === 0) return undefined;
    this.#state = "idle";
    this.#hasWork = false;
    const isIdle = this.#isWorthWriting || (await this.#linger(LINGER_MS));
    if (isIdle && this.#unwritten.write()) return undefined;
    if (isIdle) await this.#linger(STORAGE_RETRY_MS);
    return 0;
  }

  /** Waits unless something comes to be delivered. @returns whether nothing came. */
  async #linger(delayMs: number): Promise<boolean> {
    let isIdle = true;
    this.#endLinger = () => {
      isIdle = false;
      this.#pause?.end();
    };
    await this.#wait(delayMs);
    this.#endLinger = undefined;
    return isIdle;
  }

  #callOptions(timeoutMs: number) {
    const { signal } = this.#abort;
    // Once the clock is corrected, other signals may be too late, and some have a wrong time.
    return { timeoutMs, retry: false, retryClockSkew: false, signal } as const;
  }

  /** Makes one attempt. @returns an outcome for each item, in order. */
  async #send(items: readonly OutboxItem[], timeoutMs: number): Promise<ItemOutcome[]> {
    const { client } = this.#options;
    const options = this.#callOptions(timeoutMs);
    const [first] = items;
    try {
      if (items.length > 1 || first === undefined) {
        const results = await client.ingestBatch(items.map(toIngestItem), options);
        return results.map(outcomeOf);
      }
      const { idempotencyKey } = first.entry;
      return [outcomeOf(await client.ingest(first.signal, { ...options, idempotencyKey }))];
    } catch (thrown) {
      return outcomesOfFailure(items.length, SignalError.from(thrown));
    }
  }

  /** Acts on the outcomes of an attempt. @returns how long to wait before the next. */
  #conclude(settled: readonly SettledItem[]): number {
    const kept: SignalError[] = [];
    const unwritten = this.#unwritten;
    const delivered = settled.filter(({ outcome }) => outcome.kind === "delivered");
    // What was read ahead is next in line only if all before it was delivered.
    if (delivered.length < settled.length) this.#backlog.forgetReadAhead();
    const isWholeRefused = settled.length > 1 && settled.every(isRefused) && isOneError(settled);
    if (isWholeRefused) return this.#halve(settled.length);
    for (const { item, outcome } of settled) {
      if (outcome.kind !== "failed") continue;
      const { error } = outcome;
      if (isFinal(error) || this.#isToBlame(item, error, settled)) unwritten.bury(item, error);
      else kept.push(error);
    }
    if (settled.length > 1 && isOneError(settled) && kept.some(isPerhapsTooBig)) {
      this.#halve(settled.length);
    }
    this.#forget(settled);
    unwritten.deliver(delivered.map(({ item }) => item));
    if (unwritten.deadCount + kept.length > 0) unwritten.write();
    if (delivered.length > 0) this.#options.observer.delivered(delivered.length);
    const hasProgressed = settled.length > kept.length;
    if (hasProgressed) this.#succeed();
    return kept[0] === undefined ? 0 : this.#delayAfter(kept);
  }

  #halve(size: number): number {
    this.#batchSize = Math.ceil(size / 2);
    return 0;
  }

  /** The way is open: the schedule starts anew, and batches grow again. */
  #succeed(): void {
    this.#lastError = undefined;
    this.#backoff = undefined;
    this.#batchSize = Math.min(this.#options.maxBatchSize, this.#batchSize * 2);
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#options.observer.released();
  }

  #delayAfter(errors: readonly SignalError[]): number {
    const { observer } = this.#options;
    this.#shortestWaitMs = Number.POSITIVE_INFINITY;
    const holding = errors.find((error) => dispositionAfter(error) === "hold");
    if (holding !== undefined) {
      this.#lastError = holding;
      if (!this.#isHeld) observer.held(holding);
      this.#isHeld = true;
      return this.#options.holdDelayMs();
    }
    const [error] = errors as readonly [SignalError];
    // That the client leaves the server alone hides why.
    const isLeftAlone = error.reason === "CIRCUIT_OPEN" && error.cause instanceof SignalError;
    this.#lastError = isLeftAlone ? (error.cause as SignalError) : error;
    this.#backoff ??= this.#options.newBackoff();
    const scheduledMs = this.#backoff.next(error) ?? this.#options.holdDelayMs();
    this.#shortestWaitMs = askedDelayMs(error) ?? 0;
    const delayMs = Math.min(
      scheduledMs,
      Math.max(this.#shortestWaitMs, this.#backlog.longestWaitMs()),
    );
    observer.waiting(error, delayMs);
    return delayMs;
  }

  /** Whether a signal failed so often while its neighbours were taken that it is to blame. */
  #isToBlame(item: OutboxItem, error: SignalError, settled: readonly SettledItem[]): boolean {
    if (error.reason !== "INTERNAL" || settled.every(({ outcome }) => outcome.kind === "failed")) {
      return false;
    }
    const failures = (this.#isolatedFailures.get(item.entry.sequence) ?? 0) + 1;
    this.#isolatedFailures.set(item.entry.sequence, failures);
    return failures >= ISOLATED_FAILURES_MAX;
  }

  /** Forgets the failures of what is no longer pending, so that they take no room for ever. */
  #forget(settled: readonly SettledItem[]): void {
    const first = settled[0]?.item.entry.sequence ?? 0;
    for (const sequence of this.#isolatedFailures.keys()) {
      if (sequence < first) this.#isolatedFailures.delete(sequence);
    }
  }

  #givenUp(): OutboxError {
    const { giveUpAfterMs } = this.#options;
    const last =
      this.#lastError === undefined ? "" : ` The last failure: ${this.#lastError.message}`;
    return new OutboxError(
      "GIVEN_UP",
      `The signal could not be delivered within ${giveUpAfterMs} ms and is not sent any more.${last}`,
      { cause: this.#lastError },
    );
  }
}
