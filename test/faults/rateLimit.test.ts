/**
 * The limit of a producer over several processes: two servers with two workers each, on one
 * database, under more load than it allows.
 */
import { randomUUID } from "node:crypto";
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import postgres from "postgres";
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest";
import { createSignalClient, SignalError } from "../../src/client/index.ts";
import { addProducers } from "../server/support/producers.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import {
  type ServerProcess,
  spawnServer,
  TEST_PRODUCER_ID,
  TEST_SECRET,
  testServerEnv,
} from "../support/server.ts";
import { validSignal } from "../support/signals.ts";
import { postSigned, restJson } from "./support/senders.ts";

const REST_PATH = "/api/v1/signals";
const LIMIT = 25;
const BATCH = 5;
const LOAD_MS = 10_000;
/** So often a sender tries that does not wait as it is told. */
const IMPATIENT_MS = 15;

let database: TestDatabase;
let servers: readonly [ServerProcess, ServerProcess];

beforeEach(async () => {
  database = await createTestDatabase();
  await addProducers(database.url, [{ producerId: TEST_PRODUCER_ID, rateLimitPerSecond: LIMIT }]);
  const env = testServerEnv(database.url, { WORKERS: "2", DATABASE_POOL_SIZE: "3" });
  servers = await Promise.all([spawnServer(env), spawnServer(env)]);
});
afterEach(async () => {
  for (const server of servers) await server.stop();
  await database.drop();
});

/** Makes one attempt. @returns how many signals passed, or how long to wait, in milliseconds. */
type Attempt = () => Promise<{ readonly passed: number; readonly waitMs: number }>;

/** Single signals over one connection of its own. */
function restSender({ url }: ServerProcess): Attempt {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  return async () => {
    const body = Buffer.from(restJson(randomUUID(), validSignal()));
    const { status, headers } = await postSigned(url, REST_PATH, body, { agent });
    if (status === 201) return { passed: 1, waitMs: 0 };
    expect(status).toBe(429);
    return { passed: 0, waitMs: Number(headers["retry-after"]) * 1_000 };
  };
}

/** Batches over one connection of its own, and so to one worker. */
function batchSender({ url }: ServerProcess, signals = BATCH): Attempt {
  const identity = { producerId: TEST_PRODUCER_ID, secret: TEST_SECRET };
  const wire = { serverUrl: url, protocol: "grpc", timeoutMs: 20_000 } as const;
  const client = createSignalClient({ ...identity, ...wire, retry: false, circuitBreaker: false });
  onTestFinished(() => client.close());
  return async () => {
    const signal = { instrument: "GOLD", side: "buy", entryPrice: 1 } as const;
    const items = Array.from({ length: signals }, () => ({ signal, idempotencyKey: randomUUID() }));
    try {
      await client.ingestBatch(items);
      return { passed: signals, waitMs: 0 };
    } catch (thrown) {
      const { reason, retryAfterMs } = SignalError.from(thrown);
      expect(reason).toBe("RATE_LIMITED");
      return { passed: 0, waitMs: Number(retryAfterMs) };
    }
  };
}

/**
 * Sends with all of them for a while.
 *
 * @returns how many signals passed, as a part of what the limit allows in the time that it took.
 */
async function shareOfLimit(attempts: readonly Attempt[], isPatient = false): Promise<number> {
  const startMs = performance.now();
  const endMs = startMs + LOAD_MS;
  const counts = await Promise.all(
    attempts.map(async (attempt) => {
      let count = 0;
      while (performance.now() < endMs) {
        const { passed, waitMs } = await attempt();
        count += passed;
        if (waitMs > 0) await sleep(isPatient ? waitMs : IMPATIENT_MS);
      }
      return count;
    }),
  );
  const passed = counts.reduce((sum, count) => sum + count, 0);
  expect(await storedCount()).toBe(passed);
  const allowed = (LIMIT * (performance.now() - startMs)) / 1_000 + LIMIT;
  return passed / allowed;
}

/** What was refused must not be there. */
async function storedCount(): Promise<number> {
  const sql = postgres(database.url, { max: 1 });
  const [row] = await sql<{ count: number }[]>`SELECT count(*)::integer AS count FROM signals`;
  await sql.end();
  return row?.count ?? Number.NaN;
}

/** The processes that answered. */
function answeringPids(): Set<unknown> {
  const lines = servers.flatMap((server) => server.logLines());
  return new Set(lines.filter(({ path }) => path !== undefined).map(({ pid }) => pid));
}

function expectWithinAFifth(share: number): void {
  expect(share).toBeGreaterThanOrEqual(0.8);
  expect(share).toBeLessThanOrEqual(1.2);
}

test("holds within a fifth when all processes are flooded, with signals and batches", async () => {
  // So many connections leave out one of two workers once in 2^9 times.
  const singles = servers.flatMap((server) => Array.from({ length: 8 }, () => restSender(server)));
  const share = await shareOfLimit([...singles, ...servers.map((server) => batchSender(server))]);
  expectWithinAFifth(share);
  expect(answeringPids().size).toBeGreaterThanOrEqual(3);
});

test("holds within a fifth when one process has all the load", async () => {
  // Over one connection.
  const sender = batchSender(servers[0], 1);
  expectWithinAFifth(await shareOfLimit(Array.from({ length: 8 }, () => sender)));
  expect(answeringPids().size).toBe(1);
});

test("leaves nothing unused when all wait as they are told", async () => {
  const senders = servers.flatMap((server) =>
    Array.from({ length: 6 }, () => batchSender(server, 5)),
  );
  expectWithinAFifth(await shareOfLimit(senders, true));
});
