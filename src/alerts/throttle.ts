/**
 * Sends alerts to people over every channel at once, and not too many of them.
 *
 * Of one kind, at most one alert leaves in each interval. The first leaves at once and opens
 * the interval; those that come before its end are held back and written to the log. At the
 * end one alert tells of them all, with their number and the last few texts, and opens the
 * next interval. Texts of the bot's own are a kind like any other.
 *
 * Nothing that a channel does reaches the caller: each has its own queue, bound and
 * deadline, and an alert that it does not send is written to the log with its text.
 *
 * The end of an interval keeps no process alive, but an alert that is on its way does, for
 * as long as it may take. So call `close()` before the end: it sends what is held back.
 */
import { ALERT_KINDS, type Alert, type AlertKind, type AlertSink, type Logger } from "./alert.ts";
import { alertFacts, Channel, guardedLogger, logSink } from "./channel.ts";
import { cutText, formatUtc, textOf } from "./text.ts";

/** Where alerts go, and how many. */
export interface ThrottleOptions {
  /** Gets every alert, and what becomes of those that are not sent. May throw. */
  readonly logger: Logger;
  /** The channels, besides the log. */
  readonly sinks: readonly AlertSink[];
  /** How long after one alert the next of its kind may leave, in milliseconds. */
  readonly intervalMs: number;
  /** How long a channel may take for one alert, repeats included, in milliseconds. */
  readonly sendTimeoutMs: number;
  /** How long `close()` waits for the channels, in milliseconds. */
  readonly closeTimeoutMs: number;
  /** What the clock shows. */
  readonly now: () => Date;
}

/** What is kept of a text in memory, in UTF-16 units. */
const TEXT_MAX_UNITS = 10_000;

/** The time after an alert in which others of its kind are held back. */
interface Interval {
  readonly timer: NodeJS.Timeout;
  readonly pending: PendingSummary;
}

/**
 * The alerts of a process. None of its methods throws, rejects or waits for a channel before
 * it returns.
 */
export class ThrottledAlerts {
  readonly #options: ThrottleOptions;
  readonly #channels: readonly Channel[];
  readonly #giveUp = new AbortController();
  readonly #intervals = new Map<AlertKind, Interval>();
  #closed: Promise<void> | undefined;

  constructor(options: ThrottleOptions) {
    const logger = guardedLogger(options.logger);
    const { sendTimeoutMs } = options;
    const giveUp = this.#giveUp.signal;
    this.#options = { ...options, logger };
    this.#channels = [logSink(logger), ...options.sinks].map(
      (sink) => new Channel({ sink, logger, sendTimeoutMs, giveUp }),
    );
  }

  /** Sends an alert. The promise resolves when it is sent, held back or given up. */
  async send(kind: AlertKind, text: string): Promise<void> {
    const alert: Alert = {
      // A kind that is not known would else be a new one for each mistake.
      kind: isAlertKind(kind) ? kind : "owner",
      text: cutText(textOf(text), TEXT_MAX_UNITS),
      time: this.#options.now(),
    };
    const { logger } = this.#options;
    if (this.#closed !== undefined) {
      logger.error(alertFacts(alert), "An alert came after the end: it is not sent.");
      return;
    }
    const interval = this.#intervals.get(alert.kind);
    if (interval === undefined) return this.#sendNow(alert);
    interval.pending.add(alert);
    logger.warn(alertFacts(alert), "An alert is held back: one of its kind was sent.");
  }

  /** Sends what is queued or held back, as long as `closeTimeoutMs` allows, and takes no more. */
  close(): Promise<void> {
    this.#closed ??= this.#finish();
    return this.#closed;
  }

  /** Sends an alert over all channels and holds back what follows it. */
  async #sendNow(alert: Alert): Promise<void> {
    const { kind } = alert;
    const { now, intervalMs } = this.#options;
    const pending = new PendingSummary(kind, now());
    const timer = setTimeout(() => this.#endInterval(kind, pending), intervalMs);
    timer.unref();
    this.#intervals.set(kind, { timer, pending });
    await this.#dispatch(alert);
  }

  #endInterval(kind: AlertKind, pending: PendingSummary): void {
    this.#intervals.delete(kind);
    const summary = pending.toAlert();
    if (summary !== undefined) void this.#sendNow(summary);
  }

  async #dispatch(alert: Alert): Promise<void> {
    await Promise.all(this.#channels.map((channel) => channel.send(alert)));
  }

  async #finish(): Promise<void> {
    for (const { timer, pending } of this.#intervals.values()) {
      clearTimeout(timer);
      const summary = pending.toAlert();
      if (summary !== undefined) void this.#dispatch(summary);
    }
    this.#intervals.clear();
    const deadline = setTimeout(() => this.#giveUp.abort(), this.#options.closeTimeoutMs);
    await Promise.all(this.#channels.map(({ drained }) => drained));
    clearTimeout(deadline);
  }
}

/** Whether this version knows the kind: a caller may have no compiler to check it. */
function isAlertKind(kind: unknown): kind is AlertKind {
  return typeof kind === "string" && Object.hasOwn(ALERT_KINDS, kind);
}

/** How many of the held back alerts are told with their text: the last ones. */
const TOLD_MAX = 3;
/** With this many UTF-16 units for each, all that are told fit into a message of Telegram. */
const TOLD_TEXT_MAX_UNITS = 1_000;

/** An alert cannot be recalled when what it tells of is settled. */
const SEE_FIRST = "Before you act, see whether it is settled since.";

/**
 * Alerts of one kind that wait for the end of an interval: counted, and the last few kept,
 * so that they are bounded, however many there are.
 */
class PendingSummary {
  readonly #kind: AlertKind;
  readonly #since: Date;
  #count = 0;
  #last: Alert[] = [];

  /** @param since when the alert before them was sent. */
  constructor(kind: AlertKind, since: Date) {
    this.#kind = kind;
    this.#since = since;
  }

  add(alert: Alert): void {
    this.#count += 1;
    this.#last = [...this.#last, alert].slice(-TOLD_MAX);
  }

  /** The one alert to send for all: undefined for none. */
  toAlert(): Alert | undefined {
    const newest = this.#last.at(-1);
    if (newest === undefined) return undefined;
    const { time, text } = newest;
    if (this.#count === 1) {
      const head = `This happened at ${formatUtc(time)} and was held back. ${SEE_FIRST}`;
      return { ...newest, text: `${head}\n\n${text}` };
    }
    const told = this.#last.map(
      (alert) => `${formatUtc(alert.time)}: ${cutText(alert.text, TOLD_TEXT_MAX_UNITS)}`,
    );
    return { kind: this.#kind, text: [this.#head(told.length), ...told].join("\n\n"), time };
  }

  #head(toldCount: number): string {
    const which = this.#count > toldCount ? `, the last ${toldCount} of them; the log has all` : "";
    const head = `… and ${this.#count} more of this kind since ${formatUtc(this.#since)}${which}.`;
    return `${head} They were held back. ${SEE_FIRST}`;
  }
}
