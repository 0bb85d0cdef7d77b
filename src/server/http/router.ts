/**
 * Each request's way in: it gets an id and a deadline, its host is checked, its path is
 * looked up, and when its answer is done, its line goes to the log.
 */
import { randomUUIDv7 } from "node:crypto";
import { constants } from "node:http2";
import { crossSiteFault } from "./crossSite.ts";
import { REQUEST_TIMEOUT_MS, STREAM_MAX_MS } from "./deadline.ts";
import type { Endpoint } from "./endpoint.ts";
import type {
  Caller,
  NodeRequest,
  NodeResponse,
  RequestCaller,
  RequestListener,
} from "./nodeHttp.ts";
import { createPool, type Place } from "./pool.ts";
import { internalRefusal, sendProblem, sendRefusal } from "./problem.ts";
import { type FormFault, settleForm } from "./requestForm.ts";
import type { RequestLog } from "./requestLog.ts";
import type { RequestRecord } from "./requestRecord.ts";
import { createUnreadAnswers } from "./unreadAnswers.ts";

/** What every router is told. */
export interface RoutingOptions {
  readonly monotonicMs: () => number;
  readonly requestLog: RequestLog;
  /**
   * Whether a request must name this machine as its host. Where nothing else proves who
   * asks, a web page could otherwise send signals and read metrics: its own name may resolve
   * to this machine (DNS rebinding). Default false.
   */
  readonly isLoopbackOnly?: boolean;
  /** Whether requests that web pages of other sites cause are refused. Default false. */
  readonly isSameSiteOnly?: boolean;
  /** After this long a unary request is cut, in milliseconds. Default 35 s. */
  readonly unaryCutAfterMs?: number;
  /**
   * Told of each request when its answer is done, for metrics.
   *
   * @param httpStatus `undefined` if the caller did not get an answer to its end.
   */
  readonly onRequestDone?: (
    record: RequestRecord,
    httpStatus: number | undefined,
    durationMs: number,
  ) => void;
}

/** A resource that can be read can be asked for its headers alone (RFC 9110, section 9.1). */
const ALLOWED_METHODS: Readonly<Record<Endpoint["method"], readonly string[]>> = {
  GET: ["GET", "HEAD"],
  POST: ["POST"],
};
/**
 * Requests under way of which nothing is proven, answers that nobody reads included. With
 * its headers, one takes up to 30 KB. Producers' own requests are among them only until
 * their signature is verified.
 */
const UNPROVEN_REQUESTS_MAX = 2_048;
/** A caller's own request id is taken over if it is harmless. */
const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;
/** A unary request is answered by its deadline; 5 s more, and it is stuck. */
const UNARY_CUT_AFTER_MS = REQUEST_TIMEOUT_MS + 5_000;
/** A stream ends by itself after an hour; 5 s more, and it is stuck. */
const STREAM_CUT_AFTER_MS = STREAM_MAX_MS + 5_000;
/** How long a caller may go on sending a body that nobody wants before it is cut. */
const UNREAD_BODY_GRACE_MS = 1_000;

/** Makes the listener for all requests of a port. @param endpoints by their path. */
export function routeRequests(
  endpoints: ReadonlyMap<string, Endpoint>,
  options: RoutingOptions,
): RequestListener {
  const { isLoopbackOnly = false, isSameSiteOnly = false } = options;
  const { unaryCutAfterMs = UNARY_CUT_AFTER_MS } = options;
  const unproven = createPool(UNPROVEN_REQUESTS_MAX);
  const watchAnswer = createUnreadAnswers(options.monotonicMs);
  return function onRequest(request, response, connection) {
    const fault =
      settleForm(request, isLoopbackOnly) ?? (isSameSiteOnly ? crossSiteFault(request) : undefined);
    const path = pathOf(request);
    const endpoint = endpoints.get(path);
    cutStuck(response, unaryCutAfterMs, endpoint?.isStream ?? false);
    watchAnswer(response, connection.address);
    const startMs = options.monotonicMs();
    const place = unproven.enter(connection.address, () => {
      // A stranger's connection ends as a whole: request by request, one that brings ever
      // more of them would cost more than it is worth.
      if (connection.isProven) response.destroy();
      else connection.end();
    });
    const caller = callerOf(connection, place, request, response);
    const record: RequestRecord = { requestId: requestIdOf(request), caller, protocol: "http" };
    if (endpoint !== undefined) record.endpoint = path;
    response.setHeader("x-request-id", record.requestId);
    response.once("close", () => {
      place.leave();
      const durationMs = options.monotonicMs() - startMs;
      const isAnswered =
        response.headersSent && response.writableEnded && response.writableFinished;
      options.requestLog.requestDone({ request, response, record, path, isAnswered, durationMs });
      options.onRequestDone?.(record, isAnswered ? response.statusCode : undefined, durationMs);
    });
    // Over HTTP/2, the response itself says "finish" only when the caller is done, too.
    const sending = "stream" in response ? response.stream : response;
    sending.once("finish", () => endUnreadBody(request));
    // Without a listener, an error on a connection that broke would end the process.
    // What it would tell is known from "close".
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    serve(request, response, endpoint, fault, record)
      .catch((error: unknown) => answerFault(response, error, record, options.requestLog))
      // No rejection may be left over, since it would end the process.
      .catch(() => response.destroy());
  };
}

