/**
 * All connections of a port. Each has a place in one pool, so that the port is never full:
 * a newcomer displaces the connection that deserves its place least.
 */
import type { Socket } from "node:net";
import { addressKey } from "./address.ts";
import { type Allowance, createAllowances } from "./allowance.ts";
import type { Caller, Standing } from "./nodeHttp.ts";
import { createPool } from "./pool.ts";

/**
 * Connections at once. One of HTTP/2 takes 50 KB even if nothing is asked on it, so that all
 * together stay well below what a process may take; more callers are served by more processes.
 */
const CONNECTIONS_MAX = 3_072;
/**
 * What the operating system's count may exceed the pool by: a displaced connection is gone
 * only some turns of the event loop later. Beyond it, connections are closed as they come.
 */
const CLOSING_MAX = 1_024;

/** The limit for `server.maxConnections`, which is to be met only in a flood. */
export const SOCKETS_MAX = CONNECTIONS_MAX + CLOSING_MAX;

/** The two ends of a connection, as its socket or what wraps it tells them. */
type Ends = Pick<Socket, "remoteAddress" | "remotePort" | "localAddress">;

/** A connection with what it may do. */
export interface Connection extends Caller {
  readonly allowance: Allowance;
}

/** The connections of a port. */
export interface Connections {
  /** Takes in a new connection, and forgets it when it is closed. */
  add(socket: Socket): void;
  /** The connection that a socket is, or lies over, as TLS does; `undefined` once it is closed. */
  find(socket: Ends): Connection | undefined;
  destroyAll(): void;
}

/** Makes an empty set of connections. */
export function createConnections(monotonicMs: () => number): Connections {
  const sockets = new Set<Socket>();
  // By both ends, since a TLS socket does not tell which socket it lies over.
  const connections = new Map<string, Connection>();
  const pool = createPool(CONNECTIONS_MAX);
  const allowanceOf = createAllowances(monotonicMs);
  return {
    add(socket) {
      const ends = textOf(socket);
      const address = addressKey(socket.remoteAddress);
      const place = pool.enter(address, () => socket.destroy());
      let standing: Standing | undefined;
      const isProven = () => standing?.isGood === true;
      const allowance = allowanceOf(address, isProven);
      const connection: Connection = {
        address,
        connection: socket,
        allowance,
        get isProven() {
          return isProven();
        },
        end: () => socket.destroy(),
        takeFailure: allowance.takeFailure,
        prove(proof) {
          place.prove();
          if (!isProven()) allowance.giveBack();
          standing = proof;
        },
      };
      sockets.add(socket);
      if (ends !== undefined) connections.set(ends, connection);
      socket.once("close", () => {
        place.leave();
        sockets.delete(socket);
        if (ends !== undefined && connections.get(ends) === connection) connections.delete(ends);
      });
    },
    find(socket) {
      const ends = textOf(socket);
      return ends === undefined ? undefined : connections.get(ends);
    },
    destroyAll() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** @returns `undefined` for a socket that is closed. */
function textOf({ remoteAddress, remotePort, localAddress }: Ends): string | undefined {
  return remoteAddress === undefined ? undefined : `${remoteAddress} ${remotePort} ${localAddress}`;
}
