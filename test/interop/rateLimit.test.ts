/**
 * A producer with a limit, over every protocol: what passes, what it is told, and when it may
 * come again.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  createSignalClient,
  type IngestItem,
  type SignalClientOptions,
  SignalError,
} from "../../src/client/index.ts";
import { run } from "../cli/support/run.ts";
import { signalJson } from "../cli/support/signals.ts";
import {
  openOutbox,
  outboxPath,
  RecordingAlerts,
  SIGNAL,
  silent,
} from "../client/outbox/support.ts";
import { addProducers } from "../server/support/producers.ts";
import { bodies, send } from "../server/support/wire.ts";
import { eventually } from "../support/eventually.ts";
import { startProxy } from "../support/proxy.ts";
import { serveFile } from "../support/serveFile.ts";
import { startTestServer, TEST_SECRET } from "../support/server.ts";

const WIRES = [
  { protocol: "grpc" },
  { protocol: "grpc-web" },
  { protocol: "connect", codec: "binary" },
  { protocol: "connect", codec: "json" },
] as const satisfies Partial<SignalClientOptions>[];

/** Each test has producers of its own, with full buckets. */
const LIMITS: Readonly<Record<string, number>> = {
  rest: 1,
  duplicate: 1,
  validated: 1,
  invalid: 1,
  patient: 5,
  outbox: 10,
  send: 10,
  stall: 1_000,
  refuse: 1_000,
  ...Object.fromEntries(WIRES.map((wire) => [botOf(wire, "single"), 1])),
  ...Object.fromEntries(WIRES.map((wire) => [botOf(wire, "batch"), 20])),
  ...Object.fromEntries(WIRES.map((wire) => [botOf(wire, "bigger"), 20])),
};

function botOf(wire: Partial<SignalClientOptions>, test: "single" | "batch" | "bigger"): string {
  return [wire.protocol, wire.codec ?? "", test].join(".");
}

const file = serveFile({}, (databaseUrl) =>
  addProducers(
    databaseUrl,
    Object.entries(LIMITS).map(([producerId, rateLimitPerSecond]) => ({
      producerId,
      rateLimitPerSecond,
    })),
  ),
);

function clientOf(producerId: string, options: Partial<SignalClientOptions> = {}) {
  const serverUrl = file.server.url;
  const identity = { serverUrl, producerId, secret: TEST_SECRET };
  const client = createSignalClient({
    ...identity,
    retry: false,
    circuitBreaker: false,
    ...options,
  });
  onTestFinished(() => client.close());
  return client;
}

function signals(count: number): IngestItem[] {
  return Array.from({ length: count }, () => ({ signal: SIGNAL, idempotencyKey: randomUUID() }));
}

/** How many signals of a producer are stored. */
async function storedOf(producerId: string): Promise<number> {
  const [row] = await file.sql<{ count: number }[]>`
    SELECT count(*)::integer AS count FROM signals WHERE producer_id = ${producerId}
  `;
  return row?.count ?? Number.NaN;
}

/** The refusal that a call comes to. */
async function refusalOf(call: Promise<unknown>): Promise<SignalError> {
  const thrown = await failureOf(call);
  if (thrown instanceof SignalError) return thrown;
  return expect.unreachable("it passed");
}

/** How a call ended: `undefined` if it passed. */
function failureOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => undefined,
    (error: unknown) => error,
  );
}

/**
 * Calls until the limit is reached, which takes one call more than it allows, unless this
 * machine is so busy that each takes longer than a token.
 *
 * @returns how many calls passed, and how long to wait, in milliseconds.
 */
async function untilLimited(
  call: () => Promise<unknown>,
  limit: number,
): Promise<{ readonly passed: number; readonly waitMs: number }> {
  for (let passed = 0; passed < 50; passed++) {
    const error = await failureOf(call());
    if (error === undefined) continue;
    if (!(error instanceof SignalError)) throw error;
    const { reason, message, retryAfterMs = Number.NaN } = error;
    expect([reason, retryAfterMs > 0, retryAfterMs <= 1_000]).toEqual(["RATE_LIMITED", true, true]);
    const most = limit === 1 ? "1 signal" : `${limit} signals`;
    const words = `This producer may send at most ${most} a second. Not stored by this request.`;
    expect(message).toContain(words);
    return { passed, waitMs: retryAfterMs };
  }
  return expect.unreachable("no call was refused");
}

