/**
 * The client: hands signals to the server, each under one idempotency key.
 */
import { randomUUIDv7 } from "node:crypto";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { type CallOptions, type Client, createClient } from "@connectrpc/connect";
import {
  IngestBatchRequestSchema,
  IngestRequestSchema,
  IngestService,
} from "../../gen/signals/v1/ingest_service_pb.ts";
import { type Connection, createConnection } from "./connection.ts";
import type { SignalInput } from "./input.ts";
import {
  type DisabledClientOptions,
  type EnabledClientOptions,
  resolveClientOptions,
  type SignalClientOptions,
} from "./options.ts";
import { type IngestItem, ingestBatchRequest, ingestRequest } from "./request.ts";
import {
  disabledResult,
  type IngestItemResult,
  type IngestResult,
  ingestBatchResults,
  ingestResult,
} from "./result.ts";
import { serialize } from "./serialize.ts";
import { TIMEOUT_MS_MAX } from "./settings.ts";
import { SignalError } from "./signalError.ts";

/** What a server takes for a batch, in bytes. */
const BATCH_MAX_BODY_BYTES = 4_194_304;

/** How to make one call. */
export interface SignalCallOptions {
  /** How long the call may take, in milliseconds, 1 to 300,000. Defaults to the client's. */
  readonly timeoutMs?: number | undefined;
  /** Gives the call up when it is aborted. The signal may have been stored by then. */
  readonly signal?: AbortSignal | undefined;
}

/** How to hand over one signal. */
export interface IngestCallOptions extends SignalCallOptions, Omit<IngestItem, "signal"> {}

/** Hands signals to the server. Made by {@link createSignalClient}. */
export interface SignalClient extends AsyncDisposable {
  /**
   * Hands over one signal. When this resolves with `stored` or `duplicate`, the signal is on
   * the server's disk.
   *
   * @throws SignalError if it is refused or if its fate is not known. A signal that breaks a
   *   rule is refused before anything is sent, with every wrong field named.
   * @throws RangeError if `timeoutMs` is out of range.
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
   */
  ingestBatch(
    items: readonly IngestItem[],
    options?: SignalCallOptions,
  ): Promise<IngestItemResult[]>;

  /**
   * Takes no more calls, waits for those in flight, each of which has a deadline, and closes
   * the connections. `await using` does the same.
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

class ConnectedClient implements SignalClient {
  readonly #options: EnabledClientOptions;
  readonly #connection: Connection;
  readonly #service: Client<typeof IngestService>;
  readonly #inFlight = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  constructor(options: EnabledClientOptions) {
    this.#options = options;
    this.#connection = createConnection(options);
    this.#service = createClient(IngestService, this.#connection.transport);
  }

  async ingest(signal: SignalInput, options: IngestCallOptions = {}): Promise<IngestResult> {
    const { idempotencyKey, validateOnly } = options;
    const request = ingestRequest({ signal, idempotencyKey, validateOnly }, this.#now());
    this.#requireFits(IngestRequestSchema, request, this.#options.maxBodyBytes);
    const response = await this.#call(options, (call) => this.#service.ingest(request, call));
    return ingestResult(request, response);
  }

  async ingestBatch(
    items: readonly IngestItem[],
    options: SignalCallOptions = {},
  ): Promise<IngestItemResult[]> {
    const request = ingestBatchRequest(items, this.#now());
    this.#requireFits(IngestBatchRequestSchema, request, BATCH_MAX_BODY_BYTES);
    const response = await this.#call(options, (call) => this.#service.ingestBatch(request, call));
    return ingestBatchResults(request, response);
  }

  close(): Promise<void> {
    this.#closed ??= Promise.allSettled(this.#inFlight).then(() => this.#connection.close());
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #now(): bigint {
    return this.#options.clock.now();
  }

  #requireFits<Desc extends DescMessage>(
    desc: Desc,
    request: MessageShape<Desc>,
    maxBytes: number,
  ): void {
    const { byteLength } = serialize(desc, request, this.#options.codec);
    if (byteLength <= maxBytes) return;
    throw new SignalError(
      "BODY_TOO_LARGE",
      `Nothing was sent, because the request has ${byteLength} bytes and may have at most ${maxBytes}.`,
    );
  }

  /** Makes one attempt. The signing interceptor signs each attempt anew. */
  async #call<T>(
    { timeoutMs = this.#options.timeoutMs, signal }: SignalCallOptions,
    invoke: (options: CallOptions) => Promise<T>,
  ): Promise<T> {
    requireTimeout(timeoutMs);
    if (this.#closed !== undefined) throw new SignalError("CANCELLED", "The client is closed.");
    if (signal?.aborted) throw cancelled(signal.reason);
    const attempt = invoke(signal === undefined ? { timeoutMs } : { timeoutMs, signal });
    this.#inFlight.add(attempt);
    try {
      return await attempt;
    } catch (thrown) {
      throw failure(thrown, signal);
    } finally {
      this.#inFlight.delete(attempt);
    }
  }
}

function requireTimeout(timeoutMs: number): void {
  if (Number.isInteger(timeoutMs) && timeoutMs >= 1 && timeoutMs <= TIMEOUT_MS_MAX) return;
  throw new RangeError(`timeoutMs must be a whole number from 1 to ${TIMEOUT_MS_MAX}.`);
}

/**
 * Tells the caller's own cancellation from one by the other side, which a transport gives
 * the same code: a server that resets a call while it shuts down has not been told to
 * forget the signal.
 */
function failure(thrown: unknown, signal: AbortSignal | undefined): SignalError {
  const error = SignalError.from(thrown);
  // What the service answered just before stays true.
  if (signal?.aborted && error.requestId === undefined) return cancelled(signal.reason);
  if (error.reason !== "CANCELLED") return error;
  const message = "The connection was closed before the answer came.";
  return new SignalError("UNREACHABLE", message, { code: error.code, cause: thrown });
}

function cancelled(cause: unknown): SignalError {
  return new SignalError("CANCELLED", "The caller gave the call up.", { cause });
}

/** A client that is switched off: it answers at once and sends nothing. */
class DisabledClient implements SignalClient {
  async ingest(_signal: SignalInput, options: IngestCallOptions = {}): Promise<IngestResult> {
    return disabledResult(options.idempotencyKey ?? randomUUIDv7());
  }

  async ingestBatch(items: readonly IngestItem[]): Promise<IngestItemResult[]> {
    return items.map(({ idempotencyKey }) => disabledResult(idempotencyKey ?? randomUUIDv7()));
  }

  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}
