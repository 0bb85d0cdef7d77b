/**
 * The two servers that are compared: the router, and the protocol library as it comes.
 * Behind both is the same domain, which does what a signal's comment says.
 */

import { createHash } from "node:crypto";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo, Server } from "node:net";
import { Writable } from "node:stream";
import { ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Health } from "../../../gen/grpc/health/v1/health_pb.ts";
import {
  type IngestBatchRequest,
  type IngestRequest,
  IngestService,
} from "../../../gen/signals/v1/ingest_service_pb.ts";
import type { Ingest, IngestResult, Submission, Submitted } from "../../../src/ingest/index.ts";
import type { Authenticate } from "../../../src/server/auth/authenticate.ts";
import { systemClock } from "../../../src/server/clock.ts";
import { REQUEST_TIMEOUT_MS } from "../../../src/server/http/deadline.ts";
import { listen } from "../../../src/server/http/listener.ts";
import { createRequestLog } from "../../../src/server/http/requestLog.ts";
import { createLog } from "../../../src/server/ops/log.ts";
import { servePublicPort } from "../../../src/server/publicPort.ts";
import { connectErrorOf } from "../../../src/server/rpc/errors.ts";
import type { SignedCall } from "../../../src/server/rpc/signedRpc.ts";
import { healthService } from "../../../src/server/services/healthService.ts";
import {
  answerBatch,
  answerSignal,
  wrongCount,
} from "../../../src/server/services/ingestService.ts";
import { submissionOf } from "../../../src/server/services/readSubmissions.ts";
import {
  type Instant,
  isReason,
  ok,
  type Refusal,
  type Result,
  refuse,
  refused,
  SIGNAL_REQUEST_MAX_BYTES,
} from "../../../src/signal/index.ts";
import { anOrigin } from "../../ingest/submission.ts";
import { SIGNAL_TIME } from "../../support/signals.ts";

/** A server, by the port of each HTTP version. */
export interface Compared {
  readonly ports: Readonly<Record<"1.1" | "2", number>>;
  close(): Promise<void>;
}

/** Who calls as this producer is not believed. */
export const STRANGER = "stranger";

/** What the comment of a signal can ask of the domain, besides `refuse <REASON>`. */
export const ASK = {
  /** A refusal in words that no header can hold as they are. */
  refuseInManyScripts: "refuse in many scripts",
  /** A refusal with half a character in its words. */
  refuseWithHalfACharacter: "refuse with half a character",
  /** An answer with every field set. */
  allFields: "all fields",
  duplicate: "duplicate",
  /** An answer that has no form in JSON. */
  unspeakableInJson: "unspeakable in json",
  /** An answer that has no form in protobuf. */
  unspeakableInProtobuf: "unspeakable in protobuf",
  /** A fault of the server. */
  fault: "fault",
  /** No answer until the caller's time is over. */
  wait: "wait",
} as const;

const MANY_SCRIPTS = 'Zu spät: 金 is at 100 % "up" — 🥇 \u00a0+ a\tb\\c/ü?&=#';
const HALF_A_CHARACTER = "Half of it: \ud83e.";
/** Times that google.protobuf.Timestamp cannot hold: the year 20,000, and one beyond 64 bits. */
const UNSPEAKABLE_TIMES: ReadonlyMap<string, Instant> = new Map([
  [ASK.unspeakableInJson, 568_971_820_800_000_000_000n],
  [ASK.unspeakableInProtobuf, 10n ** 40n],
]);

/** Answers each signal as its comment asks. */
const ingest: Ingest = async (submissions, _origin, deadlineMs) => {
  const results: Promise<IngestResult>[] = [];
  for await (const submission of submissions) {
    const result = resultOf(submission, deadlineMs);
    if ("refusal" in submission && submission.refusal.reason === "MALFORMED_BODY") {
      return [await result];
    }
    results.push(result);
  }
  return Promise.all(results);
};

async function resultOf(submitted: Submitted, deadlineMs: number): Promise<IngestResult> {
  const receiveTime = SIGNAL_TIME;
  if (!submitted.ok) return { kind: "refused", refusal: submitted.refusal, receiveTime };
  const submission = submitted.value;
  const { signal, validateOnly } = submission;
  const comment = String(signal?.comment ?? "");
  const refusedFor = (refusal: Refusal): IngestResult => ({
    kind: "refused",
    refusal,
    receiveTime,
  });
  if (signal === undefined) return refusedFor(refuse("INVALID_SIGNAL", "There is no signal."));
  if (comment === ASK.fault) throw new Error("a fault that nobody outside may read about");
  if (comment === ASK.refuseInManyScripts)
    return refusedFor(refuse("INVALID_SIGNAL", MANY_SCRIPTS));
  if (comment === ASK.refuseWithHalfACharacter) {
    const violations = [{ field: "signal.payload.\ud83e", description: "is \udd47" }];
    return refusedFor(refuse("INVALID_SIGNAL", HALF_A_CHARACTER, { violations }));
  }
  if (comment === ASK.wait) {
    await new Promise((resolve) => setTimeout(resolve, deadlineMs - systemClock.monotonicMs() + 5));
  }
  if (deadlineMs <= systemClock.monotonicMs()) {
    return refusedFor(refuse("DEADLINE_EXCEEDED", "The time is over."));
  }
  const reason = comment.replace(/^refuse /, "");
  if (isReason(reason)) return refusedFor(wholeRefusal(reason));
  if (validateOnly) return { kind: "valid", status: "received", receiveTime };
  return {
    kind: "stored",
    // Two servers that read a signal differently give it different ids.
    signalId: digestOf(submission),
    status: comment === ASK.allFields ? "pending_approval" : "received",
    receiveTime: UNSPEAKABLE_TIMES.get(comment) ?? receiveTime,
    duplicate: comment === ASK.duplicate || comment === ASK.allFields,
  };
}

