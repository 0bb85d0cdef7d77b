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
