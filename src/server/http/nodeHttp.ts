/**
 * Node's two kinds of request and response under one name: HTTP/1.1 and HTTP/2.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { Caller } from "./caller.ts";

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
