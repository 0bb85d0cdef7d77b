/**
 * One sink with its own queue: alerts leave one after the other, each under a deadline, and
 * a sink that hangs delays no other.
 */
import { ALERT_KINDS, type Alert, type AlertSink, type Logger } from "./alert.ts";
import { describeUnknown, readProperty } from "./text.ts";
import { DeadlineError, withDeadline } from "./waiting.ts";

/**
 * The most alerts that wait for one sink. Throttling lets few come at all, so more means
 * that the sink hangs.
 */
const QUEUE_MAX = 100;

/** How a channel works. */
export interface ChannelOptions {
  readonly sink: AlertSink;
  /** Gets the text of each alert that is not sent. Must not throw. */
  readonly logger: Logger;
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
      await withDeadline((signal) => sink.send(alert, signal), sendTimeoutMs, giveUp);
    } catch (error) {
      this.#report(alert, giveUp.aborted ? "The alerts were closed." : this.#reasonFor(error));
    } finally {
      this.#waiting -= 1;
    }
  }

  #reasonFor(error: unknown): string {
    if (error instanceof DeadlineError) {
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

/** The channel that writes each alert to a logger. */
export function logSink(logger: Logger): AlertSink {
  return {
    name: "log",
    async send(alert: Alert) {
      const { title, level } = ALERT_KINDS[alert.kind];
      logger[level](alertFacts(alert), `${title}.`);
    },
  };
}

/** An alert as facts for the log, whose own `time` is that of the line. */
export function alertFacts({ kind, text, time }: Alert) {
  return { kind, text, alert_time: time.toISOString() };
}

/**
 * The same logger, but nothing that it throws comes through: a signal that is stored must
 * not seem to have failed, nor an alert be lost, because a line about it could not be written.
 */
export function guardedLogger(logger: Logger): Logger {
  return {
    info: (facts, message) => ignoringErrors(() => logger.info(facts, message)),
    warn: (facts, message) => ignoringErrors(() => logger.warn(facts, message)),
    error: (facts, message) => ignoringErrors(() => logger.error(facts, message)),
  };
}

/** There is nowhere else to tell of a log that cannot be written. */
function ignoringErrors(write: () => void): void {
  try {
    write();
  } catch {}
}