describe.each(WIRES)("over %j", (wire) => {
  test("a signal too many is refused until the time that it is told, and passes then", async () => {
    const producerId = botOf(wire, "single");
    const client = clientOf(producerId, wire);
    const { passed, waitMs } = await untilLimited(() => client.ingest(SIGNAL), 1);
    expect(passed).toBeGreaterThanOrEqual(1);
    const refusedMs = performance.now();
    const error = await failureOf(client.ingest(SIGNAL));
    const leftMs = waitMs - (performance.now() - refusedMs);
    // Else this machine was too busy to ask again in time.
    if (leftMs > 0) {
      expect(error).toMatchObject({ reason: "RATE_LIMITED" });
      expect(await storedOf(producerId)).toBe(passed);
      await sleep(leftMs + 1);
      expect((await client.ingest(SIGNAL)).outcome).toBe("stored");
    }
  });

  test("a batch counts by its signals, and passes or is refused as a whole", async () => {
    const producerId = botOf(wire, "batch");
    const client = clientOf(producerId, wire);
    const { passed, waitMs } = await untilLimited(() => client.ingestBatch(signals(20)), 20);
    expect(await storedOf(producerId)).toBe(passed * 20);
    await sleep(waitMs + 1);
    await client.ingestBatch(signals(20));
    expect(await storedOf(producerId)).toBe((passed + 1) * 20);
  });

  test("a batch that is bigger than the limit is refused for good, and takes nothing", async () => {
    const producerId = botOf(wire, "bigger");
    const client = clientOf(producerId, wire);
    for (let repeat = 0; repeat < 5; repeat++) {
      const error = await refusalOf(client.ingestBatch(signals(21)));
      const description =
        "must hold at most 20 requests, since this producer may send 20 signals a second";
      expect(error).toMatchObject({
        reason: "INVALID_SIGNAL",
        retryable: false,
        retryAfterMs: undefined,
        violations: [{ field: "requests", description }],
      });
      expect(error.message).toContain(`${description}, not 21. Not stored by this request.`);
    }
    expect(await storedOf(producerId)).toBe(0);
    await client.ingestBatch(signals(20));
    expect(await storedOf(producerId)).toBe(20);
  });
});

test("over REST, Retry-After says when the next signal passes", async () => {
  const post = () => send(file.server.url, "REST", bodies(), { signing: { producerId: "rest" } });
  let answer = await post();
  for (let sent = 1; sent < 50 && answer.httpStatus === 201; sent++) answer = await post();
  expect([answer.httpStatus, answer.headers["retry-after"]]).toEqual([429, "1"]);
  await sleep(1_001);
  expect((await post()).httpStatus).toBe(201);
});

describe("a token is taken by", () => {
  test("a duplicate", async () => {
    const client = clientOf("duplicate");
    const signal = { ...SIGNAL, signalTime: new Date() };
    await untilLimited(() => client.ingest(signal, { idempotencyKey: "again" }), 1);
    expect(await storedOf("duplicate")).toBe(1);
  });

  test("a signal that is only validated", async () => {
    const client = clientOf("validated");
    await untilLimited(() => client.ingest(SIGNAL, { validateOnly: true }), 1);
  });

  test("an invalid signal", async () => {
    const reasons = new Set<unknown>();
    for (let sent = 0; sent < 50 && !reasons.has("RATE_LIMITED"); sent++) {
      const signing = { producerId: "invalid" };
      const invalid = bodies({}, { side: "none" });
      const answer = await send(file.server.url, "REST", invalid, { signing });
      reasons.add(answer.error?.reason);
    }
    expect([...reasons]).toEqual(["INVALID_SIGNAL", "RATE_LIMITED"]);
  });
});

test("a client that retries gets through", async () => {
  const producerId = "patient";
  const client = clientOf(producerId, {
    retry: { baseDelayMs: 10, retriesMax: 10 },
    logger: silent,
  });
  for (const { signal, idempotencyKey } of signals(12))
    await client.ingest(signal, { idempotencyKey });
  expect(await storedOf(producerId)).toBe(12);
});

test("an outbox whose batches are bigger than the limit sends smaller ones, and loses none", async () => {
  const producerId = "outbox";
  const alerts = new RecordingAlerts();
  const outbox = openOutbox({
    path: outboxPath(),
    client: clientOf(producerId),
    alerts,
    retry: { baseDelayMs: 10, delayMaxMs: 100 },
  });
  for (const { signal } of signals(45)) await outbox.enqueue(signal);
  await eventually("all are stored", async () => (await storedOf(producerId)) === 45, 40_000);
  expect(alerts.sent).toEqual([]);
});

test("`countersign send` sends a batch that is bigger than the limit in parts", async () => {
  const producerId = "send";
  const input = Array.from({ length: 30 }, () => signalJson()).join("\n");
  const env = {
    PRODUCER_ID: producerId,
    HMAC_PRODUCER_SECRET: TEST_SECRET,
    OUTBOUND_SERVER_URL: file.server.url,
  };
  const { code } = await run(["send", "--stdin", "--retries", "10"], { env, input });
  expect([code, await storedOf(producerId)]).toEqual([0, 30]);
});

test.each(["stall", "refuse"] as const)(
  "while the database does not answer (%s), nothing passes or hangs, and then it goes on",
  async (fault) => {
    const proxy = await startProxy(file.database.url);
    onTestFinished(() => proxy.close());
    const server = await startTestServer(proxy.url);
    onTestFinished(() => server.close());
    const client = clientOf(fault, { serverUrl: server.url });
    expect((await client.ingest(SIGNAL)).outcome).toBe("stored");
    proxy[fault]();
    const errors = await Promise.all([
      refusalOf(client.ingest(SIGNAL)),
      refusalOf(client.ingestBatch(signals(500))),
    ]);
    for (const { reason, message } of errors) {
      expect(reason).toBe("STORE_UNAVAILABLE");
      expect(message).toContain("Not stored by this request.");
    }
    await proxy.heal();
    await eventually("it goes on", () =>
      client.ingest(SIGNAL).then(
        () => true,
        () => false,
      ),
    );
    expect(await storedOf(fault)).toBe(2);
  },
);
