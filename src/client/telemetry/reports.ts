/**
 * Tells the log, the metrics and people what becomes of each call and of the circuit.
 *
 * One line for each signal that was delivered or refused by itself; one line for a call
 * that failed as a whole, with all its keys; one line for each retry. They have the names
 * of the server's log, so that one search finds both sides of a signal.
 */

import type { Alerts } from "../alerts/alerts.ts";
import type { CallObserver } from "../call.ts";
import type { ClientLogger, Notice } from "../clientLogger.ts";
import { monotonicMs } from "../clock.ts";
import type { IngestItemResult } from "../result.ts";
import type { CircuitObserver, CircuitState } from "../retry/circuit.ts";
import type { SignalError } from "../signalError.ts";
import type { ClientMetrics } from "./metrics.ts";
import { HTTP_OK, httpCodeOf, httpCodeOfReason, postResultOf } from "./postResult.ts";

/** Where to report, and for whom. */
export interface ReportOptions {
  readonly producerId: string;
  readonly logger: ClientLogger;
  /** Tells of attempts that are repeated if there is no log that does. */
  readonly notice: Notice;
  readonly metrics: ClientMetrics;
}

/** What a call is about. */
export interface ReportedCall {
  /** The idempotency keys of its signals. */
  readonly keys: readonly string[];
  /** Whether somebody else makes the next attempt, so that a passing failure is no loss. */
  readonly isSingleAttempt: boolean;
}

const MS_PER_SECOND = 1_000;

/** Follows one call from its beginning. */
export class CallReport implements CallObserver {
  readonly #options: ReportOptions;
  readonly #call: ReportedCall;
  readonly #startedAtMs = monotonicMs();
  #retries = 0;

  constructor(options: ReportOptions, call: ReportedCall) {
    this.#options = options;
    this.#call = call;
  }

