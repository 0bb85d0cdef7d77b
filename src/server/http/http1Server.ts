/**
 * The HTTP/1.1 server of a port: it is fed connections by hand, and ends them without
 * losing the answer to a request that came whole.
 */
import { randomUUIDv7 } from "node:crypto";
import http from "node:http";
import type net from "node:net";
import type { Duplex } from "node:stream";
import type { Connection, Connections } from "./connections.ts";
import { HEADERS_MAX_BYTES, HEADERS_MAX_COUNT, type RequestListener } from "./nodeHttp.ts";

const HEADERS_TIMEOUT_MS = 10_000;
/** How long a request may take to arrive whole. A little over the handlers' own deadline. */
const REQUEST_ARRIVAL_TIMEOUT_MS = 40_000;
const KEEP_ALIVE_TIMEOUT_MS = 65_000;
/** Requests at once on one connection (RFC 9112, section 9.3.2), as many as over HTTP/2. */
const PIPELINED_MAX = 100;
/** The same for a stranger whose address has used up its allowance, as over HTTP/2. */
const SCARCE_PIPELINED_MAX = 16;
/** How long a caller may take to hang up after it was told that its bytes are no request. */
const HANG_UP_TIMEOUT_MS = 1_000;

/** A server that is fed connections, and its end. */
export interface Http1Server {
  readonly server: http.Server;
  /** Cuts the connections that are idle, and the others after the answers that are under way. */
  close(): void;
}

/** Makes the server. @param connections knows each connection that the server is fed. */
export function createHttp1Server(
  onRequest: RequestListener,
  connections: Connections,
): Http1Server {
  const server = http.createServer({
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_ARRIVAL_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    maxHeaderSize: HEADERS_MAX_BYTES,
    connectionsCheckingInterval: 1_000,
    // The router checks the host, and its answer is one like any other.
    requireHostHeader: false,
  });
  server.maxHeadersCount = HEADERS_MAX_COUNT;
  // An expectation other than 100-continue may be ignored (RFC 9110, section 10.1.1), and
  // so may an offer to upgrade (section 7.8), for which there is no listener: some clients
  // offer h2c with their first request.
  server.on("checkExpectation", (request, response) => server.emit("request", request, response));
  // Tunnels are not served.
  server.on("connect", (_, socket) => socket.destroy());
  const tracked = track(server, onRequest, connections);
  return { server, close: () => tracked.close() };
}

/** One HTTP/1.1 connection. */
interface Http1Connection {
  readonly connection: Connection;
  /** The answers that are not sent yet. */
  readonly underWay: Set<http.ServerResponse>;
  /** Whether it ends with the answers that are under way. */
  isEnding: boolean;
}

function track(
  server: http.Server,
  onRequest: RequestListener,
  connections: Connections,
): { close(): void } {
  const open = new Map<Duplex, Http1Connection>();
  let isClosing = false;

  server.on("connection", (socket: net.Socket) => {
    const connection = connections.find(socket);
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    open.set(socket, { connection, underWay: new Set(), isEnding: false });
    socket.once("close", () => open.delete(socket));
  });
  server.on("request", (request, response) => {
    const { socket } = request;
    const http1 = open.get(socket);
    if (http1 === undefined || socket.destroyed) {
      stopParsing(socket);
      return;
    }
    const isAllowed = http1.connection.allowance.takeRequest();
    if (!isAllowed || http1.underWay.size >= pipelinedMax(http1.connection)) {
      socket.destroy();
      return;
    }
    http1.underWay.add(response);
    if (isClosing) endAfterAnswers(http1);
    response.once("close", () => {
      http1.underWay.delete(response);
      if (http1.isEnding && !isAnswering(http1)) socket.destroySoon();
    });
    onRequest(request, response, http1.connection);
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    const http1 = open.get(socket);
    if (http1 !== undefined && isAnswering(http1)) endAfterAnswers(http1);
    else refuseBytes(error, socket);
  });

  return {
    close() {
      isClosing = true;
      for (const [socket, http1] of open) {
        if (http1.underWay.size === 0) socket.destroy();
        else endAfterAnswers(http1);
      }
    },
  };
}

function pipelinedMax({ isProven, allowance }: Connection): number {
  return !isProven && allowance.isScarce() ? SCARCE_PIPELINED_MAX : PIPELINED_MAX;
}

/**
 * Lets Node.js make no more requests of what was read together with the last one allowed:
 * three thousand fit into one piece of 64 KiB, and it does not ask whether the connection
 * still is. The parser is not part of its interface; on a version without it, all come.
 */
function stopParsing(socket: net.Socket): void {
  const { parser } = socket as { parser?: { onIncoming?: (() => number) | null } | null };
  // As after a request that changes the protocol: what follows is not HTTP.
  if (parser?.onIncoming) parser.onIncoming = () => 2;
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
