/**
 * What an alert is, and where it goes.
 */
import type { SignalInput } from "../input.ts";

/** What an alert is about. Alerts of one kind are held back together when there are many. */
export type AlertKind =
  /** A signal could not be delivered and will not be tried again. */
  | "delivery_failed"
  /** A signal passed its `expire_time` before it could be delivered. It was not sent. */
  | "signal_expired"
  /** The outbox can deliver nothing until a person mends the cause. All signals are kept. */
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

/** Where a signal lies that an outbox could not deliver. */
export interface DeadLetterPlace {
  readonly idempotencyKey: string;
  /** The outbox file, as an absolute path: who reads it is in no folder of the bot. */
  readonly outbox: string;
}

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
