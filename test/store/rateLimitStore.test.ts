/** The bucket that all processes draw from, by the clock of the database. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, expect, test } from "vitest";
import { createRateLimitStore } from "../../src/store/index.ts";
import { openTestDatabase } from "./openTestDatabase.ts";

const TIMEOUT_MS = 10_000;
const database = await openTestDatabase(10);
const store = createRateLimitStore(database);

let producerId: string;
beforeEach(() => {
  producerId = randomUUID();
});

const lease = (perSecond: number, least: number, most = least) =>
  store.leaseTokens({ producerId, perSecond, least, most }, TIMEOUT_MS);

/** Lets time pass for the bucket. */
const pass = (seconds: number) =>
  database.query(
    TIMEOUT_MS,
    (sql) => sql`
      UPDATE rate_limit_buckets SET refilled_at = refilled_at - ${seconds} * interval '1 second'
      WHERE producer_id = ${producerId}
    `,
  );

test("begins full, and gives whole tokens, from the least to the most that is asked for", async () => {
  expect(await lease(100, 1)).toEqual({ granted: 1, remaining: 99 });
  await pass(-10);
  await database.query(
    TIMEOUT_MS,
    (sql) => sql`UPDATE rate_limit_buckets SET tokens = 50.75
      WHERE producer_id = ${producerId}`,
  );
  await pass(-10);
  expect(await lease(100, 10, 30)).toEqual({ granted: 30, remaining: 20.75 });
  await pass(-10);
  expect(await lease(100, 1, 1_000)).toEqual({ granted: 20, remaining: 0.75 });
});

test("gives nothing if there is less than the least, and says what there is", async () => {
  await lease(10, 9);
  await pass(-10);
  const refused = await lease(10, 2);
  expect(refused.granted).toBe(0);
  expect(refused.remaining).toBeGreaterThanOrEqual(1);
  expect(refused.remaining).toBeLessThan(2);
});

test("is refilled all the time, up to a second's worth", async () => {
  const startMs = performance.now();
  await lease(1_000_000, 1_000_000);
  await sleep(50);
  const { granted, remaining } = await lease(1_000_000, 1, 1_000_000);
  expect(granted + remaining).toBeGreaterThanOrEqual(45_000);
  expect(granted + remaining).toBeLessThanOrEqual((performance.now() - startMs + 1) * 1_000);
  await pass(3_600);
  expect(await lease(1_000_000, 1_000_000)).toEqual({ granted: 1_000_000, remaining: 0 });
});

test("gives no burst after the limit was raised, and holds no more than a lower one", async () => {
  await lease(10, 1);
  await pass(3_600);
  expect((await lease(1_000_000, 1, 1_000_000)).granted).toBe(10);
  await pass(3_600);
  expect((await lease(10, 1, 1_000)).granted).toBe(10);
});

test("is refilled again at once after the clock was set back", async () => {
  await lease(10, 10);
  await pass(-3_600);
  expect((await lease(10, 1)).granted).toBe(0);
  await pass(1);
  expect((await lease(10, 10)).granted).toBe(10);
});

test("gives each token once, however many ask at once, also the first time", async () => {
  const startMs = performance.now();
  const grants = await Promise.all(Array.from({ length: 200 }, () => lease(50, 1)));
  const seconds = (performance.now() - startMs) / 1_000;
  const granted = grants.reduce((sum, grant) => sum + grant.granted, 0);
  expect(granted).toBeGreaterThanOrEqual(50);
  expect(granted).toBeLessThanOrEqual(50 + Math.ceil(50 * seconds));
});

test("is each producer's own", async () => {
  await lease(1, 1);
  producerId = randomUUID();
  expect((await lease(1, 1)).granted).toBe(1);
});
