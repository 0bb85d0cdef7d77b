/**
 * One port for HTTP/1.1 and HTTP/2: over TLS the two are told apart by ALPN, in clear
 * text by the first bytes of a connection. Every connection, header and body has a
 * deadline and a limit, and no packet ends the process.
 */
import { randomUUIDv7 } from "node:crypto";
import http from "node:http";
import http2 from "node:http2";
import net, { type AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import type { RequestListener } from "./nodeHttp.ts";

/** What a client that speaks HTTP/2 without TLS sends first (RFC 9113, section 3.4). */
const HTTP2_PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** How long a connection may stay silent before its first bytes, and a TLS handshake may take. */
const FIRST_BYTES_TIMEOUT_MS = 10_000;
const HEADERS_TIMEOUT_MS = 10_000;
/** How long an HTTP/1.1 request may take to arrive whole. A little over the handlers' own deadline. */
const REQUEST_ARRIVAL_TIMEOUT_MS = 40_000;
const KEEP_ALIVE_TIMEOUT_MS = 65_000;
const IDLE_SESSION_TIMEOUT_MS = 5 * 60_000;
const CONNECTIONS_MAX = 4_096;
const HEADERS_MAX_BYTES = 16 * 1024;
const HEADERS_MAX_COUNT = 100;
/** Streams at once on one HTTP/2 connection; Node's own default sets no limit. */
const CONCURRENT_STREAMS_MAX = 100;
/** How long a caller may take to hang up after it was told that its bytes are no request. */
const HANG_UP_TIMEOUT_MS = 1_000;

/** A port that is being listened on. */
export interface Listener {
  readonly address: AddressInfo;
  /**
   * Stops taking connections, cuts the idle ones at once, lets requests under way finish,
   * and cuts what is still open after the grace period.
   */
  close(graceMs: number): Promise<void>;
}

/** What {@link listen} is told. */
export interface ListenerOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /**
   * Whether other processes of this user may listen on the same port, each with its share
   * of the connections. Default false. Not every operating system can.
   */
  readonly isShared?: boolean;
  /** PEM of the certificate chain and the key; `undefined` serves clear text. */
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  readonly onRequest: RequestListener;
}

/** Listens. @throws Error from the operating system if the port cannot be had. */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const http1 = createHttp1Server(options.onRequest);
  const http1Connections = trackHttp1(http1);
  const h2 = createHttp2Server(options.onRequest);
  const sessions = trackSessions(h2);
  const sockets = new Set<net.Socket>();
  /** Connections in clear text whose protocol is not known yet. */
  const undecided = new Set<net.Socket>();
  let isClosing = false;
  const serveBy = (protocol: http.Server | http2.Http2Server) => (socket: net.Socket) => {
    // A TLS handshake may end after the server began to close.
    if (isClosing) socket.destroy();
    else protocol.emit("connection", socket);
  };
  const serveHttp1 = serveBy(http1);
  const serveHttp2 = serveBy(h2);

  const server =
    options.tls === undefined
      ? net.createServer({ noDelay: true }, (socket) =>
          dispatchByPreface(socket, undecided, serveHttp1, serveHttp2),
        )
      : createTlsServer(options.tls, serveHttp1, serveHttp2);
  server.maxConnections = CONNECTIONS_MAX;
  server.on("connection", (socket: net.Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    // Without a listener, a reset before the first bytes would end the process.
    socket.on("error", () => socket.destroy());
  });

  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    const { host, port, isShared = false } = options;
    server.listen({ host, port, reusePort: isShared }, () => {
      server.off("error", reject);
      resolve();
    });
  });
  // A connection that cannot be accepted, for want of file descriptors, is an error of the
  // server, and without a listener it would end the process. The next one may fare better.
  server.on("error", () => undefined);
  // A server that is fed connections by hand checks its timeouts only after this event.
  http1.emit("listening");

  return {
    address: server.address() as AddressInfo,
    async close(graceMs) {
      isClosing = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of undecided) socket.destroy();
      http1Connections.close();
      for (const session of sessions) session.close();
      const cut = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, graceMs);
      await closed;
      clearTimeout(cut);
      http1.close();
      h2.close();
    },
  };
}

function createHttp1Server(onRequest: RequestListener): http.Server {
  const server = http.createServer(
    {
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_ARRIVAL_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      maxHeaderSize: HEADERS_MAX_BYTES,
      connectionsCheckingInterval: 1_000,
      // The router checks the host, and its answer is one like any other.
      requireHostHeader: false,
    },
    onRequest,
  );
  server.maxHeadersCount = HEADERS_MAX_COUNT;
  // An expectation other than 100-continue may be ignored (RFC 9110, section 10.1.1), and
  // so may an offer to upgrade (section 7.8), for which there is no listener: some clients
  // offer h2c with their first request.
  server.on("checkExpectation", (request, response) => server.emit("request", request, response));
  // Tunnels are not served.
  server.on("connect", (_, socket) => socket.destroy());
  return server;
}

/** One HTTP/1.1 connection. */
interface Http1Connection {
  /** The answers that are not sent yet. */
  readonly underWay: Set<http.ServerResponse>;
  /** Whether it ends with the answers that are under way. */
  isEnding: boolean;
}

/**
 * Ends HTTP/1.1 connections, all of them or one that brings bytes that are no request,
 * without losing the answer to a request that came whole.
 */