/** A refusal that has everything that a refusal can have. */
function wholeRefusal(reason: Refusal["reason"]): Refusal {
  return refuse(reason, `Refused for ${reason}.`, {
    violations: [
      { field: "signal.instrument", description: "is not – für niemanden – allowed" },
      { field: "signal.entry_price", description: "is 0" },
    ],
    metadata: { server_time: "2025-10-25T14:30:45Z", skew_seconds: "-301.5" },
    ...(reason === "RATE_LIMITED" && { retryAfterMs: 1_500 }),
  });
}

function digestOf(submission: Submission): string {
  const text = JSON.stringify(submission, (_, value) =>
    typeof value === "bigint" ? `${value}` : value,
  );
  return createHash("sha256").update(text).digest("base64");
}

const origin = anOrigin();
const isReady = async () => true;

/** Believes everybody but the stranger, since what a signature is worth has tests of its own. */
const authenticate: Authenticate = async ({ headers }) =>
  headers["x-producer-id"] === STRANGER
    ? { ok: false, refusal: refuse("UNAUTHENTICATED", "No."), producerId: undefined }
    : ok({ origin, standing: { isGood: true }, admitBatch: async () => undefined });

/** The server as it is, on its one port. */
export async function startRouterServer(): Promise<Compared> {
  const shutdown = new AbortController();
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const onRequest = servePublicPort({
    authenticate,
    ingest,
    isReady,
    isLoopbackOnly: false,
    monotonicMs: systemClock.monotonicMs,
    requestLog: createRequestLog({
      log: createLog({ logLevel: "info", hostname: "test" }, nowhere),
      monotonicMs: systemClock.monotonicMs,
    }),
    version: "0.0.0",
    shutdownSignal: shutdown.signal,
  });
  const { monotonicMs } = systemClock;
  const address = { host: "127.0.0.1", port: 0, tls: undefined };
  const listener = await listen({ ...address, onRequest, monotonicMs });
  const { port } = listener.address;
  return {
    ports: { "1.1": port, "2": port },
    async close() {
      shutdown.abort();
      await listener.close(100);
    },
  };
}

/**
 * The protocol library as its documentation shows it. It is told the limits that can be
 * told to it, so that what is compared is what it cannot be told.
 */
export async function startPlainServer(): Promise<Compared> {
  const shutdown = new AbortController();
  const onRequest = connectNodeAdapter({
    routes: plainRoutes,
    shutdownSignal: shutdown.signal,
    readMaxBytes: SIGNAL_REQUEST_MAX_BYTES,
    acceptCompression: [],
    jsonOptions: { ignoreUnknownFields: false },
  });
  const http1 = http.createServer(onRequest);
  const h2 = http2.createServer(onRequest);
  const sessions = new Set<http2.ServerHttp2Session>();
  h2.on("session", (session) => sessions.add(session));
  return {
    ports: { "1.1": await portOf(http1), "2": await portOf(h2) },
    async close() {
      shutdown.abort();
      for (const session of sessions) session.destroy();
      http1.closeAllConnections();
      await Promise.all([http1, h2].map((server) => new Promise((done) => server.close(done))));
    },
  };
}

const CALLER = {
  address: "",
  connection: {},
  isProven: false,
  end: () => undefined,
  prove: () => undefined,
  takeFailure: () => undefined,
  endWithAnswer: async () => undefined,
};

function plainRoutes(router: ConnectRouter): void {
  router.service(IngestService, {
    ingest: plainHandler((request: IngestRequest, call) =>
      answerSignal(ingest, ok(submissionOf(request, {})), call),
    ),
    ingestBatch: plainHandler(async ({ requests }: IngestBatchRequest, call) =>
      requests.length === 0
        ? refused(wrongCount(0))
        : answerBatch(
            ingest,
            requests.map((request) => ok(submissionOf(request, {}))),
            call,
          ),
    ),
  });
  router.service(Health, healthService(isReady, systemClock.monotonicMs));
}

/** The method as a handler that asks who calls, heeds its deadline, and throws its refusals. */
function plainHandler<Input, Output>(
  handle: (message: Input, call: SignedCall) => Promise<Result<Output>>,
) {
  return async (message: Input, context: HandlerContext) => {
    if (context.signal.aborted) throw ConnectError.from(context.signal.reason);
    const headers = Object.fromEntries(context.requestHeader);
    const request = { headers, endpoint: "", body: Buffer.alloc(0), isBatch: false };
    const authentication = await authenticate(request);
    if (!authentication.ok) throw connectErrorOf(authentication.refusal);
    const answer = await handle(message, {
      ...authentication.value,
      deadlineMs: systemClock.monotonicMs() + (context.timeoutMs() ?? REQUEST_TIMEOUT_MS),
      record: { requestId: "", protocol: "http", caller: CALLER },
    });
    if (!answer.ok) throw connectErrorOf(answer.refusal);
    return answer.value as never;
  };
}

async function portOf(server: Server | http2.Http2Server): Promise<number> {
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return (server.address() as AddressInfo).port;
}
