/**
 * Whether an answer is one that its caller can make something of, and that gives nothing away:
 * the contract of `docs/api.md`, for any answer to any request.
 */
import { fromBinary, fromJsonString } from "@bufbuild/protobuf";
import { isReason, recordOf } from "../../../src/signal/index.ts";
import type { WireAnswer } from "../../conformance/support/client.ts";
import { facetsOf } from "../../conformance/support/facets.ts";
import { connectError, framesOf, grpcError } from "../../server/support/wire.ts";
import type { FuzzRequest } from "../request.ts";

/** How far a request got. */
export const STAGES = [
  "broken off",
  "http",
  "unauthenticated",
  "malformed",
  "refused",
  "served",
] as const;
export type Stage = (typeof STAGES)[number];

/** What an answer comes to. */
export interface Verdict {
  readonly stage: Stage;
  readonly reason: string | undefined;
  readonly faults: readonly string[];
}

const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;
const CONTENT_TYPE =
  /^(?:application\/(?:json|proto|problem\+json|grpc(?:-web)?(?:\+(?:json|proto))?|connect\+(?:json|proto))|text\/(?:html|plain|markdown)(?:;.*)?)$/;
/** A refusal that no reason tells: of a method, of an encoding, of a name that is not known. */
const WITHOUT_REASON = ["unimplemented", "not_found", "resource_exhausted", "unavailable"];
/** Of RPC in HTTP itself. */
const HTTP_ONLY = [400, 403, 404, 405, 408, 413, 415, 417, 421, 431];

/** Judges an answer. @param request what it answers, if that is known. */
export function judge(answer: WireAnswer, request: FuzzRequest | undefined): Verdict {
  const faults: string[] = [];
  const check = (holds: boolean, what: string) => void (holds || faults.push(what));
  const { status, headers, body } = answer;
  if (typeof status === "string") return { stage: "broken off", reason: undefined, faults };
  check(REQUEST_ID.test(headers["x-request-id"] ?? ""), `x-request-id: ${headers["x-request-id"]}`);
  const type = headers["content-type"];
  check(type === undefined ? body.length === 0 : CONTENT_TYPE.test(type), `content-type: ${type}`);
  const retryAfter = headers["retry-after"];
  check(retryAfter === undefined || /^\d{1,4}$/.test(retryAfter), `retry-after: ${retryAfter}`);
  const isRead = request?.method === "HEAD" || body.length === 0;
  const told = (() => {
    try {
      if (isRead && !isGrpc(type)) return { code: undefined, reason: undefined };
      if (type === "application/problem+json") return problem(answer, check);
      if (type === "application/json" && status < 300 && request?.target.rpc === undefined) {
        check(typeof JSON.parse(body.toString("utf8")) === "object", "no object");
        return { code: "ok", reason: undefined };
      }
      return rpcOutcome(answer, request, check);
    } catch (error) {
      faults.push(`no ${type}: ${(error as Error).message}`);
      return { code: undefined, reason: undefined };
    }
  })();
  const isExpected = status < 500 || isHonest(answer, request, told.reason);
  check(isExpected, `status ${status}: ${body.toString("latin1", 0, 400)}`);
  return { stage: stageOf(status, told), reason: told.reason, faults };
}

/** What an error tells. */
interface Told {
  /** As Connect names it; `ok` for a success, `undefined` where there is none. */
  readonly code: string | undefined;
  readonly reason: string | undefined;
}

type Check = (holds: boolean, what: string) => void;

function problem({ status, headers, body }: WireAnswer, check: Check): Told {
  const told = JSON.parse(body.toString("utf8"));
  check(told.status === status, `the problem says ${told.status}, HTTP says ${status}`);
  check(typeof told.title === "string" && told.title !== "", "no title");
  check(typeof told.detail === "string" && told.detail !== "", "no detail");
  check(told.request_id === headers["x-request-id"], "another request id");
  const { reason, violations } = told;
  if (reason === undefined) {
    check(told.type === "about:blank", `type ${told.type}`);
    check(HTTP_ONLY.includes(Number(status)), `${status} without a reason`);
    return { code: undefined, reason };
  }
  check(isReason(reason), `no reason: ${reason}`);
  check(told.type === `/errors#${String(reason).toLowerCase()}`, `type ${told.type}`);
  check(Array.isArray(violations) && violations.every(isViolation), "no violations");
  if (!isReason(reason)) return { code: undefined, reason };
  const { httpStatus, restStatus, code } = recordOf(reason);
  check(status === (restStatus ?? httpStatus), `${reason} with ${status}`);
  check(reason !== "INVALID_SIGNAL" || violations.length > 0, "invalid without a violation");
  return { code, reason };
}

