/** Opens connections to one host, and chooses among several. */
import net from "node:net";
import type { DatabaseHost } from "./target.ts";
import { type Secure, socketEvent } from "./tls.ts";

/**
 * Opens a connection on which PostgreSQL's protocol can begin.
 *
 * @param onSocket gets each socket as soon as it is made; who destroys it ends the attempt.
 * @throws Error with the host in its message.
 */
export type Connect = (onSocket: (socket: net.Socket) => void) => Promise<net.Socket>;

/** How hosts are connected to. */
export interface ConnectOptions {
  readonly secure: Secure;
  /** For TCP and TLS together. */
  readonly timeoutMs: number;
  /** `undefined` for none. */
  readonly keepAliveMs: number | undefined;
}

/** Such as `db.example.com:5432`, `[::1]:5432` or the path of a socket. */
export function hostText(host: DatabaseHost): string {
  if (host.kind === "unix") return host.path;
  return `${net.isIPv6(host.host) ? `[${host.host}]` : host.host}:${host.port}`;
}

/** Connects to this host only. */
export function connectTo(host: DatabaseHost, options: ConnectOptions): Connect {
  return async (onSocket) => {
    const socket = new net.Socket();
    // It may fail at a moment when nobody waits for it.
    socket.on("error", () => undefined);
    onSocket(socket);
    let timeout: Error | undefined;
    const timer = setTimeout(() => {
      timeout = new Error(`no connection within ${options.timeoutMs} ms`);
      socket.destroy();
    }, options.timeoutMs);
    try {
      return await open(socket, host, options);
    } catch (failure) {
      socket.destroy();
      const cause = timeout ?? failure;
      const { code } = cause as NodeJS.ErrnoException;
      const error = new Error(failureText(host, cause), { cause });
      throw code === undefined ? error : Object.assign(error, { code });
    } finally {
      clearTimeout(timer);
    }
  };
}

async function open(
  socket: net.Socket,
  host: DatabaseHost,
  { secure, keepAliveMs }: ConnectOptions,
): Promise<net.Socket> {
  if (socket.destroyed) throw new Error("the connection was given up");
  if (host.kind === "unix") {
    socket.connect(host.path);
    await socketEvent(socket, "connect");
    // TLS is for networks (documentation of sslmode).
    return socket;
  }
  socket.connect(host.port, host.host);
  await socketEvent(socket, "connect");
  socket.setNoDelay(true);
  if (keepAliveMs !== undefined) socket.setKeepAlive(true, keepAliveMs);
  return secure(socket, host.host);
}

function failureText(host: DatabaseHost, failure: unknown): string {
  const { message, code } = failure as NodeJS.ErrnoException;
  // A name with several addresses fails with an error that has a code but no message.
  const text = message || String(code);
  return text.includes(hostText(host)) ? text : `${hostText(host)}: ${text}`;
}

/** Whether a host takes writes. @throws Error if it cannot be asked. */
export type TakesWrites = (host: DatabaseHost) => Promise<boolean>;

/**
 * Connects to the first of several hosts that takes writes, and goes on with it until a
 * connection to it ends. Then the others are asked again: the primary may be another one.
 */
export function connectToWritable(
  hosts: readonly DatabaseHost[],
  options: ConnectOptions,
  takesWrites: TakesWrites,
): Connect {
  let choice: Promise<DatabaseHost> | undefined;

  function forget(chosen: Promise<DatabaseHost>): void {
    if (choice === chosen) choice = undefined;
  }

  return async (onSocket) => {
    choice ??= firstWritable(hosts, takesWrites);
    const chosen = choice;
    try {
      const host = await chosen;
      return await connectTo(
        host,
        options,
      )((socket) => {
        socket.once("close", () => forget(chosen));
        onSocket(socket);
      });
    } catch (error) {
      forget(chosen);
      throw error;
    }
  };
}

async function firstWritable(
  hosts: readonly DatabaseHost[],
  takesWrites: TakesWrites,
): Promise<DatabaseHost> {
  const reasons: string[] = [];
  for (const host of hosts) {
    try {
      if (await takesWrites(host)) return host;
      reasons.push(`${hostText(host)}: takes no writes`);
    } catch (error) {
      reasons.push(failureText(host, error));
    }
  }
  throw new Error(`No host takes writes (${reasons.join("; ")})`);
}
