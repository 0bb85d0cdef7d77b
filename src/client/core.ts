/**
 * The client for producers, published as `countersign-client`: hand signals to a server,
 * or sign the calls of a client of your own. It never loads `@grpc/grpc-js`, which only some
 * bots install.
 */
export {
  type Alert,
  AlertError,
  type AlertErrorReason,
  type AlertKind,
  type AlertSink,
  HiddenText,
} from "../alerts/index.ts";
export type {
  Instant,
  JsonObject,
  JsonValue,
  Reason,
  Retry,
  Side,
  SignalStatus,
  Violation,
} from "../signal/index.ts";
export {
  type AlertOptions,
  type Alerts,
  createAlerts,
  createTelegramSink,
  createWebhookSink,
  type TelegramOptions,
  type WebhookOptions,
} from "./alerts/alerts.ts";
export type { DeadLetterPlace } from "./alerts/deliveryError.ts";
export {
  createSignalClient,
  type IngestCallOptions,
  type SignalCallOptions,
  type SignalClient,
} from "./client.ts";
export { type ClientLogger, silentLogger } from "./clientLogger.ts";
export { type ClientClock, systemClock } from "./clock.ts";
export { alertOptionsFromEnv, clientOptionsFromEnv } from "./config.ts";
export type { ClientReason, SignalErrorReason } from "./errorReason.ts";
export type { SignalInput, TimeInput } from "./input.ts";
export type {
  ClientCodec,
  ClientHttpVersion,
  ClientProtocol,
  DisabledClientOptions,
  SignalClientOptions,
} from "./options.ts";
export { createOutbox } from "./outbox/fileOutbox.ts";
export type { OutboxOptions, OutboxRetryOptions } from "./outbox/options.ts";
export type { EnqueueOptions, EnqueueResult, Outbox, OutboxStatus } from "./outbox/outbox.ts";
export { OutboxError, type OutboxErrorReason, OutboxFullError } from "./outbox/outboxError.ts";
export type { IngestItem } from "./request.ts";
export type { SignerOptions } from "./requestSigner.ts";
export type {
  DisabledResult,
  IngestItemResult,
  IngestResult,
  RefusedResult,
  StoredResult,
  ValidResult,
} from "./result.ts";
export { type Backoff, type BackoffOptions, createBackoff } from "./retry/backoff.ts";
export type { CircuitBreakerOptions, RetryOptions } from "./retry/retryOptions.ts";
export {
  type PlannedRetry,
  type RetryAttempt,
  type WithRetryOptions,
  withRetry,
} from "./retry/withRetry.ts";
export { ConfigError, type ConfigProblem } from "./settings.ts";
export { SignalError, type SignalErrorDetails } from "./signalError.ts";
export { createSigningInterceptor, type SigningInterceptorOptions } from "./signingInterceptor.ts";
