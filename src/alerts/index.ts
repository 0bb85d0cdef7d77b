/**
 * Tells people: alerts over Telegram, a webhook and the log, not too many of them, and what
 * these channels must know of texts, URLs and secrets.
 */
export {
  ALERT_KINDS,
  type Alert,
  AlertError,
  type AlertErrorReason,
  type AlertKind,
  type AlertSink,
  type Logger,
} from "./alert.ts";
export { guardedLogger } from "./channel.ts";
export { causesOf, isLoopback, parseRetryAfter, parseServerUrl } from "./peer.ts";
export { RETRIES_DEFAULT, RETRIES_MAX, SEND_TIMEOUT_MS } from "./retries.ts";
export { apiRoot, botToken, chatId, HiddenText, webhookUrl } from "./settings.ts";
export { TelegramSink } from "./telegram.ts";
export {
  counted,
  cutText,
  describeUnknown,
  oneLine,
  sentence,
} from "./text.ts";
export { ThrottledAlerts } from "./throttle.ts";
export { exponentialDelayMs, pause, withDeadline } from "./waiting.ts";
export { WebhookSink } from "./webhook.ts";
