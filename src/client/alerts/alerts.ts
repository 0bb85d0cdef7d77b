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
import { z } from "zod";
import type { ClientLogger } from "../clientLogger.ts";
import { type ClientClock, epochMs, systemClock } from "../clock.ts";
import { guardedLogger } from "../guardedLogger.ts";
import type { SignalInput } from "../input.ts";
import { checkedOptions, objectWith, optionsObject, wholeNumber } from "../settings.ts";
import { cutText, textOf } from "../text.ts";
import type { Alert, AlertKind, AlertSink, Alerts, DeadLetterPlace } from "./alert.ts";
import { Channel } from "./channel.ts";
import { describeDeliveryError, isExpiry } from "./deliveryError.ts";
import { HeldBack } from "./heldBack.ts";
import { alertFacts, createLogSink } from "./log.ts";
import { SEND_TIMEOUT_MS } from "./retries.ts";
import { ALERTS_OWNER } from "./settings.ts";
import { createTelegramSink, type TelegramOptions } from "./telegram.ts";
import { isAlertKind } from "./titles.ts";
import { createWebhookSink, type WebhookOptions } from "./webhook.ts";

/** Where alerts go, and how many. */
export interface AlertOptions {
  /** Gets every alert, and what becomes of those that are not sent. */
  readonly logger: ClientLogger;
  /** A chat of Telegram. Defaults to none. */
  readonly telegram?: TelegramOptions | undefined;
  /** A program that takes JSON over HTTP. Defaults to none. */
  readonly webhook?: WebhookOptions | undefined;
  /** Channels of one's own. Defaults to none. */
  readonly sinks?: readonly AlertSink[] | undefined;
  /**
   * How long after one alert the next of its kind may leave, in milliseconds, from 1 to
   * 86,400,000. Defaults to 300,000: often enough to follow what goes on, and seldom enough
   * that nobody mutes the chat.
   */
  readonly intervalMs?: number | undefined;
  /**
   * How long a channel may take for one alert, repeats included, in milliseconds, from 1 to
   * 300,000. Defaults to 60,000.
   */
  readonly sendTimeoutMs?: number | undefined;
  /**
   * How long `close()` waits for the channels, in milliseconds, from 1 to 60,000. Defaults to
   * 5,000, half of what container platforms leave a process to end.
   */
  readonly closeTimeoutMs?: number | undefined;
  /** Defaults to the clock of this machine. */
  readonly clock?: ClientClock | undefined;
}

const INTERVAL_MS_DEFAULT = 300_000;
const INTERVAL_MS_MAX = 86_400_000;
const SEND_TIMEOUT_MS_MAX = 300_000;
const CLOSE_TIMEOUT_MS_DEFAULT = 5_000;
const CLOSE_TIMEOUT_MS_MAX = 60_000;

/** A misspelt option is refused, since alerts that reach nobody are found out too late. */
const schema = z.strictObject({
  logger: objectWith<ClientLogger>("info", "warn", "error"),
  // These two are judged by those who make the channels.
  telegram: z.custom<TelegramOptions>().optional(),
  webhook: z.custom<WebhookOptions>().optional(),
  sinks: z.array(objectWith<AlertSink>("send"), "must be a list of channels").optional(),
  clock: objectWith<ClientClock>("now").default(() => systemClock),
  intervalMs: wholeNumber(1, INTERVAL_MS_MAX).default(INTERVAL_MS_DEFAULT),
  sendTimeoutMs: wholeNumber(1, SEND_TIMEOUT_MS_MAX).default(SEND_TIMEOUT_MS),
  closeTimeoutMs: wholeNumber(1, CLOSE_TIMEOUT_MS_MAX).default(CLOSE_TIMEOUT_MS_DEFAULT),
});

/** What is kept of a text in memory, in UTF-16 units. */
const TEXT_MAX_UNITS = 10_000;

/**
 * Makes the alerts of a process: over the log always, and over each channel that is given.
 *
 * ```ts
 * const alerts = createAlerts({ ...alertOptionsFromEnv(), logger });
 * alerts.sendOwnerAlert("The strategy has started.");
 * await alerts.close();
 * ```
 *
 * @throws ConfigError naming every wrong option of the first part that is wrong.
 */
