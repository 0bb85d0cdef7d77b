/**
 * What an alert is, the channels that it goes to, and why one did not take it.
 */

/** How an alert of one kind is shown. */
interface Presentation {
  /** What stands above its text. */
  readonly title: string;
  /** How the log rates it. */
  readonly level: keyof Logger;
}

/** What an alert is about. Alerts of one kind are held back together when there are many. */
export type AlertKind =
  /** A signal could not be delivered and will not be tried again. */
  | "delivery_failed"
  /** A signal passed its `expire_time` before it could be delivered. It was not sent. */
  | "signal_expired"
  /** The outbox can deliver nothing until a person removes the cause. All signals are kept. */
  | "delivery_held"
  /** The outbox is more than 80 % full. */
  | "outbox_filling"
  /** The outbox file was damaged, deleted or could not be written. */
  | "outbox_damaged"
  /** The server failed so often that no more calls are made for a while. */
  | "circuit_opened"
  /** The server answers again. */
  | "circuit_closed"
  /** A text of the bot's own. */
  | "owner";

/** Every kind, and how it is shown. */
export const ALERT_KINDS: Readonly<Record<AlertKind, Presentation>> = {
  delivery_failed: { title: "Signal not delivered", level: "error" },
  signal_expired: { title: "Signal expired before it was delivered", level: "error" },
  delivery_held: { title: "Delivery is held until you act", level: "error" },
  outbox_filling: { title: "Outbox is filling up", level: "warn" },
  outbox_damaged: { title: "Outbox is damaged", level: "error" },
  circuit_opened: { title: "Server fails, calls are paused", level: "warn" },
  circuit_closed: { title: "Server answers again", level: "info" },
  owner: { title: "Message from the bot", level: "warn" },
};

/** One message to a person. */
export interface Alert {
  readonly kind: AlertKind;
  /** Plain text, of any length and with any characters: a sink escapes and cuts it. */
  readonly text: string;
  /** When it happened, by this machine's clock. */
  readonly time: Date;
}

/** A channel to a person. */
export interface AlertSink {
  /** Names the channel in the log, such as `telegram`. */
  readonly name: string;
  /**
   * Sends one alert.
   *
   * @param signal aborts the attempt when it has taken too long.
   * @throws if it was not sent. The error must not show the channel's token.
   */
  send(alert: Alert, signal: AbortSignal): Promise<void>;
}

/** Where to write what happened. A `pino` logger fits as it is. */
export interface Logger {
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

/** Why an alert was not sent. */
export type AlertErrorReason =
  /** No connection could be made, or it broke. */
  | "UNREACHABLE"
  /** The answer did not come in time. The alert may have been sent. */
  | "TIMEOUT"
  /** The channel asks for a pause. */
  | "RATE_LIMITED"
  /** The channel cannot take anything for now. */
  | "UNAVAILABLE"
  /** What answered is not the channel. */
  | "INVALID_RESPONSE"
  /** The channel will never take it: a wrong token, a chat that is not there, and the like. */
  | "REFUSED";

/** The longest pause that a channel may ask for and still be asked again, in milliseconds. */
const RETRY_AFTER_MAX_MS = 45_000;

/**
 * An alert was not sent. It keeps no cause: the errors below it show the channel's URL, and
 * with it its token.
 */
export class AlertError extends Error {
  override readonly name = "AlertError";
  readonly reason: AlertErrorReason;
  /** How long the channel wants to be left alone, in milliseconds, if it said so. */
  readonly retryAfterMs: number | undefined;

  /** @param message must not show the channel's token. */
  constructor(reason: AlertErrorReason, message: string, retryAfterMs?: number) {
    super(`[${reason}] ${message}`);
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same alert may be sent a little later. */
  get retryable(): boolean {
    return this.reason !== "REFUSED" && (this.retryAfterMs ?? 0) <= RETRY_AFTER_MAX_MS;
  }
}