function isViolation(value: unknown): boolean {
  const { field, description } = value as Record<string, unknown>;
  return typeof field === "string" && typeof description === "string";
}

function rpcOutcome(answer: WireAnswer, request: FuzzRequest | undefined, check: Check): Told {
  const { status, body } = answer;
  const type = answer.headers["content-type"] ?? "";
  const { code, reason } = facetsOf(answer);
  if (isGrpc(type)) check(status === 200, `gRPC with HTTP status ${status}`);
  if (code === "http") return { code: undefined, reason };
  if (code === "none") {
    // A stream that was not read to its end has no outcome yet.
    check(isStream(request) || request === undefined, "no outcome");
    return { code: body.length > 0 ? "ok" : undefined, reason };
  }
  if (code === "ok") {
    checkMessage(answer, request, check);
    return { code, reason };
  }
  if (reason === undefined) {
    check(WITHOUT_REASON.includes(code) || isOfLibrary(answer), `${code} without a reason`);
    return { code, reason };
  }
  const { domain } = errorOf(answer) ?? {};
  check(domain === "signals.v1", `domain ${domain}`);
  check(isReason(reason), `no reason: ${reason}`);
  if (!isReason(reason)) return { code, reason };
  const record = recordOf(reason);
  check(code === record.code, `${reason} with ${code}`);
  check(
    isGrpc(type) || isEnveloped(type) || status === record.httpStatus,
    `${reason} with ${status}`,
  );
  return { code, reason };
}

function errorOf({ headers, trailers, body }: WireAnswer) {
  const type = headers["content-type"] ?? "";
  const last = framesOf(body).at(-1)?.bytes;
  if (type.startsWith("application/grpc-web")) {
    const lines = last?.toString("utf8").split("\r\n") ?? [];
    return grpcError(Object.fromEntries(lines.map((line) => line.split(/: ?(.*)/s).slice(0, 2))));
  }
  if (isGrpc(type)) return grpcError({ ...headers, ...trailers });
  if (!isEnveloped(type)) return connectError(body);
  return connectError(
    Buffer.from(JSON.stringify(JSON.parse(last?.toString("utf8") ?? "{}").error)),
  );
}

function checkMessage(
  { headers, body }: WireAnswer,
  request: FuzzRequest | undefined,
  check: Check,
): void {
  const type = headers["content-type"] ?? "";
  const rpc = request?.target.rpc;
  if (rpc === undefined) return;
  const messages =
    isGrpc(type) || isEnveloped(type)
      ? framesOf(body).filter(({ flags }) => flags === 0)
      : [{ bytes: body }];
  check(isStream(request) || messages.length === 1, `${messages.length} messages`);
  for (const { bytes } of messages) {
    if (type.endsWith("json")) fromJsonString(rpc.output, bytes.toString("utf8"));
    else fromBinary(rpc.output, bytes);
  }
}

/** Of a server that is kept from its work: the same may be sent again. */
const BUSY = ["STORE_UNAVAILABLE", "OVERLOADED"];

/** Whether a refusal only says that the server is kept from its work. */
export function isBusy(reason: string | undefined): boolean {
  return reason !== undefined && BUSY.includes(reason);
}

/**
 * A status of 500 or more that is no fault: the caller's own deadline was over (504), it sent what
 * is compressed, for which the Connect protocol has 501, or the server is kept from its work (503),
 * which the fuzzer takes for a fault only if it stays so.
 */
function isHonest(
  answer: WireAnswer,
  request: FuzzRequest | undefined,
  reason: string | undefined,
): boolean {
  const asked = (name: string) => request?.fields.some(([field]) => field === name) ?? true;
  if (answer.status === 501) return facetsOf(answer).code === "unimplemented";
  if (answer.status === 503) return isBusy(reason);
  return answer.status === 504 && asked("connect-timeout-ms");
}

/** What the protocol library says of its protocol's own headers. */
function isOfLibrary(answer: WireAnswer): boolean {
  return /protocol|version|timeout|content.type/i.test(facetsOf(answer).message);
}

function isStream(request: FuzzRequest | undefined): boolean {
  const kind = request?.target.rpc?.methodKind;
  return kind !== undefined && kind !== "unary";
}

function isGrpc(type = ""): boolean {
  return type.startsWith("application/grpc");
}

function isEnveloped(type: string): boolean {
  return type.startsWith("application/connect+");
}

function stageOf(status: number, { code, reason }: Told): Stage {
  if (reason === "UNAUTHENTICATED" || reason === "CLOCK_SKEW") return "unauthenticated";
  if (reason === "MALFORMED_BODY") return "malformed";
  if (reason !== undefined) return "refused";
  if (code === "ok" || (code === undefined && status < 300)) return "served";
  return code === undefined ? "http" : "refused";
}
