/**
 * How long a call may take: as long as the caller says in its protocol's timeout
 * header, but never longer than the server allows.
 */
import type { IncomingHttpHeaders } from "node:http";
import { parseTimeout as parseConnectTimeout } from "@connectrpc/connect/protocol-connect";
import { parseTimeout as parseGrpcTimeout } from "@connectrpc/connect/protocol-grpc";

/** The longest that any unary request may take, whatever its caller says. */
export const REQUEST_TIMEOUT_MS = 30_000;
/** The longest that a stream lasts; its caller then calls again. No stream is without an end. */
export const STREAM_MAX_MS = 60 * 60 * 1_000;

/**
 * How long a call may take.
 *
 * @returns milliseconds, at most {@link REQUEST_TIMEOUT_MS}; `undefined` if the header
 *   is malformed.
 */
export function timeoutOf(headers: IncomingHttpHeaders): number | undefined {
  const grpcTimeout = headers["grpc-timeout"];
  const connectTimeout = headers["connect-timeout-ms"];
  if (grpcTimeout === undefined && connectTimeout === undefined) return REQUEST_TIMEOUT_MS;
  const grpc = parseGrpcTimeout(text(grpcTimeout), Number.POSITIVE_INFINITY);
  const connect = parseConnectTimeout(text(connectTimeout), Number.POSITIVE_INFINITY);
  if (grpc.error !== undefined || connect.error !== undefined) return undefined;
  return Math.min(grpc.timeoutMs ?? connect.timeoutMs ?? REQUEST_TIMEOUT_MS, REQUEST_TIMEOUT_MS);
}

function text(value: string | string[] | undefined): string | null {
  return value === undefined ? null : String(value);
}
