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
 * it has left, but never shorter than the server asked for. After one that only a person can fix
 * it is *held*: it tries about once a minute. Apart from that, waits end when their time is over;
 * new entries queue behind. When nothing is pending any more, the schedule begins anew. It is
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
import { SignalError } from "../signalError.ts";
import { type AttemptLimits, type Lateness, lateError, lateness, planAttempt } from "./attempt.ts";
import { Backlog, type BacklogObserver, type BacklogOptions } from "./backlog.ts";
import type { OutboxItem } from "./entry.ts";
import {
  errorOfWhole,
  isFinal,
  isPerhapsTooBig,
  type Outcome,
  type SettledItem,
  sendOnce,
} from "./outcome.ts";
import { Pace, type PaceObserver, type PaceOptions } from "./pace.ts";
import { every, fixedWait, type OutboxTimers, Pause, type Wait } from "./timers.ts";

/** Told of what happens. Nothing of it may throw. */
export interface WorkerObserver extends BacklogObserver, PaceObserver {
  delivered(count: number): void;
}

/** What a worker needs. */
export interface WorkerOptions extends AttemptLimits, BacklogOptions, PaceOptions {
  readonly client: Pick<SignalClient, "ingest" | "ingestBatch">;
  readonly timers: OutboxTimers;
  readonly observer: WorkerObserver;
}

/** Where a worker stands. */
export type OutboxState = "idle" | "delivering" | "waiting" | "held" | "closed";

/** How soon the file is tried again after it could not be read or written. */
const STORAGE_RETRY_MS = 5_000;
/** How often to look during a wait for what comes too late. */
const LOOK_MS = 5_000;
/** How often a signal may fail while its neighbours are taken: by then it is the signal. */
const ISOLATED_FAILURES_MAX = 5;
/** How long an attempt that was aborted may take to end. */
const ABORT_GRACE_MS = 1_000;
/** How long few delivered signals are left unwritten when there is nothing else to do. */
const LINGER_MS = 25;
/**
 * An attempt that may take less is not shared with work on the file, which holds up the whole
 * process: for seconds if another process has the file, and then an answer that is there by
 * then would be too late.
 */
const UNHURRIED_MS = 10_000;