function trackHttp1(server: http.Server): { close(): void } {
  const connections = new Map<Duplex, Http1Connection>();
  let isClosing = false;

  server.on("connection", (socket: net.Socket) => {
    connections.set(socket, { underWay: new Set(), isEnding: false });
    socket.once("close", () => connections.delete(socket));
  });
  server.prependListener("request", ({ socket }, response) => {
    const connection = connections.get(socket);
    if (connection === undefined) return;
    connection.underWay.add(response);
    if (isClosing) endAfterAnswers(connection);
    response.once("close", () => {
      connection.underWay.delete(response);
      if (connection.isEnding && !isAnswering(connection)) socket.destroySoon();
    });
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    const connection = connections.get(socket);
    if (connection !== undefined && isAnswering(connection)) endAfterAnswers(connection);
    else refuseBytes(error, socket);
  });

  return {
    close() {
      isClosing = true;
      for (const [socket, connection] of connections) {
        if (connection.underWay.size === 0) socket.destroy();
        else endAfterAnswers(connection);
      }
    },
  };
}

/** Whether a request that came whole waits for its answer. */
function isAnswering({ underWay }: Http1Connection): boolean {
  return [...underWay].some((response) => response.req.complete);
}

function endAfterAnswers(connection: Http1Connection): void {
  connection.isEnding = true;
  // The answer then tells the caller to send nothing more on this connection.
  for (const response of connection.underWay) response.shouldKeepAlive = false;
}

/** Tells a caller that its bytes are no request, and hangs up. */
function refuseBytes(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const fields = ["Connection: close", "Content-Length: 0", `x-request-id: ${randomUUIDv7()}`];
  socket.end(`HTTP/1.1 ${clientErrorStatus(error)}\r\n${fields.join("\r\n")}\r\n\r\n`);
  const timer = setTimeout(() => socket.destroy(), HANG_UP_TIMEOUT_MS);
  socket.once("close", () => clearTimeout(timer));
}

function clientErrorStatus({ code }: NodeJS.ErrnoException): string {
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return "431 Request Header Fields Too Large";
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return "408 Request Timeout";
    default:
      return "400 Bad Request";
  }
}

function createHttp2Server(onRequest: RequestListener): http2.Http2Server {
  const server = http2.createServer(
    {
      settings: {
        maxConcurrentStreams: CONCURRENT_STREAMS_MAX,
        maxHeaderListSize: HEADERS_MAX_BYTES,
        enableConnectProtocol: false,
      },
      maxHeaderListPairs: HEADERS_MAX_COUNT,
      maxSessionInvalidFrames: 100,
      maxSessionRejectedStreams: 100,
    },
    onRequest,
  );
  server.on("session", (session) => {
    session.setTimeout(IDLE_SESSION_TIMEOUT_MS, () => session.close());
    session.on("error", () => session.destroy());
  });
  server.on("stream", (stream) => {
    stream.on("error", () => undefined);
  });
  server.on("connect", onRequest);
  server.on("checkExpectation", onRequest);
  return server;
}

function trackSessions(server: http2.Http2Server): ReadonlySet<http2.Http2Session> {
  const sessions = new Set<http2.Http2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
  });
  return sessions;
}

type ServeSocket = (socket: net.Socket) => void;

function createTlsServer(
  { cert, key }: NonNullable<ListenerOptions["tls"]>,
  serveHttp1: ServeSocket,
  serveHttp2: ServeSocket,
): tls.Server {
  const server = tls.createServer({
    cert,
    key,
    minVersion: "TLSv1.2",
    ALPNProtocols: ["h2", "http/1.1"],
    handshakeTimeout: FIRST_BYTES_TIMEOUT_MS,
    noDelay: true,
  });
  server.on("secureConnection", (socket) => {
    socket.on("error", () => socket.destroy());
    if (socket.alpnProtocol === "h2") serveHttp2(socket);
    else serveHttp1(socket);
  });
  server.on("tlsClientError", (_, socket) => socket.destroy());
  return server;
}

/**
 * Reads just enough of a connection to tell its protocol, puts it back, and hands the
 * connection on. `readable` and `unshift` keep the bytes in order however they were
 * split; a listener for `data` would lose what arrives between two handlers.
 */
function dispatchByPreface(
  socket: net.Socket,
  undecided: Set<net.Socket>,
  serveHttp1: ServeSocket,
  serveHttp2: ServeSocket,
): void {
  undecided.add(socket);
  const timer = setTimeout(() => socket.destroy(), FIRST_BYTES_TIMEOUT_MS);
  let seen = Buffer.alloc(0);
  function onReadable(): void {
    const chunk: Buffer | null = socket.read();
    if (chunk === null) return;
    seen = Buffer.concat([seen, chunk]);
    const length = Math.min(seen.length, HTTP2_PREFACE.length);
    const isPreface = seen.subarray(0, length).equals(HTTP2_PREFACE.subarray(0, length));
    if (isPreface && length < HTTP2_PREFACE.length) return;
    finish();
    socket.unshift(seen);
    if (isPreface) serveHttp2(socket);
    else serveHttp1(socket);
  }
  function finish(): void {
    undecided.delete(socket);
    clearTimeout(timer);
    socket.off("readable", onReadable);
    socket.off("close", finish);
    socket.off("end", onEnd);
  }
  // A connection that ends before its protocol is known has nothing to say.
  function onEnd(): void {
    socket.destroy();
  }
  socket.on("readable", onReadable);
  socket.once("close", finish);
  socket.once("end", onEnd);
}
