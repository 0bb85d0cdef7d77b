/**
 * Every reason to refuse, over every protocol, against the table that clients rely on.
 */
import { once } from "node:events";
import http2 from "node:http2";
import { create, type DescMethod, toBinary, toJsonString } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { ProducerService } from "../../../gen/signals/v1/producer_service_pb.ts";
import { Side } from "../../../gen/signals/v1/signal_pb.ts";
import { REASONS, type Reason, refuse, signalToProto } from "../../../src/signal/index.ts";
import { allOf } from "../../support/allOf.ts";
import { holdInserts } from "../../support/postgres.ts";
import { type FaultyProxy, startProxy } from "../../support/proxy.ts";
import { fileDatabase } from "../../support/serveFile.ts";
import { startTestServer, TEST_PRODUCER_ID, type TestServer } from "../../support/server.ts";
import { payloadOfBytes, validSignal } from "../../support/signals.ts";
import { addProducers } from "../support/producers.ts";
import { startRouter } from "../support/routerServer.ts";
import { expectNoLeak } from "../support/secrecy.ts";
import { addTokens, aToken, clientOf } from "../support/tokens.ts";
import {
  type Bodies,
  bodies,
  framed,
  grpcError,
  INGEST_PATH,
  PROTOCOLS,
  type Protocol,
  type SendOptions,
  sameBytes,
  send,
  type WireAnswer,
} from "../support/wire.ts";

/** The protocols of calls with a token. */
const RPC_PROTOCOLS = PROTOCOLS.filter((protocol) => protocol !== "REST");

interface Row {
  readonly code: string;
  readonly http: number;
  /** The status over REST, where it differs. */
  readonly rest?: number;
  /** Whether the answer says when to try again. */
  readonly isRetried?: boolean;
  /** Whether the signal may be stored all the same; otherwise the answer says that it is not. */
  readonly mayBeStored?: boolean;
}

const TABLE: Readonly<Record<Reason, Row>> = {
  MALFORMED_BODY: { code: "invalid_argument", http: 400 },
  INVALID_SIGNAL: { code: "invalid_argument", http: 400, rest: 422 },
  UNAUTHENTICATED: { code: "unauthenticated", http: 401 },
  CLOCK_SKEW: { code: "unauthenticated", http: 401 },
  PRODUCER_DISABLED: { code: "permission_denied", http: 403 },
  INSTRUMENT_NOT_ALLOWED: { code: "permission_denied", http: 403 },
  SCOPE_MISSING: { code: "permission_denied", http: 403 },
  INVALID_REQUEST: { code: "invalid_argument", http: 400 },
  NOT_FOUND: { code: "not_found", http: 404 },
  ALREADY_EXISTS: { code: "already_exists", http: 409 },
  ROTATION_UNDER_WAY: { code: "already_exists", http: 409 },
  IDEMPOTENCY_KEY_REUSED: { code: "already_exists", http: 409 },
  SIGNAL_EXPIRED: { code: "failed_precondition", http: 400, rest: 422 },
  SIGNAL_NOT_PENDING: { code: "failed_precondition", http: 400, rest: 409 },
  CONTENT_MISMATCH: { code: "failed_precondition", http: 400, rest: 409 },
  BODY_TOO_LARGE: { code: "resource_exhausted", http: 413 },
  PAYLOAD_TOO_LARGE: { code: "resource_exhausted", http: 413 },
  RATE_LIMITED: { code: "resource_exhausted", http: 429, isRetried: true },
  OVERLOADED: { code: "unavailable", http: 503, isRetried: true },
  STORE_UNAVAILABLE: { code: "unavailable", http: 503, isRetried: true, mayBeStored: true },
  DEADLINE_EXCEEDED: { code: "deadline_exceeded", http: 504, isRetried: true, mayBeStored: true },
  INTERNAL: { code: "internal", http: 500, isRetried: true, mayBeStored: true },
};

/** Nothing that is served yet can give these. */
const NOT_YET_REACHABLE: readonly Reason[] = ["SIGNAL_NOT_PENDING", "CONTENT_MISMATCH"];

/** A request that is refused, and what its answer must hold besides the row of the table. */
interface Case {
  readonly bytes: Bodies;
  readonly options?: SendOptions;
  /** The wrong fields, as paths over RPC. */
  readonly fields?: readonly string[];
}

