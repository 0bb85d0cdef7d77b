/**
 * The client: hands signals to the server, each under one idempotency key.
 */

import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { v7 as randomUUIDv7 } from "uuid";
import {
  IngestBatchRequestSchema,
  IngestRequestSchema,
  IngestService,
} from "../../gen/signals/v1/ingest_service_pb.ts";
import { guardedLogger } from "../alerts/index.ts";
import { BATCH_REQUEST_MAX_BYTES, type SignalLimits } from "../signal/index.ts";
import { type CallSettings, callRepeatedly, type RepeatableCall } from "./call.ts";
import { createStderrNotice, noNotice, silentLogger } from "./clientLogger.ts";
import { type ClientClock, CorrectedClock, systemClock } from "./clock.ts";
import { type Connection, createConnection } from "./connection.ts";
import type { SignalInput } from "./input.ts";
import {
  type DisabledClientOptions,
  type EnabledClientOptions,
  resolveClientOptions,
  type SignalClientOptions,
} from "./options.ts";
import { type IngestItem, ingestBatchRequest, ingestRequest, withKeys } from "./request.ts";
import {
  disabledResult,
  type IngestItemResult,
  type IngestResult,
  ingestBatchResults,
  ingestResult,
} from "./result.ts";
import { type Circuit, createCircuit } from "./retry/circuit.ts";
import { type RetryOptions, retryOfCall } from "./retry/retryOptions.ts";
import { serialize } from "./serialize.ts";
import { ConfigError, type ConfigProblem, callOptions, TIMEOUT_MS_MAX } from "./settings.ts";
import { SignalError } from "./signalError.ts";
import { createClientMetrics } from "./telemetry/metrics.ts";
import { CallReport, CircuitReport, type ReportOptions } from "./telemetry/reports.ts";

/** How to make one call. */
export interface SignalCallOptions {
  /** How long an attempt may take, in milliseconds, 1 to 300,000. Defaults to the client's. */
  readonly timeoutMs?: number | undefined;
  /**
   * When a failed attempt is repeated. Each option that is not given is the client's.
   * `false` makes a single attempt, which `timeoutMs` then bounds; only a wrong clock is
   * still corrected, and the attempt made again within the same time.
   */
  readonly retry?: RetryOptions | false | undefined;
  /**
   * Whether an attempt that the server refuses for the wrong clock of this machine is made again
   * at once, by the clock that is corrected now. Defaults to true. `false` is for those who make
   * other times by that clock, too, and have to make them anew.
   */
  readonly retryClockSkew?: boolean | undefined;
  /**
   * Gives the call up when it is aborted, also while it waits for a retry. The signal may
   * have been stored by then.
   */
  readonly signal?: AbortSignal | undefined;
}

/** How to hand over one signal. */
export interface IngestCallOptions extends SignalCallOptions, Omit<IngestItem, "signal"> {}

const BATCH_OPTIONS = { timeoutMs: true, retry: true, retryClockSkew: true, signal: true } as const;
const INGEST_OPTIONS = { ...BATCH_OPTIONS, idempotencyKey: true, validateOnly: true } as const;

/** Where a client sends signals, and as whom. */
export interface Destination {
  readonly producerId: string;
  /** The server's host, with its port if the URL has one. */
  readonly host: string;
}

/** Hands signals to the server. Made by {@link createSignalClient}. */
export interface SignalClient extends AsyncDisposable {
  /**
   * The time as the client takes it for signatures and for signals without one: that of its
   * options, corrected once the server has said by how much it is wrong.
   */
  readonly clock: ClientClock;

  /** Named to people when nothing can be delivered; undefined if the client is switched off. */
  readonly destination?: Destination | undefined;

  /**
   * The greatest payload that it sends, in bytes, which an outbox keeps to as well; undefined if
   * the client is switched off.
   */
  readonly payloadMaxBytes?: number | undefined;

  /**
   * Hands over one signal. When this resolves with `stored` or `duplicate`, the signal is on
   * the server's disk.
   *
   * An attempt that fails for a passing reason is repeated as `retry` says: the same
   * message, under the same key, signed anew.
   *
   * @throws SignalError if it is refused or if its fate is not known: the last failure. A
   *   signal that breaks a rule is refused before anything is sent, with every wrong field
   *   named.
   * @throws RangeError if `timeoutMs` is out of range.
   * @throws ConfigError naming every option that there is not, or every wrong one of `retry`.
   */
  ingest(signal: SignalInput, options?: IngestCallOptions): Promise<IngestResult>;

