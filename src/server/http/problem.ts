/**
 * How a plain HTTP answer is written: JSON, or problem details (RFC 9457) for a refusal.
 */
import { type ServerResponse, STATUS_CODES } from "node:http";
import {
  type Reason,
  type Refusal,
  recordOf,
  refuse,
  retryAfterMsOf,
  type Violation,
} from "../../signal/index.ts";
import type { NodeResponse } from "./nodeHttp.ts";
import type { RequestRecord } from "./requestRecord.ts";

/** The path at which reasons are explained, where the `type` of a problem leads. */
export const ERRORS_PATH = "/errors";

/** What a caller is told of a fault of the server: nothing but where to look. */
export function internalRefusal(requestId: string): Refusal {
  return refuse(
    "INTERNAL",
    `The server failed, and it is not known whether anything is stored. Its log tells more under the request id ${requestId}.`,
  );
}

/** The `Retry-After` header (RFC 9110, section 10.2.3) in whole seconds, rounded up. */
export function retryAfterHeader(refusal: Refusal): Record<string, string> {
  const retryAfterMs = retryAfterMsOf(refusal);
  if (retryAfterMs === undefined) return {};
  return { "retry-after": Math.ceil(retryAfterMs / 1000).toString() };
}

/** Problem details for REST (RFC 9457), with the same facts as the RPC error details. */
interface Problem {
  /** Where its reason is explained (RFC 9457, section 3.1.1); `about:blank` without one. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly reason?: Reason;
  readonly violations?: readonly Violation[];
  readonly request_id: string;
  readonly [fact: string]: unknown;
}

/** The problem details of a refusal. Fields are named as in REST's flat JSON. */
function problemOf(refusal: Refusal, status: number, requestId: string): Problem {
  return {
    ...refusal.metadata,
    type: `${ERRORS_PATH}#${refusal.reason.toLowerCase()}`,
    title: titleOf(status),
    status,
    detail: refusal.message,
    reason: refusal.reason,
    violations: refusal.violations,
    request_id: requestId,
  };
}

/** Sends JSON and ends the response. */
export function sendJson(
  response: NodeResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  sendText(response, status, "application/json", JSON.stringify(body), headers);
}

/** Sends a refusal as problem details (RFC 9457). */
export function sendRefusal(response: NodeResponse, refusal: Refusal, record: RequestRecord): void {
  record.reason = refusal.reason;
  const status = restStatusOf(refusal.reason);
  const problem = problemOf(refusal, status, record.requestId);
  // RFC 9110, section 11.6.1: an answer of 401 names the scheme that would be accepted.
  const challenge: Record<string, string> =
    status === 401 ? { "www-authenticate": 'HMAC-SHA256 realm="signals.v1"' } : {};
  sendText(response, status, "application/problem+json", JSON.stringify(problem), {
    ...challenge,
    ...retryAfterHeader(refusal),
  });
}

/** Sends problem details for a fault of HTTP itself, which has no reason of ours. */
export function sendProblem(
  response: NodeResponse,
  status: number,
  detail: string,
  record: RequestRecord,
  headers: Readonly<Record<string, string>> = {},
): void {
  const title = titleOf(status);
  const request_id = record.requestId;
  const problem: Problem = { type: "about:blank", title, status, detail, request_id };
  sendText(response, status, "application/problem+json", JSON.stringify(problem), headers);
}

/** Sends a text and ends the response. */
export function sendText(
  response: NodeResponse,
  status: number,
  contentType: string,
  text: string,
  headers: Readonly<Record<string, string>>,
): void {
  // Both kinds of response take the same arguments, but their types differ.
  (response as ServerResponse).writeHead(status, {
    "content-type": contentType,
    "content-length": Buffer.byteLength(text).toString(),
    ...headers,
  });
  response.end(text);
}

function titleOf(status: number): string {
  return STATUS_CODES[status] ?? "Error";
}

function restStatusOf(reason: Reason): number {
  const { httpStatus, restStatus } = recordOf(reason);
  return restStatus ?? httpStatus;
}