/** The caller of one request, which has a place among the unproven until it proves itself. */
function callerOf(
  connection: Caller,
  place: Place,
  request: NodeRequest,
  response: NodeResponse,
): RequestCaller {
  return {
    address: connection.address,
    connection: connection.connection,
    get isProven() {
      return connection.isProven;
    },
    end: () => connection.end(),
    prove(standing) {
      place.leave();
      connection.prove(standing);
    },
    takeFailure: () => connection.takeFailure(),
    async endWithAnswer() {
      if ("stream" in response) {
        // Streams that are under way go on.
        response.stream.session?.close();
        return;
      }
      response.shouldKeepAlive = false;
      // A body that still came would make a reset of the end, and the answer may be lost.
      await endOfBody(request);
    },
  };
}

async function serve(
  request: NodeRequest,
  response: NodeResponse,
  endpoint: Endpoint | undefined,
  fault: FormFault | undefined,
  record: RequestRecord,
): Promise<void> {
  if (fault !== undefined) return sendProblem(response, fault.status, fault.detail, record);
  if (endpoint === undefined) return sendProblem(response, 404, "There is nothing here.", record);
  const allowed = ALLOWED_METHODS[endpoint.method];
  if (!allowed.includes(request.method ?? "")) {
    const detail = `This path takes ${endpoint.method} only.`;
    return sendProblem(response, 405, detail, record, { allow: allowed.join(", ") });
  }
  await endpoint.handle(request, response, record);
}

function pathOf(request: NodeRequest): string {
  return (request.url ?? "").split("?", 1)[0] as string;
}

function requestIdOf(request: NodeRequest): string {
  const given = request.headers["x-request-id"];
  return typeof given === "string" && REQUEST_ID.test(given) ? given : randomUUIDv7();
}

/**
 * Ends a request that is stuck, whatever it waits for: also for a caller that never reads
 * its answer. Only a stream that has more to tell lasts longer.
 */
function cutStuck(response: NodeResponse, unaryMs: number, isStream: boolean): void {
  let timer = setTimeout(() => {
    if (!isStream || response.writableEnded) response.destroy();
    else timer = setTimeout(() => response.destroy(), STREAM_CUT_AFTER_MS - unaryMs).unref();
  }, unaryMs).unref();
  response.once("close", () => clearTimeout(timer));
}

/** Ends the sending of a body that was answered before it was read to its end. */
function endUnreadBody(request: NodeRequest): void {
  if (request.complete) return;
  // What still comes is read and thrown away for a while, since a caller that sends all
  // before it reads would otherwise never see its answer, and some versions of curl lose
  // an answer that a reset follows at once.
  request.resume();
  const timer = setTimeout(() => {
    // RFC 9113, section 8.1: NO_ERROR asks the caller to stop sending, and the answer counts.
    if ("stream" in request) request.stream.close(constants.NGHTTP2_NO_ERROR);
    else request.socket.destroy();
  }, UNREAD_BODY_GRACE_MS);
  request.once("close", () => clearTimeout(timer));
}

/** Throws away what still comes of a body. Resolves at its end, or when that takes too long. */
function endOfBody(request: NodeRequest): Promise<void> {
  if (request.complete) return Promise.resolve();
  request.resume();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, UNREAD_BODY_GRACE_MS);
    request.once("close", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** The last resort: what no handler turned into an answer of its protocol. */
function answerFault(
  response: NodeResponse,
  error: unknown,
  record: RequestRecord,
  requestLog: RequestLog,
): void {
  // A caller that left while its answer was written is no fault of the server.
  const sending = "stream" in response ? response.stream : response;
  if (sending.destroyed) return;
  requestLog.requestFailed(record, error);
  if (response.headersSent) response.destroy();
  else sendRefusal(response, internalRefusal(record.requestId), record);
}