  retrying({ attempt, delayMs, error }: Parameters<CallObserver["retrying"]>[0]): void {
    this.#retries += 1;
    this.#options.metrics.retrying(error.reason);
    const facts = { ...this.#subject(), attempt, delay_ms: delayMs, ...errorFacts(error) };
    this.#options.logger.warn(facts, "an attempt failed and will be repeated");
    const when = delayMs === 0 ? "at once" : `in ${Math.ceil(delayMs / MS_PER_SECOND)} s`;
    this.#options.notice(`an attempt failed and will be repeated ${when}: ${error.message}`);
  }

  clockCorrected(offsetSeconds: number): void {
    this.#retries += 1;
    this.#options.metrics.retrying("CLOCK_SKEW");
    const facts = { ...this.#subject(), offset_seconds: offsetSeconds };
    const message = "the clock of this machine is wrong; signatures now follow the server's";
    this.#options.logger.warn(facts, message);
    const by = `${Math.abs(offsetSeconds)} s ${offsetSeconds < 0 ? "fast" : "slow"}`;
    this.#options.notice(`${message} (it is ${by})`);
  }

  /** Each signal has its answer. */
  answered(results: readonly IngestItemResult[]): void {
    const durationMs = this.#durationMs();
    for (const result of results) this.#answeredOne(result, durationMs);
  }

  /** The call failed as a whole, and will not be repeated here. */
  failed(error: SignalError): void {
    const { logger, metrics } = this.#options;
    const durationMs = this.#durationMs();
    const [result, httpCode] = [postResultOf(error.reason), httpCodeOf(error)];
    for (const _ of this.#call.keys) metrics.posted(result, httpCode, durationMs / MS_PER_SECOND);
    const facts = {
      ...this.#subject(),
      ...(this.#call.keys.length > 1 && { idempotency_keys: this.#call.keys }),
      ...errorFacts(error),
      http_code: httpCode,
      duration_ms: durationMs,
      retries: this.#retries,
    };
    const isForCallerToDecide = error.retryable && this.#call.isSingleAttempt;
    if (error.reason === "CANCELLED") logger.warn(facts, "the call was given up");
    else if (isForCallerToDecide) logger.warn(facts, "a single attempt failed");
    else logger.error(facts, "the signals could not be delivered");
  }

  #answeredOne(result: IngestItemResult, durationMs: number): void {
    const { producerId, logger, metrics } = this.#options;
    const { outcome, idempotencyKey } = result;
    const isRefused = outcome === "refused";
    const httpCode = isRefused ? httpCodeOfReason(result.reason) : HTTP_OK;
    const posted = isRefused ? postResultOf(result.reason) : "success";
    metrics.posted(posted, httpCode, durationMs / MS_PER_SECOND);
    const facts = {
      producer_id: producerId,
      idempotency_key: idempotencyKey,
      signal_id: result.signalId,
      outcome,
      status: result.status,
      http_code: httpCode,
      duration_ms: durationMs,
      retries: this.#retries,
    };
    if (!isRefused) {
      logger.info(facts, "the signal was delivered");
      return;
    }
    const { reason, violations, retryable } = result;
    const refusal = { ...facts, reason, violations };
    if (retryable) logger.warn(refusal, "the signal was not taken this time");
    else logger.error(refusal, "the signal was refused");
  }

  #subject(): object {
    const { keys } = this.#call;
    const [only] = keys;
    const which = keys.length === 1 ? { idempotency_key: only } : { signals: keys.length };
    return { producer_id: this.#options.producerId, ...which };
  }

  #durationMs(): number {
    return Math.round((monotonicMs() - this.#startedAtMs) * MS_PER_SECOND) / MS_PER_SECOND;
  }
}

/** What the log tells of an error: never its causes, which hold what others wrote. */
function errorFacts({ reason, message, requestId, violations }: SignalError): object {
  return {
    reason,
    error: message,
    ...(requestId !== undefined && { request_id: requestId }),
    ...(violations.length > 0 && { violations }),
  };
}

/** Where to report, and about which server. */
export interface CircuitReportOptions extends ReportOptions {
  readonly alerts: Alerts | undefined;
  /** The server's host and port. */
  readonly host: string;
}

/**
 * Follows the circuit of one client. A person hears of an outage once when it begins and
 * once when it ends; probes that fail in between are not news.
 */
export class CircuitReport implements CircuitObserver {
  readonly #options: CircuitReportOptions;
  #state: CircuitState | undefined = "closed";

  constructor(options: CircuitReportOptions) {
    this.#options = options;
    options.metrics.circuitChanged(undefined, "closed");
  }

  changed(from: CircuitState, to: CircuitState, cause: SignalError | undefined): void {
    if (this.#state === undefined) return;
    this.#options.metrics.circuitChanged(from, to);
    this.#state = to;
    if (from === "closed" && to === "open") this.#opened(cause);
    if (to === "closed") this.#closed();
  }

  /** The client is gone, and its circuit is counted no more. */
  end(): void {
    if (this.#state !== undefined) this.#options.metrics.circuitChanged(this.#state, undefined);
    this.#state = undefined;
  }

  #opened(cause: SignalError | undefined): void {
    const { producerId, host, logger } = this.#options;
    const facts = { producer_id: producerId, host, reason: cause?.reason, error: cause?.message };
    logger.warn(facts, "the server does not work; the circuit is open");
    const text = `The server ${host} does not work, so ${producerId} leaves it alone and tries again from time to time. Last failure: ${cause?.message}`;
    this.#alert("circuit_opened", text);
  }

  #closed(): void {
    const { producerId, host, logger } = this.#options;
    logger.info({ producer_id: producerId, host }, "the server works again; the circuit is closed");
    this.#alert("circuit_closed", `The server ${host} works again for ${producerId}.`);
  }

  /** No alert delays or ends a call, whatever an implementation does against its contract. */
  #alert(kind: "circuit_opened" | "circuit_closed", text: string): void {
    const { alerts, logger } = this.#options;
    const send = async () => alerts?.send(kind, text);
    send().catch(() => logger.error({ kind, text }, "an alert could not be sent"));
  }
}
