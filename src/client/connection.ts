/**
 * The connection to a server: a Connect transport whose sockets can be closed.
 */
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { connect } from "node:tls";
import type { Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import { isLoopback } from "../alerts/index.ts";
import { currentExchange, type Exchange, observing, observingAgent } from "./exchange.ts";
import type { EnabledClientOptions } from "./options.ts";
import { endpointOf, SIGNED_SERVICE } from "./requestSigner.ts";
import { SignalError } from "./signalError.ts";
import { createSigningInterceptorOfFixed } from "./signingInterceptor.ts";

/**
 * The greatest answer that is read, in bytes: room for a batch of 1,000 refusals that name
 * every field, and a bound for whatever answers in place of the server.
 */
const READ_MAX_BYTES = 4_194_304;

/**
 * How long an HTTP/2 connection with open calls may be silent before it is probed, and how
 * long the probe may take: a connection that died without a word is then replaced well
 * within the default timeout of a call, instead of failing every call to come.
 */
const PING_INTERVAL_MS = 10_000;
const PING_TIMEOUT_MS = 5_000;

/** Makes calls, until it is closed. */
export interface Connection {
  readonly transport: Transport;
  /**
   * Makes an attempt.
   *
   * @param method of the service, which the URL in an error ends with.
   * @param signal is aborted when the caller gives up.
   * @throws SignalError that says what was met, if it was no answer of the service.
   */
  attempt<T>(method: string, signal: AbortSignal | undefined, send: () => Promise<T>): Promise<T>;
  /** Closes all sockets. Calls in flight fail. */
  close(): void;
}

/** Opens nothing yet: sockets are opened by the first call, and again when they were lost. */
export function createConnection(options: EnabledClientOptions): Connection {
  const { baseUrl, tlsCa, producerId, secret, clock } = options;
  const tls = tlsCa === undefined ? {} : { ca: [...tlsCa] };
  const common = {
    baseUrl,
    useBinaryFormat: options.codec === "binary",
    defaultTimeoutMs: options.timeoutMs,
    readMaxBytes: READ_MAX_BYTES,
    // Answers are small, and an answer that is not compressed cannot grow when it is read.
    acceptCompression: [],
    interceptors: [createSigningInterceptorOfFixed({ producerId, secret, clock })],
  };
  const root = baseUrl.replace(/\/+$/, "");
  const expectedType = MEDIA_TYPE[options.protocol][options.codec];
  async function attempt<T>(
    method: string,
    signal: AbortSignal | undefined,
    send: () => Promise<T>,
  ): Promise<T> {
    const exchange: Exchange = { url: root + endpointOf(SIGNED_SERVICE, method), expectedType };
    try {
      return await observing(exchange, send);
    } catch (thrown) {
      const error = SignalError.of(thrown, exchange);
      const mayBeTls = exchange.status === undefined && HUNG_UP.has(error.reason);
      if (
        mayBeTls &&
        !signal?.aborted &&
        baseUrl.startsWith("http:") &&
        (await speaksTls(baseUrl))
      ) {
        throw answeredByTls(exchange.url, thrown);
      }
      throw error;
    }
  }
  if (options.httpVersion === "2") {
    const pings = { pingIntervalMs: PING_INTERVAL_MS, pingTimeoutMs: PING_TIMEOUT_MS };
    const sessionManager = new SessionManager(baseUrl, pings, tls);
    const http2 = { ...common, httpVersion: "2", sessionManager } as const;
    return {
      transport: CREATE_TRANSPORT[options.protocol](http2),
      attempt,
      close: () => sessionManager.abort(),
    };
  }
  const agent = observingAgent(
    baseUrl.startsWith("https:")
      ? new HttpsAgent({ keepAlive: true, ...tls, ...proxyOf(options) })
      : new HttpAgent({ keepAlive: true }),
  );
  const http1 = { ...common, httpVersion: "1.1", nodeOptions: { agent } } as const;
  const create = options.protocol === "connect" ? createConnectTransport : createGrpcWebTransport;
  return { transport: create(http1), attempt, close: () => agent.destroy() };
}

/** Only where https goes to another machine: what goes to this one goes to no proxy. */
function proxyOf({ baseUrl, proxyEnv }: EnabledClientOptions) {
  const isElsewhere = !isLoopback(new URL(baseUrl).hostname);
  if (proxyEnv === undefined || !isElsewhere) return {};
  // By their names, since a copy leaves out what is hidden.
  const { https_proxy, HTTPS_PROXY, no_proxy, NO_PROXY } = proxyEnv;
  return { proxyEnv: { https_proxy, HTTPS_PROXY, no_proxy, NO_PROXY } };
}

/**
 * Hears of every failure of a session. When one that has just failed is closed, the manager has
 * stopped listening by the time that Node.js tells of the failure, which would end the process.
 */
class SessionManager extends Http2SessionManager {
  override async request(...parameters: Parameters<Http2SessionManager["request"]>) {
    const stream = await super.request(...parameters);
    const exchange = currentExchange();
    if (exchange !== undefined) {
      stream.once("response", (headers) => {
        exchange.status = headers[":status"];
        exchange.headers = headers;
      });
    }
    const { session } = stream;
    if (session !== undefined && !session.listeners("error").includes(ignoreFailure)) {
      session.on("error", ignoreFailure);
    }
    return stream;
  }
}

/** The call that it concerns fails by itself. */
function ignoreFailure(): void {}

/** How a transport tells that the other side ended the connection without a word. */
const HUNG_UP: ReadonlySet<string> = new Set(["UNREACHABLE", "CANCELLED"]);

function answeredByTls(url: string, cause: unknown): SignalError {
  const message = `${url} says http, but what answers there speaks TLS: the URL must begin with https.`;
  return new SignalError("REFUSED", message, { isForeign: true, cause });
}

/** What an answer of the service is, by protocol and codec. */
const MEDIA_TYPE = {
  connect: { binary: "application/proto", json: "application/json" },
  grpc: { binary: "application/grpc", json: "application/grpc" },
  "grpc-web": { binary: "application/grpc-web", json: "application/grpc-web" },
} as const;

const CREATE_TRANSPORT = {
  connect: createConnectTransport,
  grpc: createGrpcTransport,
  "grpc-web": createGrpcWebTransport,
} as const;

/** Enough for a handshake on this machine; a server that takes longer is not what is wrong. */
const PROBE_TIMEOUT_MS = 1_000;

/** Whether a handshake with the port of a URL succeeds. Nothing is sent over it. */
function speaksTls(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  return new Promise((resolve) => {
    // Whose certificate it is does not matter: that there is one is the answer.
    const socket = connect({ host, port: Number(port || 80), rejectUnauthorized: false });
    const end = (speaks: boolean) => {
      socket.destroy();
      resolve(speaks);
    };
    socket.setTimeout(PROBE_TIMEOUT_MS, () => end(false));
    socket.once("secureConnect", () => end(true));
    socket.once("error", () => end(false));
    socket.once("close", () => end(false));
  });
}