const EXPIRED = new Date("2025-10-25T14:31:00Z");

/** What can be told from one request to a server that is well. */
const CASES: Partial<Readonly<Record<Reason, Case>>> = {
  MALFORMED_BODY: { bytes: sameBytes(Buffer.from([0x80])) },
  INVALID_SIGNAL: {
    bytes: bodies(
      {
        signal: {
          ...signalToProto(validSignal()),
          instrument: "gold",
          side: Side.UNSPECIFIED,
          entryPrice: -1,
          confidence: 2,
        },
        idempotencyKey: "a key",
      },
      {
        instrument: "gold",
        side: "long",
        entry_price: -1,
        confidence: 2,
        idempotency_key: "a key",
      },
    ),
    fields: [
      "signal.instrument",
      "signal.side",
      "signal.entry_price",
      "signal.confidence",
      "idempotency_key",
    ],
  },
  UNAUTHENTICATED: { bytes: bodies(), options: { signing: { secret: "not-the-secret-0000001" } } },
  CLOCK_SKEW: { bytes: bodies(), options: { signing: { timestamp: "2025-10-25T14:30:45Z" } } },
  PRODUCER_DISABLED: { bytes: bodies(), options: { signing: { producerId: "disabled-bot" } } },
  INSTRUMENT_NOT_ALLOWED: {
    bytes: bodies(),
    options: { signing: { producerId: "silver-bot" } },
    fields: ["signal.instrument"],
  },
  SIGNAL_EXPIRED: {
    bytes: bodies(
      {
        signal: {
          ...signalToProto(validSignal()),
          expireTime: timestampFromMs(EXPIRED.getTime()),
        },
      },
      { expire_time: EXPIRED.toISOString() },
    ),
    fields: ["signal.expire_time"],
  },
  BODY_TOO_LARGE: { bytes: sameBytes(Buffer.alloc(64 * 1024 + 1, "{")) },
  PAYLOAD_TOO_LARGE: {
    bytes: bodies(
      { signal: signalToProto(validSignal({ payload: payloadOfBytes(32_769) })) },
      { payload: payloadOfBytes(32_769) },
    ),
    fields: ["signal.payload"],
  },
};

/** A call with a token that is refused. There are none over REST. */
interface TokenCase {
  readonly method: DescMethod;
  readonly request?: Readonly<Record<string, unknown>>;
  readonly token?: string;
  readonly fields?: readonly string[];
}

const admin = aToken();
const reader = aToken({ scopes: ["read"] });
const unknown = aToken();
const { createProducer, getProducer, rotateProducerSecret, updateProducer } =
  ProducerService.method;
const [ROTATED, NOBODY] = ["silver-bot", "nobody"];

/** What calls with a token can be refused for, beside what the store does. */
const TOKEN_CASES: Partial<Readonly<Record<Reason, TokenCase>>> = {
  UNAUTHENTICATED: { method: getProducer, token: unknown.text },
  SCOPE_MISSING: { method: getProducer, token: reader.text },
  INVALID_REQUEST: {
    method: updateProducer,
    request: { producer: { producerId: "a b" }, updateMask: { paths: ["enabled"] } },
    fields: ["producer.producer_id", "update_mask"],
  },
  NOT_FOUND: { method: getProducer, request: { producerId: NOBODY } },
  ALREADY_EXISTS: { method: createProducer, request: { producerId: TEST_PRODUCER_ID } },
  ROTATION_UNDER_WAY: { method: rotateProducerSecret, request: { producerId: ROTATED } },
};

/** Each has a test of its own below, since more than one request is needed. */
const STAGED: readonly Reason[] = [
  "IDEMPOTENCY_KEY_REUSED",
  "RATE_LIMITED",
  "OVERLOADED",
  "STORE_UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "INTERNAL",
];

const database = fileDatabase();
let proxy: FaultyProxy;
let server: TestServer;
const answers: WireAnswer[] = [];

beforeAll(async () => {
  proxy = await startProxy(database.url);
  await addProducers(database.url, [
    { producerId: "disabled-bot", isEnabled: false },
    { producerId: "silver-bot", allowedInstruments: ["SILVER"] },
    ...PROTOCOLS.map((protocol) => ({ producerId: limitedBot(protocol), rateLimitPerSecond: 1 })),
  ]);
  await addTokens(database.url, [admin, reader]);
  server = await startTestServer(proxy.url, { OPS_PORT: "0" });
  const producers = clientOf(ProducerService, server.opsUrl, admin);
  await producers.rotateProducerSecret({ producerId: ROTATED });
});

