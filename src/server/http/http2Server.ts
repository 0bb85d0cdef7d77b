/**
 * The HTTP/2 server of a port: it is fed connections by hand, and bounds what a session may
 * do. A session is
 *
 * - *new* until its first stream. Browsers and gRPC clients connect when they have something
 *   to send, so it has ten seconds, like the first request of HTTP/1.1;
 * - *busy* while a stream is open. Each stream has a deadline of its own;
 * - *idle* when none is. Only streams count: a ping keeps no session, or strangers could
 *   keep thousands. A client whose session ends idle connects again with its next call.
 */
import http2 from "node:http2";
import type { Socket } from "node:net";
import type { Connection, Connections } from "./connections.ts";
import { HEADERS_MAX_BYTES, HEADERS_MAX_COUNT, type RequestListener } from "./nodeHttp.ts";
import { SlicedSocket } from "./slicedSocket.ts";

/** Streams at once on one connection; Node's own default sets no limit. */
const CONCURRENT_STREAMS_MAX = 100;
/**
 * The same for a stranger whose address has almost used up its allowance. What goes beyond it is
 * refused before it costs anything; a client that keeps to the setting sends it later.
 */
const SCARCE_STREAMS_MAX = 16;
const FIRST_STREAM_TIMEOUT_MS = 10_000;
/** As long as HTTP/1.1 keeps a connection. */
const IDLE_TIMEOUT_MS = 65_000;
/** How long a client that has said goodbye still gets answers: the store has half as long. */
const GOODBYE_TIMEOUT_MS = 10_000;
/** For a session on which a producer has proven itself: some send every few minutes. */
const PROVEN_IDLE_TIMEOUT_MS = 5 * 60_000;

const { NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_NO_ERROR } = http2.constants;

/** A server that is fed connections, and its end. */
export interface Http2Server {
  readonly server: http2.Http2Server;
  /** Takes a connection on which HTTP/2 is spoken. */
  serve(socket: Socket): void;
  /** Takes no more streams, and ends each session after those that are under way. */
  close(): void;
}

/** Makes the server. @param connections knows each connection that the server is fed. */
export function createHttp2Server(
  onRequest: RequestListener,
  connections: Connections,
): Http2Server {
  const server = http2.createServer({
    settings: {
      maxConcurrentStreams: CONCURRENT_STREAMS_MAX,
      maxHeaderListSize: HEADERS_MAX_BYTES,
      enableConnectProtocol: false,
    },
    maxHeaderListPairs: HEADERS_MAX_COUNT,
    maxSessionInvalidFrames: 100,
    maxSessionRejectedStreams: 100,
  });
  const sessions = new Map<http2.Http2Session, Connection>();
  /** Whose session is being made: that cannot be told from what a socket is wrapped in. */
  let entering: Connection | undefined;

  server.on("session", (session) => {
    session.on("error", () => session.destroy());
    const connection = entering;
    if (connection === undefined) {
      session.destroy();
      return;
    }
    sessions.set(session, connection);
    session.once("close", () => sessions.delete(session));
    endWhenIdle(session, connection);
    endAfterGoodbye(session);
    if (connection.allowance.isScarce()) narrow(session, connection);
    // Before the listener of the server, which makes a request of the stream.
    session.prependListener("stream", (stream) => boundStream(stream, session, connection));
  });

  function onStream(request: http2.Http2ServerRequest, response: http2.Http2ServerResponse): void {
    const { session } = request.stream;
    const connection = session === undefined ? undefined : sessions.get(session);
    if (connection === undefined || request.stream.destroyed) return;
    onRequest(request, response, connection);
  }
  server.on("request", onStream);
  server.on("connect", onStream);
  server.on("checkExpectation", onStream);

  return {
    server,
    serve(socket) {
      const connection = connections.find(socket);
      if (connection === undefined) {
        socket.destroy();
        return;
      }
      const { allowance } = connection;
      entering = connection;
      server.emit(
        "connection",
        allowance.isScarce() ? new SlicedSocket(socket, () => connection.isProven) : socket,
      );
      entering = undefined;
    },
    close() {
      for (const session of sessions.keys()) session.close();
    },
  };
}

/** Allows a session only a few streams at once until a producer has proven itself on it. */
function narrow(session: http2.ServerHttp2Session, connection: Connection): void {
  session.settings({ maxConcurrentStreams: SCARCE_STREAMS_MAX });
  let isNarrow = true;
  session.on("stream", (stream) => {
    stream.once("close", () => {
      if (!isNarrow || !connection.isProven || session.destroyed) return;
      isNarrow = false;
      session.settings({ maxConcurrentStreams: CONCURRENT_STREAMS_MAX });
    });
  });
}

/** Counts a stream against what its connection may do, and ends a session that does more. */
function boundStream(
  stream: http2.ServerHttp2Stream,
  session: http2.ServerHttp2Session,
  { allowance }: Connection,
): void {
  stream.on("error", () => undefined);
  if (!allowance.takeRequest()) {
    cutOff(session);
    return;
  }
  stream.once("close", () => {
    // Whoever makes the server reset a stream, by a frame that is wrong, has the same effect.
    const isBroken = stream.aborted || stream.rstCode !== NGHTTP2_NO_ERROR;
    if (isBroken && !session.destroyed && !allowance.takeReset()) cutOff(session);
  });
}

/** Ends a session at once, with the code that says why (RFC 9113, section 7). */
function cutOff(session: http2.ServerHttp2Session): void {
  // Streams that were read together with the last one allowed are still told of.
  if (session.destroyed) return;
  session.goaway(NGHTTP2_ENHANCE_YOUR_CALM);
  session.destroy();
}

/**
 * Ends a session some time after its client's goodbye (RFC 9113, section 6.8). Node.js then stops
 * reading at the first frame that is wrong, and tells nobody, not even that the connection has
 * ended: a watch on it would last its full hour.
 */
function endAfterGoodbye(session: http2.ServerHttp2Session): void {
  session.once("goaway", () => {
    const timer = setTimeout(() => session.destroy(), GOODBYE_TIMEOUT_MS);
    session.once("close", () => clearTimeout(timer));
  });
}

function endWhenIdle(session: http2.ServerHttp2Session, connection: Connection): void {
  const end = () => session.close();
  let timer = setTimeout(end, FIRST_STREAM_TIMEOUT_MS);
  let openStreams = 0;
  session.on("stream", (stream) => {
    clearTimeout(timer);
    openStreams += 1;
    stream.once("close", () => {
      openStreams -= 1;
      if (openStreams > 0 || session.destroyed) return;
      timer = setTimeout(end, connection.isProven ? PROVEN_IDLE_TIMEOUT_MS : IDLE_TIMEOUT_MS);
    });
  });
  session.once("close", () => clearTimeout(timer));
}
