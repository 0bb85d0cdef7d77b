/**
 * Producers of each kind, which send one attempt at a time and tell what came of it
 * without throwing: what a test of faults asks is what exactly was promised, and when.
 */
import http from "node:http";
import {
  type ClientProtocol,
  createSignalClient,
  type SignalClientOptions,
  SignalError,
} from "../../../src/client/index.ts";
import type { Signal } from "../../../src/signal/index.ts";
import { eventually } from "../../support/eventually.ts";
import { TEST_PRODUCER_ID, TEST_SECRET, testHeaders } from "../../support/server.ts";
import { restFields } from "../../support/signals.ts";

/** The ways by which signals come in. */
export const KINDS = ["grpc", "connect", "rest"] as const;
export type Kind = (typeof KINDS)[number];

/**
 * What came of one attempt.
 * - `acknowledged`: the server says that the signal is on disk.
 * - `refused`: the server answered with this reason.
 * - `unanswered`: no answer of the server came, so nothing is known.
 */
export type Outcome =
  | { readonly kind: "acknowledged"; readonly signalId: string; readonly duplicate: boolean }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "unanswered"; readonly cause: string };

/** Sends signals over one protocol, as the producer that test servers know. */
export interface Sender {
  readonly kind: Kind;
  /** Makes one attempt, signed anew. Never throws. */
  send(key: string, signal: Signal): Promise<Outcome>;
  close(): Promise<void>;
}

/** The patience of a sender: longer than the server's own deadline for its store. */
const TIMEOUT_MS = 20_000;
const REST_PATH = "/api/v1/signals";

/** Opens a sender; it connects at its first attempt. */
export function openSender(kind: Kind, serverUrl: string): Sender {
  return kind === "rest" ? restSender(serverUrl) : clientSender(kind, serverUrl);
}

/** One sender of each kind. */
export function openSenders(serverUrl: string): Sender[] {
  return KINDS.map((kind) => openSender(kind, serverUrl));
}

/** Closes senders of any kind. */
export async function closeSenders(senders: readonly Sender[]): Promise<void> {
  await Promise.all(senders.map((sender) => sender.close()));
}

function clientSender(kind: Kind & ClientProtocol, serverUrl: string): Sender {
  const options: SignalClientOptions = {
    serverUrl,
    producerId: TEST_PRODUCER_ID,
    secret: TEST_SECRET,
    protocol: kind,
    timeoutMs: TIMEOUT_MS,
    // Whoever sends tells each attempt apart.
    retry: false,
    circuitBreaker: false,
  };
  const client = createSignalClient(options);
  return {
    kind,
    send: (idempotencyKey, signal) =>
      client.ingest(signal, { idempotencyKey }).then(
        ({ outcome, signalId }): Outcome => {
          if (signalId === undefined) return { kind: "unanswered", cause: outcome };
          return { kind: "acknowledged", signalId, duplicate: outcome === "duplicate" };
        },
        (error: SignalError) => failureOf(error),
      ),
    close: () => client.close(),
  };
}

function failureOf(thrown: unknown): Outcome {
  const error = SignalError.from(thrown);
  // Every answer of the server has a request id, so what has none arose on this side.
  return error.requestId === undefined
    ? { kind: "unanswered", cause: error.message }
    : { kind: "refused", reason: error.reason };
}

function restSender(serverUrl: string): Sender {
  const agent = new http.Agent({ keepAlive: true });
  return {
    kind: "rest",
    async send(key, signal) {
      const body = Buffer.from(restJson(key, signal));
      try {
        const { status, json } = await postSigned(serverUrl, REST_PATH, body, { agent });
        if (status === 200 || status === 201) {
          const duplicate = status === 200;
          return { kind: "acknowledged", signalId: String(json.signal_id), duplicate };
        }
        return { kind: "refused", reason: String(json.reason) };
      } catch (error) {
        return { kind: "unanswered", cause: (error as Error).message };
      }
    },
    async close() {
      agent.destroy();
    },
  };
}

/** How to make a request, besides its path and body. */
export interface PostOptions {
  /** Defaults to a connection of its own. */
  readonly agent?: http.Agent;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An answer in JSON. */
export interface JsonAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly json: Readonly<Record<string, unknown>>;
}

/** Posts JSON, signed as of now. @throws Error if no whole answer came. */
export function postSigned(
  serverUrl: string,
  path: string,
  body: Uint8Array,
  { agent, headers = {} }: PostOptions = {},
): Promise<JsonAnswer> {
  const signed = { ...testHeaders(path, body), "content-type": "application/json", ...headers };
  return requestJson(`${serverUrl}${path}`, { method: "POST", headers: signed, agent }, body);
}

/** Asks for JSON on a connection of its own. @throws Error if no whole answer came. */
export function getJson(url: string): Promise<JsonAnswer> {
  return requestJson(url, { method: "GET" }, Buffer.alloc(0));
}

/**
 * Resolves when a server says that it is ready, or that it is not.
 *
 * @returns how long that took, in milliseconds.
 */
export async function untilReady(
  { url }: { readonly url: string },
  isReady: boolean,
  timeoutMs: number,
): Promise<number> {
  const startedMs = performance.now();
  const status = isReady ? 200 : 503;
  const answers = async () => (await getJson(`${url}/api/v1/ready`)).status === status;
  await eventually(`${url} answers ${status}`, answers, timeoutMs);
  return performance.now() - startedMs;
}

function requestJson(
  url: string,
  options: {
    readonly method: string;
    readonly headers?: http.OutgoingHttpHeaders;
    readonly agent?: http.Agent | undefined;
  },
  body: Uint8Array,
): Promise<JsonAnswer> {
  return new Promise((resolve, reject) => {
    const request = http.request(url, {
      method: options.method,
      headers: { ...options.headers, "content-length": body.length },
      agent: options.agent ?? false,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    request.once("error", reject);
    request.once("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.once("error", reject);
      response.once("end", () => {
        const { statusCode = 0, headers } = response;
        try {
          const json = JSON.parse(Buffer.concat(chunks).toString("utf8"));
          resolve({ status: statusCode, headers, json });
        } catch (error) {
          reject(error);
        }
      });
    });
    request.end(body);
  });
}

/** A signal and its key as a REST body. */
export function restJson(idempotencyKey: string, signal: Signal): string {
  return JSON.stringify({ idempotency_key: idempotencyKey, ...restFields(signal) });
}