afterAll(async () => {
  await server.close();
  await proxy.close();
});

function limitedBot(protocol: Protocol): string {
  return `limited-${protocol.replace(" ", "-")}`;
}

/** Calls a method that takes a token. */
async function callKept(
  protocol: Protocol,
  { method, request = {}, token = admin.text }: TokenCase,
  options: SendOptions = {},
) {
  const message = create(method.input, request);
  const bytes = {
    binary: toBinary(method.input, message),
    json: Buffer.from(toJsonString(method.input, message)),
    rest: Buffer.alloc(0),
  };
  const target = { path: `/${method.parent.typeName}/${method.name}`, token };
  return sendKept(String(server.opsUrl), protocol, bytes, { ...options, method: target });
}

async function sendKept(url: string, protocol: Protocol, bytes: Bodies, options?: SendOptions) {
  const answer = await send(url, protocol, bytes, options);
  answers.push(answer);
  return answer;
}

/** What a message says of whether the signal is stored. */
const OF_SIGNALS = {
  stored: /^[A-Z].*\bknown\b.*\bstored\b.*\.$/s,
  notStored: /^[A-Z].*\. Not stored by this request\.$/s,
};
/** A call that stores no signal does not say that it stored none. */
const OF_CALLS = { stored: /^[A-Z][^$]*\.$/, notStored: /^[A-Z](?!.*Not stored).*\.$/s };

/** Expects the table's row for a reason, and everything that every error has. */
function expectRow(
  answer: WireAnswer,
  protocol: Protocol,
  reason: Reason,
  fields: readonly string[] = [],
  messages = OF_SIGNALS,
): void {
  const { code, http, rest, isRetried = false, mayBeStored = false } = TABLE[reason];
  const isRest = protocol === "REST";
  const isGrpc = protocol === "gRPC" || protocol === "gRPC-Web";
  expect(answer.error?.reason).toBe(reason);
  expect(answer.httpStatus).toBe(isGrpc ? 200 : isRest ? (rest ?? http) : http);
  expect(answer.headers["x-request-id"]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}$/);
  expect(answer.error?.message).toMatch(mayBeStored ? messages.stored : messages.notStored);
  if (isRest) {
    expect(answer.headers["content-type"]).toBe("application/problem+json");
    expect(answer.error?.metadata).toMatchObject({
      type: `/errors#${reason.toLowerCase()}`,
      status: rest ?? http,
      request_id: answer.headers["x-request-id"],
    });
  } else {
    expect(answer.error?.code).toBe(code);
    expect(answer.error?.domain).toBe("signals.v1");
  }
  const expectedFields = isRest ? fields.map((field) => field.replace("signal.", "")) : fields;
  const violations = answer.error?.violations ?? [];
  expect(violations.map(({ field }) => field).sort()).toEqual([...expectedFields].sort());
  for (const { description } of violations) expect(description).toMatch(/^[a-z].*[^.]$/);
  if (isRetried) expect(answer.error?.retryAfterMs).toBeGreaterThan(0);
  else expect(answer.error?.retryAfterMs).toBeUndefined();
}

test("lists every reason, as reachable or as not yet", () => {
  const cases = new Set([...Object.keys(CASES), ...Object.keys(TOKEN_CASES)]);
  const listed = [...cases, ...STAGED, ...NOT_YET_REACHABLE];
  expect(listed.sort()).toEqual([...REASONS].sort());
});

describe.each(Object.entries(CASES) as [Reason, Case][])("%s", (reason, { bytes, ...rest }) => {
  test.each(PROTOCOLS)("has its code, status and details over %s", async (protocol) => {
    const answer = await sendKept(server.url, protocol, bytes, rest.options);
    expectRow(answer, protocol, reason, rest.fields);
  });
});

describe.each(Object.entries(TOKEN_CASES) as [Reason, TokenCase][])(
  "%s of a call with a token",
  (reason, tokenCase) => {
    test.each(RPC_PROTOCOLS)("has its code, status and details over %s", async (protocol) => {
      const answer = await callKept(protocol, tokenCase);
      expectRow(answer, protocol, reason, tokenCase.fields, OF_CALLS);
    });
  },
);

