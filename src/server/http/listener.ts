/**
 * One port for HTTP/1.1 and HTTP/2: over TLS the two are told apart by ALPN, in clear
 * text by the first bytes of a connection. Every connection, header and body has a
 * deadline and a limit, and no packet ends the process.
 */
import net, { type AddressInfo } from "node:net";
import tls from "node:tls";
import { createConnections, SOCKETS_MAX } from "./connections.ts";
import { createHttp1Server } from "./http1Server.ts";
import { createHttp2Server } from "./http2Server.ts";
import type { RequestListener } from "./nodeHttp.ts";
import { secureContextOptions, type TlsMaterial } from "./tlsOptions.ts";

/** What a client that speaks HTTP/2 without TLS sends first (RFC 9113, section 3.4). */
const HTTP2_PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** How long a connection may stay silent before its first bytes, and a TLS handshake may take. */
const FIRST_BYTES_TIMEOUT_MS = 10_000;

/** A port that is being listened on. */
export interface Listener {
  readonly address: AddressInfo;
  /**
   * Serves this certificate to all that connect from now on; connections that are there go on.
   * A session that began under the earlier one is not resumed, but begun anew. Without TLS
   * there is nothing to do.
   *
   * @throws Error from OpenSSL, and the earlier certificate stays in force.
   */
  useCertificate(material: TlsMaterial): void;
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
  /** What TLS is served with; `undefined` serves clear text. */
  readonly tls: TlsMaterial | undefined;
  readonly onRequest: RequestListener;
  readonly monotonicMs: () => number;
}

/** Listens. @throws Error from the operating system if the port cannot be had. */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const connections = createConnections(options.monotonicMs);
  const http1 = createHttp1Server(options.onRequest, connections);
  const h2 = createHttp2Server(options.onRequest, connections);
  /** Connections in clear text whose protocol is not known yet. */
  const undecided = new Set<net.Socket>();
  let isClosing = false;
  const unlessClosing = (serve: ServeSocket) => (socket: net.Socket) => {
    // A TLS handshake may end after the server began to close, or the connection's place
    // was given to another.
    if (isClosing || socket.destroyed) socket.destroy();
    else serve(socket);
  };
  const serveHttp1 = unlessClosing((socket) => http1.server.emit("connection", socket));
  const serveHttp2 = unlessClosing(h2.serve);

  const tlsServer = options.tls && createTlsServer(options.tls, serveHttp1, serveHttp2);
  const server =
    tlsServer ??
    net.createServer({ noDelay: true }, (socket) =>
      dispatchByPreface(socket, undecided, serveHttp1, serveHttp2),
    );
  server.maxConnections = SOCKETS_MAX;
  // First of all listeners, since those that hand the connection on ask for it.
  server.prependListener("connection", (socket: net.Socket) => {
    connections.add(socket);
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
  http1.server.emit("listening");

  return {
    address: server.address() as AddressInfo,
    useCertificate: (material) => tlsServer?.setSecureContext(secureContextOptions(material)),
    async close(graceMs) {
      isClosing = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of undecided) socket.destroy();
      http1.close();
      h2.close();
      const cut = setTimeout(() => connections.destroyAll(), graceMs);
      await closed;
      clearTimeout(cut);
      http1.server.close();
      h2.server.close();
    },
  };
}

type ServeSocket = (socket: net.Socket) => void;

function createTlsServer(
  material: TlsMaterial,
  serveHttp1: ServeSocket,
  serveHttp2: ServeSocket,
): tls.Server {
  const server = tls.createServer({
    ...secureContextOptions(material),
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