export class DeliveryWorker {
  readonly #options: WorkerOptions;
  readonly #abort = new AbortController();
  readonly #isolatedFailures = new Map<number, number>();
  readonly #backlog: Backlog;
  readonly #pace: Pace;
  #state: OutboxState = "idle";
  #hasWork = false;
  /** Whether the last attempt only corrected the clock: two in a row would never end. */
  #hasCorrected = false;
  #isStopping = false;
  #running: Promise<void> | undefined;
  #pause: Pause | undefined;
  /** Ends the pause that only waits for more to write at once. */
  #endLinger: (() => void) | undefined;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#backlog = new Backlog(options);
    this.#pace = new Pace(options);
  }

  get state(): OutboxState {
    return this.#state;
  }

  /** The failure of the last attempt, if it failed and is to be repeated. */
  get lastError(): SignalError | undefined {
    return this.#pace.lastError;
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
    this.#backlog.write();
    this.#state = "closed";
  }

  /** Gives the request under way up when its time is over, and then does not wait for long. */
  #endOf(running: Promise<void>, drainMs: number): Promise<void> {
    const { timers } = this.#options;
    return new Promise((resolve) => {
      let cancel = timers.after(drainMs, () => {
        this.#abort.abort();
        cancel = timers.after(ABORT_GRACE_MS, resolve);
      });
      void running.then(() => {
        cancel();
        resolve();
      });
    });
  }

  async #run(): Promise<void> {
    while (this.#hasWork && !this.#isStopping) {
      this.#hasWork = false;
      let wait: Wait | undefined;
      do {
        this.#state = this.#pace.isHeld ? "held" : "delivering";
        wait = await this.#step();
        if (wait !== undefined && wait.delayMs > 0) {
          this.#state = this.#pace.isHeld ? "held" : "waiting";
          await this.#wait(wait);
        }
      } while (wait !== undefined && !this.#isStopping);
    }
    if (!this.#isStopping) this.#state = "idle";
    // In the same turn as the last look for work: in a later one, a call of `wake` in between
    // would find a run that is over, and begin none.
    this.#running = undefined;
  }

  /** Waits, and meanwhile tells of what comes too late. Ends early when the worker is stopped. */
  async #wait(wait: Wait): Promise<void> {
    if (this.#isStopping) return;
    const { timers } = this.#options;
    this.#pause = new Pause(wait, timers);
    const cancelLooks =
      wait.delayMs > LOOK_MS ? every(LOOK_MS, timers, () => this.#look()) : undefined;
    await this.#pause.over;
    cancelLooks?.();
    this.#pause = undefined;
  }

  #look(): void {
    const { clock, giveUpAfterMs, observer } = this.#options;
    try {
      for (const item of this.#backlog.look()) {
        this.#buryLate(item, lateness(item, clock, giveUpAfterMs));
      }
      if (this.#backlog.hasUnwrittenDead) this.#backlog.write();
      if (this.#backlog.isEmpty) this.#pause?.end();
    } catch (error) {
      observer.failed(error);
    }
  }

  #buryLate(item: OutboxItem, why: Lateness | undefined): void {
    if (why === undefined || why === "doubtful") return;
    this.#backlog.bury(item, lateError(why, this.#options.giveUpAfterMs, this.lastError));
  }

  /** @returns how long to wait before the next step; `undefined` if there is nothing to do. */
  async #step(): Promise<Wait | undefined> {
    try {
      const items = this.#backlog.next();
      if (items.length > 0) return await this.#deliver(items);
      this.#pace.rest();
      return await this.#writeWhenIdle();
    } catch (error) {
      this.#options.observer.failed(error);
      return fixedWait(STORAGE_RETRY_MS);
    }
  }

  async #deliver(oldest: readonly OutboxItem[]): Promise<Wait | undefined> {
    const { client, clock } = this.#options;
    const backlog = this.#backlog;
    const attempt = planAttempt(oldest, clock, this.#options, this.#pace.batchSize);
    for (const { item, why } of attempt.late) this.#buryLate(item, why);
    if (backlog.hasUnwrittenDead) backlog.write();
    if (attempt.sent.length === 0) return this.#confirmClock(attempt.late);
    const isHurried = attempt.timeoutMs < UNHURRIED_MS;
    if (isHurried && backlog.isWorthWriting) backlog.write();
    const { correctionMs } = clock;
    const sending = sendOnce(client, attempt.sent, this.#callOptions(attempt.timeoutMs));
    if (!isHurried) await this.#workMeanwhile(attempt.sent);
    const outcomes = await sending;
    // Too late for the file. The next start sends them again, under the same keys.
    if (this.#state === "closed") return undefined;
    const isClockWrong = outcomes.some(isClockSkew) && clock.correctionMs !== correctionMs;
    if (isClockWrong && !this.#hasCorrected) {
      this.#hasCorrected = true;
      backlog.forgetReadAhead();
      return fixedWait(0);
    }
    this.#hasCorrected = false;
    return this.#conclude(
      attempt.sent.map((item, index) => ({ item, outcome: outcomes[index] ?? "unsent" })),
    );
  }

  /**
   * Finds out whether a signal that seems to come too late does, without any risk that it is
   * stored: by a clock by which all do, none would ever be sent, and so it would stay wrong.
   */
  async #confirmClock(late: readonly { item: OutboxItem; why: Lateness }[]): Promise<Wait> {
    const item = late.find(({ why }) => why === "doubtful")?.item;
    if (item === undefined) return fixedWait(0);
    const { client, clock, timeoutMs } = this.#options;
    const { idempotencyKey } = item.entry;
    const call = { ...this.#callOptions(timeoutMs), idempotencyKey, validateOnly: true };
    try {
      await client.ingest(item.signal, call);
    } catch (thrown) {
      const error = SignalError.from(thrown);
      if (this.#state === "closed") return fixedWait(0);
      if (!clock.isConfirmed && !isFinal(error)) return this.#fail([error]);
    }
    if (!clock.isConfirmed) clock.trust();
    return fixedWait(0);
  }

  /**
   * While a request is under way, writes what became of earlier ones, and if there is a backlog
   * reads what comes next.
   */
  async #workMeanwhile(underWay: readonly OutboxItem[]): Promise<void> {
    const backlog = this.#backlog;
    const hasMore = underWay.length > 1;
    if (!hasMore && !backlog.isWorthWriting) return;
    // Work on the file holds up the whole process, so the request goes first.
    await setImmediate();
    if (this.#state === "closed") return;
    try {
      if (backlog.isWorthWriting) backlog.write();
      if (hasMore) backlog.readAhead(underWay);
    } catch (error) {
      this.#options.observer.failed(error);
    }
  }

  /** @returns how long to wait before the next step; `undefined` if all is done and written. */
  async #writeWhenIdle(): Promise<Wait | undefined> {
    const backlog = this.#backlog;
    if (!backlog.isUnwritten) return undefined;
    this.#state = "idle";
    this.#hasWork = false;
    const isIdle = backlog.isWorthWriting || (await this.#linger(LINGER_MS));
    if (isIdle && backlog.write()) return undefined;
    if (isIdle) await this.#linger(STORAGE_RETRY_MS);
    return fixedWait(0);
  }

  /** Waits unless something comes to be delivered. @returns whether nothing came. */
  async #linger(delayMs: number): Promise<boolean> {
    let isIdle = true;
    this.#endLinger = () => {
      isIdle = false;
      this.#pause?.end();
    };
    await this.#wait(fixedWait(delayMs));
    this.#endLinger = undefined;
    return isIdle;
  }

  #callOptions(timeoutMs: number) {
    const { signal } = this.#abort;
    // Once the clock is corrected, other signals may be too late, and some have a wrong time.
    return { timeoutMs, retry: false, retryClockSkew: false, signal } as const;
  }

  /** Acts on the outcomes of an attempt. @returns how long to wait before the next. */
  #conclude(settled: readonly SettledItem[]): Wait {
    const backlog = this.#backlog;
    const delivered = settled.filter(({ outcome }) => outcome === "delivered");
    // What was read ahead is next in line only if all before it was delivered.
    if (delivered.length < settled.length) backlog.forgetReadAhead();
    const whole = errorOfWhole(settled);
    if (whole !== undefined && (isFinal(whole) || isPerhapsTooBig(whole))) {
      this.#pace.halve(settled.length);
      if (isFinal(whole)) return fixedWait(0);
    }
    const kept: SignalError[] = [];
    for (const { item, outcome } of settled) {
      if (!(outcome instanceof SignalError)) continue;
      if (isFinal(outcome) || this.#isToBlame(item, outcome, settled)) backlog.bury(item, outcome);
      else kept.push(outcome);
    }
    this.#forgetFailures(settled);
    backlog.deliver(delivered.map(({ item }) => item));
    if (backlog.hasUnwrittenDead || kept.length > 0) backlog.write();
    if (delivered.length > 0) this.#options.observer.delivered(delivered.length);
    if (settled.length > kept.length) this.#pace.succeed();
    return kept.length === 0 ? fixedWait(0) : this.#fail(kept);
  }

  #fail(errors: readonly SignalError[]): Wait {
    return this.#pace.fail(errors, this.#backlog.longestWaitMs());
  }

  /** Whether a signal failed so often while its neighbours were taken that it is to blame. */
  #isToBlame(item: OutboxItem, error: SignalError, settled: readonly SettledItem[]): boolean {
    const isOfAll = settled.every(({ outcome }) => outcome instanceof SignalError);
    if (error.reason !== "INTERNAL" || isOfAll) return false;
    const failures = (this.#isolatedFailures.get(item.entry.sequence) ?? 0) + 1;
    this.#isolatedFailures.set(item.entry.sequence, failures);
    return failures >= ISOLATED_FAILURES_MAX;
  }

  /** Forgets the failures of what is no longer pending, so that they take no room for ever. */
  #forgetFailures(settled: readonly SettledItem[]): void {
    const first = settled[0]?.item.entry.sequence ?? 0;
    for (const sequence of this.#isolatedFailures.keys()) {
      if (sequence < first) this.#isolatedFailures.delete(sequence);
    }
  }
}

function isClockSkew(outcome: Outcome): boolean {
  return outcome instanceof SignalError && outcome.reason === "CLOCK_SKEW";
}