  /**
   * Hands over 1 to 1,000 signals, at most 4 MiB, under one signature. Each is stored or
   * refused by itself: one that the server refuses is a result, not an error.
   *
   * @returns a result for each item, in order.
   * @throws SignalError if the request as a whole fails, or if any item breaks a rule: then
   *   nothing is sent, and every wrong field of every item is named.
   * @throws RangeError if `timeoutMs` is out of range.
   * @throws ConfigError naming every option that there is not, or every wrong one of `retry`.
   */
  ingestBatch(
    items: readonly IngestItem[],
    options?: SignalCallOptions,
  ): Promise<IngestItemResult[]>;

  /**
   * Takes no more calls, waits for those in flight, each of which has a deadline, and closes
   * the connections. A call that waits for its next retry fails at once with its last error,
   * and no attempt that fails now is repeated. `await using` does the same.
   */
  close(): Promise<void>;
}

/**
 * Makes a client. It opens no connection before its first call.
 *
 * ```ts
 * await using client = createSignalClient({ serverUrl, producerId, secret });
 * const { signalId } = await client.ingest({ instrument: "GOLD", side: "buy", entryPrice: 4000 });
 * ```
 *
 * @throws ConfigError naming every wrong option.
 */
export function createSignalClient(
  options: SignalClientOptions | DisabledClientOptions,
): SignalClient {
  const resolved = resolveClientOptions(options);
  return resolved.enabled ? new ConnectedClient(resolved) : new DisabledClient();
}

/** What a call of any kind is made of. */
interface Call<Message, Result> extends RepeatableCall<Message, readonly Result[]> {
  readonly keys: readonly string[];
}

class ConnectedClient implements SignalClient {
  readonly clock: CorrectedClock;
  readonly destination: Destination;
  readonly payloadMaxBytes: number;
  readonly #options: EnabledClientOptions;
  readonly #connection: Connection;
  readonly #service: Client<typeof IngestService>;
  readonly #circuit: Circuit;
  readonly #circuitReport: CircuitReport;
  readonly #report: ReportOptions;
  readonly #inFlight = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();
  #closed: Promise<void> | undefined;

  constructor(options: EnabledClientOptions) {
    this.#options = options;
    this.clock = new CorrectedClock(options.clock);
    this.#connection = createConnection({ ...options, clock: this.clock });
    this.#service = createClient(IngestService, this.#connection.transport);
    const { producerId, alerts, baseUrl } = options;
    const logger = guardedLogger(options.logger ?? silentLogger);
    const notice = options.logger === undefined ? createStderrNotice() : noNotice;
    const metrics = createClientMetrics(options.registry, producerId);
    this.#report = { producerId, logger, notice, metrics };
    const { host } = new URL(baseUrl);
    this.destination = { producerId, host };
    this.payloadMaxBytes = options.payloadMaxBytes;
    this.#circuitReport = new CircuitReport({ ...this.#report, alerts, host });
    this.#circuit = createCircuit(options.circuitBreaker, this.#circuitReport);
  }

