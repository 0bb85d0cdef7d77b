/**
 * How long a call may take: as long as the caller says in its protocol's timeout
 * header, but never longer than the server allows.
 */
import { parseTimeout as parseConnectTimeout } from "@connectrpc/connect/protocol-connect";
import { parseTimeout as parseGrpcTimeout } from "@connectrpc/connect/protocol-grpc";

/** The longest that any unary request may take, whatever its caller says. */
export const REQUEST_TIMEOUT_MS = 30_000;

/**
 * Takes the timeout out of the headers, so that the server's own deadline, which is
 * answered with a reason, is the only one. (A timeout of 99999999 hours would also
 * overflow the protocol library's timer and end the call at once.)
 *
 * @returns milliseconds, at most {@link REQUEST_TIMEOUT_MS}; `undefined` if the header
 *   is malformed.
 */
export function takeTimeout(headers: Headers): number | undefined {
  const grpc = parseGrpcTimeout(headers.get("grpc-timeout"), Number.POSITIVE_INFINITY);
  const connect = parseConnectTimeout(headers.get("connect-timeout-ms"), Number.POSITIVE_INFINITY);
  headers.delete("grpc-timeout");
  headers.delete("connect-timeout-ms");
  if (grpc.error !== undefined || connect.error !== undefined) return undefined;
  return Math.min(grpc.timeoutMs ?? connect.timeoutMs ?? REQUEST_TIMEOUT_MS, REQUEST_TIMEOUT_MS);
}
