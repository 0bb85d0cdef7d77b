/**
 * The alerts of a bot: what it is asked for them, and what it can tell by them.
 */
import { z } from "zod";
import {
  type AlertKind,
  type AlertSink,
  apiRoot,
  botToken,
  chatId,
  describeUnknown,
  type HiddenText,
  RETRIES_DEFAULT,
  RETRIES_MAX,
  SEND_TIMEOUT_MS,
  TelegramSink,
  ThrottledAlerts,
  WebhookSink,
  webhookUrl,
} from "../../alerts/index.ts";
import type { ClientLogger } from "../clientLogger.ts";
import { type ClientClock, epochMs, systemClock } from "../clock.ts";
import type { SignalInput } from "../input.ts";
import { checkedOptions, objectWith, optionsObject, wholeNumber } from "../settings.ts";
import { type DeadLetterPlace, describeDeliveryError, isExpiry } from "./deliveryError.ts";

/**
 * Tells people. None of its methods throws, rejects or waits for a channel before it
 * returns; the promise tells when the alert was sent, held back or given up, and need not
 * be awaited.
 */
export interface Alerts {
  /** Sends a text of the bot's own. */
  sendOwnerAlert(text: string): Promise<void>;
  /**
   * Tells that a signal could not be delivered, why, and what to do: as `signal_expired` if it
   * came to its end, else as `delivery_failed`.
   *
   * @param place where it lies, if it is a dead letter of an outbox.
   */
  sendSignalDeliveryError(
    signal: SignalInput,
    error: Error,
    place?: DeadLetterPlace,
  ): Promise<void>;
  /** Sends an alert of any kind. */
  send(kind: AlertKind, text: string): Promise<void>;
  /** Sends what is queued or held back, for a few seconds at most, and takes no more. */
  close(): Promise<void>;
}

/** How to reach a chat of Telegram. */
export interface TelegramOptions {
  /** The bot's token, as BotFather gives it. `TELEGRAM_BOT_TOKEN` in the environment. */
  readonly botToken: string | HiddenText;
  /**
   * The chat: a number, or `@name` of a public channel. The person must have started the
   * bot, or added it to the group. `TELEGRAM_CHAT_ID` in the environment.
   */
  readonly chatId: string | number;
  /**
   * Where the Bot API is: `https`, or `http` to this machine. Defaults to Telegram's own.
   * `TELEGRAM_API_ROOT` in the environment.
   */
  readonly apiRoot?: string | undefined;
  /** Names this machine in every message, for a chat that many bots write to. */
  readonly host?: string | undefined;
  /** How often an attempt that failed for a passing reason is repeated, 0 to 10. Defaults to 3. */
  readonly retries?: number | undefined;
}

/** How to reach a webhook. */
export interface WebhookOptions {
  /**
   * Where to post: `https`, or `http` to this machine, without user name, password and
   * fragment. It is never shown. `ALERT_WEBHOOK_URL` in the environment.
   */
  readonly url: string | HiddenText;
  /** Names this machine in every alert. */
  readonly host?: string | undefined;
  /** How often an attempt that failed for a passing reason is repeated, 0 to 10. Defaults to 3. */
  readonly retries?: number | undefined;
}

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

/** Whose configuration it is, in what is said of it. */
export const ALERTS_OWNER = "The alerts'";

const INTERVAL_MS_DEFAULT = 300_000;
const INTERVAL_MS_MAX = 86_400_000;
const SEND_TIMEOUT_MS_MAX = 300_000;
const CLOSE_TIMEOUT_MS_DEFAULT = 5_000;
const CLOSE_TIMEOUT_MS_MAX = 60_000;

const host = z.string("must be text").optional();
const retries = wholeNumber(0, RETRIES_MAX).default(RETRIES_DEFAULT);
const telegramSchema = z.strictObject({ botToken, chatId, apiRoot, host, retries });
const webhookSchema = z.strictObject({ url: webhookUrl, host, retries });

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
  const { telegram, webhook, sinks, clock, ...others } = checkedOptions(
    schema,
    optionsObject(options),
    ALERTS_OWNER,
  );
  return new BotAlerts({
    ...others,
    sinks: createSinks({ telegram, webhook, sinks }),
    now: () => new Date(epochMs(clock)),
  });
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

/**
 * Makes the channel to a chat of Telegram. It opens no connection before its first alert.
 *
 * @throws ConfigError naming every wrong option, but never the token.
 */
export function createTelegramSink(options: TelegramOptions): AlertSink {
  return new TelegramSink(checkedOptions(telegramSchema, optionsObject(options), ALERTS_OWNER));
}

/**
 * Makes the channel to any program that takes JSON over HTTP. It posts
 * `{"kind", "text", "time", "host"}`, the time in RFC 3339, and takes any status of 200 to 299
 * for success. Redirects are not followed.
 *
 * @throws ConfigError naming every wrong option, but never the URL.
 */
export function createWebhookSink(options: WebhookOptions): AlertSink {
  return new WebhookSink(checkedOptions(webhookSchema, optionsObject(options), ALERTS_OWNER));
}

class BotAlerts extends ThrottledAlerts implements Alerts {
  sendOwnerAlert(text: string): Promise<void> {
    return this.send("owner", text);
  }

  sendSignalDeliveryError(
    signal: SignalInput,
    error: Error,
    place?: DeadLetterPlace,
  ): Promise<void> {
    try {
      // What is caught may be anything, whatever its type was said to be.
      const failure = error instanceof Object ? error : new Error(describeUnknown(error));
      const kind = isExpiry(failure) ? "signal_expired" : "delivery_failed";
      return this.send(kind, describeDeliveryError(signal, failure, place));
    } catch {
      // A caller without a compiler gave no signal, or one that cannot be read.
      return this.send("delivery_failed", "A signal was not delivered, and cannot be described.");
    }
  }
}