  async ingest(signal: SignalInput, options: IngestCallOptions = {}): Promise<IngestResult> {
    const { idempotencyKey = randomUUIDv7(), validateOnly } = callOptions(options, INGEST_OPTIONS);
    const item = { signal, idempotencyKey, validateOnly };
    const [result] = await this.#handOver(options, {
      keys: [idempotencyKey],
      make: () => {
        const request = ingestRequest(item, this.#limits());
        return this.#fitting(IngestRequestSchema, request, this.#options.maxBodyBytes);
      },
      send: (request, call) =>
        this.#connection.attempt("Ingest", call.signal, async () => [
          ingestResult(request, await this.#service.ingest(request, call)),
        ]),
    });
    return result as IngestResult;
  }

  async ingestBatch(
    items: readonly IngestItem[],
    options: SignalCallOptions = {},
  ): Promise<IngestItemResult[]> {
    const keyed = withKeys(items);
    const results = await this.#handOver(callOptions(options, BATCH_OPTIONS), {
      keys: keyed.map(({ idempotencyKey }) => idempotencyKey),
      make: () => {
        const request = ingestBatchRequest(keyed, this.#limits());
        return this.#fitting(IngestBatchRequestSchema, request, BATCH_REQUEST_MAX_BYTES);
      },
      send: (request, call) =>
        this.#connection.attempt("IngestBatch", call.signal, async () =>
          ingestBatchResults(request, await this.#service.ingestBatch(request, call)),
        ),
    });
    return [...results];
  }

  close(): Promise<void> {
    this.#closing.abort();
    this.#closed ??= Promise.allSettled(this.#inFlight).then(() => {
      this.#connection.close();
      this.#circuitReport.end();
    });
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Hands over what a call is made of, and reports what became of it. */
  async #handOver<Message, Result extends IngestItemResult>(
    options: SignalCallOptions,
    call: Call<Message, Result>,
  ): Promise<readonly Result[]> {
    const { timeoutMs = this.#options.timeoutMs, retryClockSkew = true, signal } = options;
    requireTimeout(timeoutMs);
    requireKinds(retryClockSkew, signal);
    const retry = retryOfCall(options.retry, this.#options.retry);
    const report = new CallReport(this.#report, { keys: call.keys, isSingleAttempt: !retry });
    const answer = this.#call(call, {
      timeoutMs,
      retry,
      retryClockSkew,
      signal,
      observer: report,
    });
    this.#inFlight.add(answer);
    try {
      const results = await answer;
      report.answered(results);
      return results;
    } catch (thrown) {
      if (thrown instanceof SignalError) report.failed(thrown);
      throw thrown;
    } finally {
      this.#inFlight.delete(answer);
    }
  }

  async #call<Message, Result>(
    call: Call<Message, Result>,
    options: Pick<CallSettings, "timeoutMs" | "retry" | "retryClockSkew" | "signal" | "observer">,
  ): Promise<readonly Result[]> {
    if (this.#closed !== undefined) throw new SignalError("CANCELLED", "The client is closed.");
    return callRepeatedly(call, {
      ...options,
      stopSignal: this.#closing.signal,
      clock: this.clock,
      circuit: this.#circuit,
    });
  }

  #limits(): SignalLimits {
    return { now: this.clock.now(), payloadMaxBytes: this.payloadMaxBytes };
  }

  /** @throws SignalError unless the request has at most so many bytes. */
  #fitting<Desc extends DescMessage>(
    desc: Desc,
    request: MessageShape<Desc>,
    maxBytes: number,
  ): MessageShape<Desc> {
    const { byteLength } = serialize(desc, request, this.#options.codec);
    if (byteLength <= maxBytes) return request;
    throw new SignalError(
      "BODY_TOO_LARGE",
      `Nothing was sent, because the request has ${byteLength} bytes and may have at most ${maxBytes}.`,
    );
  }
}

function requireTimeout(timeoutMs: number): void {
  if (Number.isInteger(timeoutMs) && timeoutMs >= 1 && timeoutMs <= TIMEOUT_MS_MAX) return;
  const notText = typeof timeoutMs === "string" ? ", and not text" : "";
  throw new RangeError(`timeoutMs must be a whole number from 1 to ${TIMEOUT_MS_MAX}${notText}.`);
}

function requireKinds(retryClockSkew: unknown, signal: AbortSignal | undefined): void {
  const problems: ConfigProblem[] = [];
  if (typeof retryClockSkew !== "boolean") {
    problems.push({ name: "retryClockSkew", rule: "must be true or false" });
  }
  if (signal !== undefined && typeof signal?.throwIfAborted !== "function") {
    problems.push({ name: "signal", rule: "must be an AbortSignal" });
  }
  if (problems.length > 0) throw new ConfigError(problems, "The call's");
}

/** A client that is switched off: it answers at once and sends nothing. */
class DisabledClient implements SignalClient {
  readonly clock = systemClock;

  async ingest(_signal: SignalInput, options: IngestCallOptions = {}): Promise<IngestResult> {
    const { idempotencyKey } = callOptions(options, INGEST_OPTIONS);
    return disabledResult(idempotencyKey ?? randomUUIDv7());
  }

  async ingestBatch(
    items: readonly IngestItem[],
    options: SignalCallOptions = {},
  ): Promise<IngestItemResult[]> {
    callOptions(options, BATCH_OPTIONS);
    return items.map(({ idempotencyKey }) => disabledResult(idempotencyKey ?? randomUUIDv7()));
  }

  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}