test.each(RPC_PROTOCOLS)(
  "a body that is none, or too large, is refused over %s",
  async (protocol) => {
    const method = { path: "/signals.v1.ProducerService/GetProducer", token: admin.text };
    const url = String(server.opsUrl);
    for (const [reason, bytes] of [
      ["MALFORMED_BODY", sameBytes(Buffer.from([0x80]))],
      ["BODY_TOO_LARGE", sameBytes(Buffer.alloc(64 * 1024 + 1, "{"))],
    ] as const) {
      const answer = await sendKept(url, protocol, bytes, { method });
      expectRow(answer, protocol, reason, [], OF_CALLS);
    }
  },
);

test.each(PROTOCOLS)(
  "CLOCK_SKEW tells the server's time and the skew over %s",
  async (protocol) => {
    const timestamp = new Date(Date.now() - 301_500).toISOString();
    const answer = await sendKept(server.url, protocol, bodies(), { signing: { timestamp } });
    const { server_time, skew_seconds } = answer.error?.metadata ?? {};
    expect(Math.abs(Date.parse(String(server_time)) - Date.now())).toBeLessThan(60_000);
    expect(Number(skew_seconds)).toBeLessThanOrEqual(-301.5);
    expect(Number(skew_seconds)).toBeGreaterThan(-361);
  },
);

test.each(PROTOCOLS)(
  "IDEMPOTENCY_KEY_REUSED has its code, status and details over %s",
  async (protocol) => {
    const key = `reused-${protocol.replace(" ", "-")}`;
    const withPrice = (entryPrice: number) =>
      bodies(
        { signal: signalToProto(validSignal({ entryPrice })), idempotencyKey: key },
        { entry_price: entryPrice, idempotency_key: key },
      );
    const first = await sendKept(server.url, protocol, withPrice(2_650));
    expect(first.error).toBeUndefined();
    const second = await sendKept(server.url, protocol, withPrice(2_651));
    expectRow(second, protocol, "IDEMPOTENCY_KEY_REUSED");
  },
);

test.each(PROTOCOLS)("RATE_LIMITED has its code, status and details over %s", async (protocol) => {
  const signing = { producerId: limitedBot(protocol) };
  // It may take more than a second until two are here, but hardly until all ten are.
  for (let sent = 0; sent < 10; sent++) {
    const answer = await sendKept(server.url, protocol, bodies(), { signing });
    if (answer.error === undefined) continue;
    expectRow(answer, protocol, "RATE_LIMITED");
    expect(answer.error.retryAfterMs).toBeLessThanOrEqual(1_000);
    expect(answer.error.message).toContain("may send at most 1 signal a second.");
    return;
  }
  expect.unreachable("ten requests passed a limit of one a second");
});

test("OVERLOADED has its code, status and details over every protocol", {
  timeout: 180_000,
}, async () => {
  const payload = payloadOfBytes(32_000);
  const large = bodies({ signal: signalToProto(validSignal({ payload })) }, { payload });
  const release = await holdInserts(database.url);
  // Signals that wait for the table fill the memory that proven requests may take.
  const full = Promise.withResolvers<void>();
  const waiting = Array.from({ length: 900 }, async () => {
    const answer = await send(server.url, "REST", large);
    if (answer.error?.reason === "OVERLOADED") full.resolve();
  });
  onTestFinished(async () => void (await Promise.allSettled(waiting)));
  await full.promise;
  for (const protocol of PROTOCOLS) {
    expectRow(await sendKept(server.url, protocol, large), protocol, "OVERLOADED");
  }
  const health = await fetch(`${server.url}/api/v1/health`);
  expect(health.status).toBe(200);
  await release();
});

test("takes signals again as soon as the memory is free", async () => {
  for (const protocol of PROTOCOLS) {
    await expect
      .poll(async () => (await sendKept(server.url, protocol, bodies())).error?.reason, {
        timeout: 20_000,
      })
      .toBeUndefined();
  }
});

test("DEADLINE_EXCEEDED has its code, status and details over every protocol with a timeout", async () => {
  const release = await holdInserts(database.url);
  const protocols = PROTOCOLS.filter((protocol) => protocol !== "REST");
  await Promise.all(
    protocols.map(async (protocol) => {
      const answer = await sendKept(server.url, protocol, bodies(), { timeoutMs: 300 });
      expectRow(answer, protocol, "DEADLINE_EXCEEDED");
    }),
  );
  await release();
});

