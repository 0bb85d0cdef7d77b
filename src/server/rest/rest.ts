/**
 * REST, for producers that already speak it: the same signature, rules and store as the
 * RPCs, in flat JSON with the HTTP status codes that such producers expect.
 */
import { type Ingest, type IngestResult, resultMessage } from "../../ingest/index.ts";
import {
  invalidSignal,
  NOT_STORED,
  ok,
  parseJsonStrictly,
  type Refusal,
  type Result,
  refuse,
  refused,
  SIGNAL_REQUEST_MAX_BYTES,
  type Violation,
} from "../../signal/index.ts";
import { formatTimestamp } from "../../signing/index.ts";
import type { Authenticate } from "../auth/authenticate.ts";
import { receiveSigned } from "../auth/receive.ts";
import { REQUEST_TIMEOUT_MS } from "../http/deadline.ts";
import type { RequestHandler } from "../http/endpoint.ts";
import { UNFRAMED } from "../http/message.ts";
import type { NodeRequest } from "../http/nodeHttp.ts";
import { outOfMemory, type RequestMemory, SIGNAL_BYTES } from "../http/pendingMemory.ts";
import { sendJson, sendProblem, sendRefusal } from "../http/problem.ts";
import { recordResults } from "../http/requestRecord.ts";
import { restSubmission } from "./restSignal.ts";
import { type RestRoute, type StatusDependencies, statusRoutes } from "./status.ts";

/** What the REST routes are made of. */
export interface RestDependencies extends StatusDependencies {
  readonly authenticate: Authenticate;
  readonly ingest: Ingest;
  /** What single signals share, whatever their protocol. */
  readonly singles: RequestMemory;
  readonly monotonicMs: () => number;
}

const SIGNAL_PATHS = ["/api/v1/signals/ingest", "/api/v1/signals"] as const;
const JSON_TYPE = /^application\/json(?:; charset=utf-?8)?$/i;
const EXPLANATION_MAX_LENGTH = 300;
const UNKNOWN_NAMES_MAX = 20;
const UNKNOWN_NAME_MAX_LENGTH = 64;

/** The REST routes by their path. */
export function restRoutes(dependencies: RestDependencies): ReadonlyMap<string, RestRoute> {
  const routes = new Map(statusRoutes(dependencies));
  for (const path of SIGNAL_PATHS) {
    routes.set(path, { method: "POST", handle: postSignal(path, dependencies) });
  }
  return routes;
}

function postSignal(
  path: string,
  { authenticate, ingest, singles, monotonicMs }: RestDependencies,
): RequestHandler {
  return async function handle(request, response, record) {
    record.protocol = "rest";
    const deadlineMs = monotonicMs() + REQUEST_TIMEOUT_MS;
    const mediaFault = mediaTypeFault(request);
    if (mediaFault !== undefined)
      return sendProblem(response, 415, `${mediaFault} ${NOT_STORED}`, record);

    const endpoint = {
      path,
      maxMessageBytes: SIGNAL_REQUEST_MAX_BYTES,
      isBatch: false,
      budget: singles.budget,
    };
    const received = await receiveSigned(
      request,
      endpoint,
      UNFRAMED,
      REQUEST_TIMEOUT_MS,
      authenticate,
      record,
    );
    if (received.kind === "aborted" || received.kind === "compressed") return;
    if (received.kind === "refused") return sendRefusal(response, received.refusal, record);

    using memory = singles.pending.take(received.message.length + SIGNAL_BYTES);
    if (memory === undefined) return sendRefusal(response, outOfMemory(), record);
    const body = parseObject(received.message);
    if (!body.ok) return sendRefusal(response, body.refusal, record);
    const { submission, faults, unknownNames } = restSubmission(body.value, request.headers);
    const results = await ingest([ok(submission)], received.origin, deadlineMs);
    const result = withFaults(results[0] as IngestResult, faults);
    recordResults(record, [result]);
    if (result.kind === "refused") return sendRefusal(response, flattened(result.refusal), record);
    const status = result.kind === "stored" && !result.duplicate ? 201 : 200;
    sendJson(response, status, signalAnswer(result, unknownNames));
  };
}

/** What is wrong with the headers that tell how the body is written. */
function mediaTypeFault({ headers }: NodeRequest): string | undefined {
  if (!JSON_TYPE.test(headers["content-type"] ?? "")) {
    return "The body must be sent with the header Content-Type: application/json.";
  }
  if ((headers["content-encoding"] ?? "identity") !== "identity") {
    return "Signed endpoints take no compression: send the body as it was signed.";
  }
  return undefined;
}

function parseObject(body: Uint8Array): Result<Readonly<Record<string, unknown>>> {
  // A signed body of JSON begins with "{", so that it can be no other codec's.
  if (body[0] !== 0x7b) return malformed("The body must be a JSON object and begin with {.");
  try {
    return ok(parseJsonStrictly(body) as Readonly<Record<string, unknown>>);
  } catch (error) {
    // Only the producer that signed these bytes sees what is wrong with them.
    const explanation = (error as Error).message.slice(0, EXPLANATION_MAX_LENGTH);
    return malformed(`The body is not valid JSON: ${explanation}`);
  }
}

function malformed(message: string): Result<never> {
  return refused(refuse("MALFORMED_BODY", message));
}

/** Refuses a signal also for what is wrong beside it, and names all faults together. */
function withFaults(result: IngestResult, faults: readonly Violation[]): IngestResult {
  if (faults.length === 0) return result;
  const violations = [...(result.kind === "refused" ? result.refusal.violations : []), ...faults];
  const { receiveTime } = result;
  return { kind: "refused", refusal: invalidSignal("INVALID_SIGNAL", violations), receiveTime };
}

/** REST's body is the signal itself, so its fields have no prefix. */
function flattened(refusal: Refusal): Refusal {
  const violations = refusal.violations.map(({ field, description }) => ({
    field: field.replace(/^signal\./, ""),
    description,
  }));
  return refusal.reason === "INVALID_SIGNAL" || refusal.reason === "PAYLOAD_TOO_LARGE"
    ? invalidSignal(refusal.reason, violations)
    : { ...refusal, violations };
}

/** The answer for a signal that was taken. `id` and `created_at` are for older producers. */
function signalAnswer(
  result: Exclude<IngestResult, { kind: "refused" }>,
  unknownNames: readonly string[],
): Record<string, unknown> {
  const isStored = result.kind === "stored";
  const signalId = isStored ? result.signalId : "";
  const time = formatTimestamp(result.receiveTime);
  return {
    signal_id: signalId,
    status: result.status,
    server_timestamp: time,
    message: resultMessage(result) + ignoredSentence(unknownNames),
    errors: [],
    duplicate: isStored && result.duplicate,
    id: signalId,
    created_at: time,
  };
}

function ignoredSentence(unknownNames: readonly string[]): string {
  if (unknownNames.length === 0) return "";
  const named = unknownNames
    .slice(0, UNKNOWN_NAMES_MAX)
    .map((name) => name.slice(0, UNKNOWN_NAME_MAX_LENGTH))
    .join(", ");
  const rest = unknownNames.length - UNKNOWN_NAMES_MAX;
  return ` Ignored unknown fields: ${named}${rest > 0 ? ` and ${rest} more` : ""}.`;
}
