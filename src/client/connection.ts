/**
 * The connection to a server: a Connect transport whose sockets can be closed.
 */
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import type { Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import type { EnabledClientOptions } from "./options.ts";
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
  if (options.httpVersion === "2") {
    const pings = { pingIntervalMs: PING_INTERVAL_MS, pingTimeoutMs: PING_TIMEOUT_MS };
    const sessionManager = new SessionManager(baseUrl, pings, tls);
    const http2 = { ...common, httpVersion: "2", sessionManager } as const;
    return {
      transport: CREATE_TRANSPORT[options.protocol](http2),
      close: () => sessionManager.abort(),
    };
  }
  const agent = baseUrl.startsWith("https:")
    ? new HttpsAgent({ keepAlive: true, ...tls })
    : new HttpAgent({ keepAlive: true });
  const http1 = { ...common, httpVersion: "1.1", nodeOptions: { agent } } as const;
  const create = options.protocol === "connect" ? createConnectTransport : createGrpcWebTransport;
  return { transport: create(http1), close: () => agent.destroy() };
}

/**
 * Hears of every failure of a session. When one that has just failed is closed, the manager has
 * stopped listening by the time that Node.js tells of the failure, which would end the process.
 */
class SessionManager extends Http2SessionManager {
  override async request(...parameters: Parameters<Http2SessionManager["request"]>) {
    const stream = await super.request(...parameters);
    const { session } = stream;
    if (session !== undefined && !session.listeners("error").includes(ignoreFailure)) {
      session.on("error", ignoreFailure);
    }
    return stream;
  }
}

/** The call that it concerns fails by itself. */
function ignoreFailure(): void {}

const CREATE_TRANSPORT = {
  connect: createConnectTransport,
  grpc: createGrpcTransport,
  "grpc-web": createGrpcWebTransport,
} as const;