test("STORE_UNAVAILABLE comes in time while a table is locked", async () => {
  const release = await holdInserts(database.url);
  const startMs = performance.now();
  const answer = await sendKept(server.url, "REST", bodies());
  expectRow(answer, "REST", "STORE_UNAVAILABLE");
  expect(performance.now() - startMs).toBeLessThan(20_000);
  await release();
});

test("calls with a token get DEADLINE_EXCEEDED and STORE_UNAVAILABLE, too", async () => {
  const release = await holdInserts(database.url, undefined, "producers");
  const create = { method: createProducer, request: { producerId: "never-made" } };
  for (const protocol of RPC_PROTOCOLS) {
    const answer = await callKept(protocol, create, { timeoutMs: 300 });
    expectRow(answer, protocol, "DEADLINE_EXCEEDED", [], OF_CALLS);
    expect(answer.error?.message).toContain("not known whether the producer was made");
  }
  await release();
  proxy.refuse();
  for (const protocol of RPC_PROTOCOLS) {
    const answer = await callKept(protocol, { method: getProducer, request: { producerId: "x" } });
    expectRow(answer, protocol, "STORE_UNAVAILABLE", [], OF_CALLS);
  }
  await proxy.heal();
});

test("STORE_UNAVAILABLE has its code, status and details over every protocol", async () => {
  proxy.refuse();
  for (const protocol of PROTOCOLS) {
    const answer = await sendKept(server.url, protocol, bodies());
    expectRow(answer, protocol, "STORE_UNAVAILABLE");
  }
  await proxy.heal();
  for (const protocol of PROTOCOLS) {
    await expect
      .poll(async () => (await sendKept(server.url, protocol, bodies())).error?.reason, {
        timeout: 20_000,
      })
      .toBeUndefined();
  }
});

test("INTERNAL has its code, status and details over every protocol", async () => {
  const broken = await startRouter(async () => {
    throw new Error("the domain broke");
  });
  onTestFinished(() => broken.close());
  for (const protocol of PROTOCOLS) {
    const answer = await sendKept(broken.url, protocol, bodies());
    expectRow(answer, protocol, "INTERNAL");
    expect(answer.text).not.toContain("the domain broke");
    expect(answer.error?.message).toContain(answer.headers["x-request-id"]);
    const lines = broken.logLines.filter(
      (line) => line.request_id === answer.headers["x-request-id"],
    );
    expect(JSON.stringify(lines)).toContain("the domain broke");
    expectNoLeak(JSON.stringify(lines), database.url);
  }
});

test("over gRPC, the details are in the trailers, in base64 without padding", async () => {
  const session = http2.connect(server.url);
  onTestFinished(() => session.close());
  const headers = { "content-type": "application/grpc", te: "trailers" };
  const stream = session.request({ ":method": "POST", ":path": INGEST_PATH, ...headers });
  const response = once(stream, "response");
  const trailed = once(stream, "trailers");
  stream.end(framed(Buffer.alloc(0)));
  stream.resume();
  const [answered] = await response;
  const [trailers] = await trailed;
  expect(Object.keys(answered).filter((name) => name.startsWith("grpc-"))).toEqual([]);
  expect(trailers["grpc-status-details-bin"]).toMatch(/^[A-Za-z0-9+/]+$/);
  expect(grpcError(trailers)).toMatchObject({ reason: "UNAUTHENTICATED" });
});

test("DEADLINE_EXCEEDED is 504 over REST, too, which has no timeout of its own", async () => {
  const slow = await startRouter(async (submissions, { receiveTime }) => {
    expect(await allOf(submissions)).toHaveLength(1);
    return [
      {
        kind: "refused",
        refusal: refuse("DEADLINE_EXCEEDED", "Not known to be stored."),
        receiveTime,
      },
    ];
  });
  onTestFinished(() => slow.close());
  const answer = await sendKept(slow.url, "REST", bodies());
  expectRow(answer, "REST", "DEADLINE_EXCEEDED");
});

test("gives nothing away in any answer and any line of the log", () => {
  expect(answers.length).toBeGreaterThan(60);
  for (const { text } of answers) expectNoLeak(text, database.url);
  const log = server.logLines.map((line) => JSON.stringify(line));
  expect(log.length).toBeGreaterThan(60);
  for (const line of log) expectNoLeak(line, database.url);
});
