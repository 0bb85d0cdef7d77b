/**
 * One sink with its own queue: alerts leave one after the other, each under a deadline, and
 * a sink that hangs delays no other.
 */
import { TaskCancelledError, TimeoutStrategy, timeout } from "cockatiel";
import type { ClientLogger } from "../clientLogger.ts";
import { describeUnknown, readProperty } from "../text.ts";
import type { Alert, AlertSink } from "./alert.ts";
import { alertFacts } from "./log.ts";

/**
 * The most alerts that wait for one sink. Throttling lets few come at all, so more means
 * that the sink hangs.
 */
const QUEUE_MAX = 100;

/** How a channel works. */
export interface ChannelOptions {
  readonly sink: AlertSink;
  /** Gets the text of each alert that is not sent. Must not throw. */
  readonly logger: ClientLogger;
  /** How long the sink may take for one alert, in milliseconds. */
  readonly sendTimeoutMs: number;
  /** Ends it: what is under way and what waits is given up. */
  readonly giveUp: AbortSignal;
}

/** Hands alerts to one sink. */
export class Channel {
  readonly #options: ChannelOptions;
  #waiting = 0;
  #last: Promise<void> = Promise.resolve();

  constructor(options: ChannelOptions) {
    this.#options = options;
  }

  /** Resolves when all that was handed over is sent or given up. Never rejects. */
  get drained(): Promise<void> {
    return this.#last;
  }

  /** Queues an alert. The promise resolves when it is sent or given up, and never rejects. */
  send(alert: Alert): Promise<void> {
    if (this.#waiting >= QUEUE_MAX) {
      this.#report(alert, `More than ${QUEUE_MAX} alerts wait for this channel.`);
      return Promise.resolve();
    }
    this.#waiting += 1;
    this.#last = this.#last.then(() => this.#deliver(alert));
    return this.#last;
  }

  async #deliver(alert: Alert): Promise<void> {
    const { sink, giveUp, sendTimeoutMs } = this.#options;
    try {
      giveUp.throwIfAborted();
      const policy = timeout(sendTimeoutMs, TimeoutStrategy.Aggressive);
      await policy.execute(({ signal }) => sink.send(alert, signal), giveUp);
    } catch (error) {
      this.#report(alert, giveUp.aborted ? "The alerts were closed." : this.#reasonFor(error));
    } finally {
      this.#waiting -= 1;
    }
  }

  #reasonFor(error: unknown): string {
    if (error instanceof TaskCancelledError) {
      return `It took longer than ${this.#options.sendTimeoutMs} ms.`;
    }
    return describeUnknown(readProperty(error, "message") ?? error);
  }

  /** So that a person can still find the alert. */
  #report(alert: Alert, reason: string): void {
    const facts = { channel: this.#options.sink.name, reason, ...alertFacts(alert) };
    this.#options.logger.error(facts, "An alert could not be sent.");
  }
}
