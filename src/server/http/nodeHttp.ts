/**
 * Node's two kinds of request and response under one name, HTTP/1.1 and HTTP/2, and who is at
 * the other end, as far as limits for strangers need to know.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";

/** A request of either HTTP version. */
export type NodeRequest = IncomingMessage | Http2ServerRequest;

/** A response of either HTTP version. */
export type NodeResponse = ServerResponse | Http2ServerResponse;

/** What a server does with each request. */
export type RequestListener = (
  request: NodeRequest,
  response: NodeResponse,
  caller: Caller,
) => void;

/** What a proof hangs on. */
export interface Standing {
  /** False as soon as whoever gave the proof would not be let through any more. */
  readonly isGood: boolean;
}

/** One connection, as its requests see it. */
export interface Caller {
  /** By `addressKey`: what limits by address count as one. */
  readonly address: string;
  /** The same object for all requests of one connection. */
  readonly connection: object;
  /** Whether somebody has proven who they are on this connection, and the proof still holds. */
  readonly isProven: boolean;
  /** Hangs up, whatever is under way. */
  end(): void;
  /** Notes that somebody has proven who they are on this connection just now. */
  prove(standing: Standing): void;
  /**
   * Counts a proof that failed.
   *
   * @returns how long it is until one of this address may fail again, in milliseconds, if this
   *   was one too many.
   */
  takeFailure(): number | undefined;
}

/** The caller of one request. */
export interface RequestCaller extends Caller {
  /** Has the connection end with the answer. Resolves when that can be sent. */
  endWithAnswer(): Promise<void>;
}

/** The greatest size of a request's headers, over either HTTP version. */
export const HEADERS_MAX_BYTES = 16 * 1024;
/** How many headers a request may have. */
export const HEADERS_MAX_COUNT = 100;