export function createAlerts(options: AlertOptions): Alerts {
  const checked = checkedOptions(schema, optionsObject(options), ALERTS_OWNER);
  const { telegram, webhook, sinks, ...others } = checked;
  const logger = guardedLogger(others.logger);
  const channels = [createLogSink(logger), ...createSinks({ telegram, webhook, sinks })];
  return new ThrottledAlerts({ ...others, logger, sinks: channels });
}

/**
 * Makes the channels that the options name, without the log.
 *
 * @throws ConfigError naming every wrong option of the first channel that is wrong.
 */
export function createSinks(options: Omit<AlertOptions, "logger">): AlertSink[] {
  const { telegram, webhook, sinks = [] } = options;
  return [
    ...(telegram === undefined ? [] : [createTelegramSink(telegram)]),
    ...(webhook === undefined ? [] : [createWebhookSink(webhook)]),
    ...sinks,
  ];
}

interface ThrottleOptions extends Omit<z.output<typeof schema>, "telegram" | "webhook" | "sinks"> {
  readonly sinks: readonly AlertSink[];
}

/** The time after an alert in which others of its kind are held back. */
interface Interval {
  readonly timer: NodeJS.Timeout;
  readonly heldBack: HeldBack;
}

class ThrottledAlerts implements Alerts {
  readonly #options: ThrottleOptions;
  readonly #channels: readonly Channel[];
  readonly #giveUp = new AbortController();
  readonly #intervals = new Map<AlertKind, Interval>();
  #closed: Promise<void> | undefined;

  constructor(options: ThrottleOptions) {
    this.#options = options;
    const { logger, sendTimeoutMs } = options;
    const giveUp = this.#giveUp.signal;
    this.#channels = options.sinks.map(
      (sink) => new Channel({ sink, logger, sendTimeoutMs, giveUp }),
    );
  }

  sendOwnerAlert(text: string): Promise<void> {
    return this.send("owner", text);
  }

  sendSignalDeliveryError(
    signal: SignalInput,
    error: Error,
    place?: DeadLetterPlace,
  ): Promise<void> {
    const kind = isExpiry(error) ? "signal_expired" : "delivery_failed";
    return this.send(kind, describeDeliveryError(signal, error, place));
  }

  async send(kind: AlertKind, text: string): Promise<void> {
    const alert: Alert = {
      // A kind that is not known would else be a new one for each mistake.
      kind: isAlertKind(kind) ? kind : "owner",
      text: cutText(textOf(text), TEXT_MAX_UNITS),
      time: this.#now(),
    };
    if (this.#closed !== undefined) {
      this.#options.logger.error(alertFacts(alert), "An alert came after the end: it is not sent.");
      return;
    }
    const interval = this.#intervals.get(alert.kind);
    if (interval === undefined) return this.#sendNow(alert);
    interval.heldBack.add(alert);
    this.#options.logger.warn(
      alertFacts(alert),
      "An alert is held back: one of its kind was sent.",
    );
  }

  close(): Promise<void> {
    this.#closed ??= this.#finish();
    return this.#closed;
  }

  /** Sends an alert over all channels and holds back what follows it. */
  async #sendNow(alert: Alert): Promise<void> {
    const { kind } = alert;
    const heldBack = new HeldBack(kind, this.#now());
    const timer = setTimeout(() => this.#endInterval(kind, heldBack), this.#options.intervalMs);
    timer.unref();
    this.#intervals.set(kind, { timer, heldBack });
    await this.#dispatch(alert);
  }

  #endInterval(kind: AlertKind, heldBack: HeldBack): void {
    this.#intervals.delete(kind);
    const summary = heldBack.summary();
    if (summary !== undefined) void this.#sendNow(summary);
  }

  async #dispatch(alert: Alert): Promise<void> {
    await Promise.all(this.#channels.map((channel) => channel.send(alert)));
  }

  async #finish(): Promise<void> {
    for (const { timer, heldBack } of this.#intervals.values()) {
      clearTimeout(timer);
      const summary = heldBack.summary();
      if (summary !== undefined) void this.#dispatch(summary);
    }
    this.#intervals.clear();
    const deadline = setTimeout(() => this.#giveUp.abort(), this.#options.closeTimeoutMs);
    await Promise.all(this.#channels.map(({ drained }) => drained));
    clearTimeout(deadline);
  }

  #now(): Date {
    return new Date(epochMs(this.#options.clock));
  }
}
