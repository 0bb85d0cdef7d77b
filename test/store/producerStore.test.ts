import { randomBytes, randomUUID } from "node:crypto";
import { beforeEach, expect, test } from "vitest";
import { createProducerStore, type NewProducer } from "../../src/store/index.ts";
import { SECOND } from "./builders.ts";
import { openTestDatabase } from "./openTestDatabase.ts";

const TIMEOUT_MS = 5_000;

const database = await openTestDatabase(2);
const store = createProducerStore(database);

beforeEach(async () => {
  await database.query(TIMEOUT_MS, (sql) => sql`TRUNCATE producers CASCADE`);
});

function aProducer(overrides: Partial<NewProducer> = {}): NewProducer {
  return {
    producerId: "bot-1",
    requireApproval: false,
    allowedInstruments: undefined,
    rateLimitPerSecond: undefined,
    ...overrides,
  };
}

function aSecret() {
  return { secretId: randomUUID(), sealed: new Uint8Array(randomBytes(60)) };
}

const now = () => BigInt(Date.now()) * 1_000_000n;

test("gives producers as they were added, in the order of their ids", async () => {
  const plain = aProducer({ producerId: "b" });
  const limited = aProducer({
    producerId: "a",
    requireApproval: true,
    allowedInstruments: new Set(["GOLD", "EURUSD"]),
    rateLimitPerSecond: 7,
  });
  for (const producer of [plain, limited]) {
    expect(await store.ensureProducer(producer, TIMEOUT_MS)).toBe(true);
  }
  expect(await store.loadProducers(TIMEOUT_MS)).toEqual([
    { ...limited, enabled: true, secrets: [] },
    { ...plain, enabled: true, secrets: [] },
  ]);
});

test("leaves a producer alone that exists", async () => {
  await store.ensureProducer(aProducer({ requireApproval: true }), TIMEOUT_MS);
  expect(await store.setProducerEnabled("bot-1", false, TIMEOUT_MS)).toBe(true);
  expect(await store.ensureProducer(aProducer(), TIMEOUT_MS)).toBe(false);
  expect(await store.loadProducers(TIMEOUT_MS)).toMatchObject([
    { requireApproval: true, enabled: false },
  ]);
});

test("says that an unknown producer cannot be enabled", async () => {
  expect(await store.setProducerEnabled("nobody", true, TIMEOUT_MS)).toBe(false);
});

test("gives the secrets that are live, the newest first", async () => {
  await store.ensureProducer(aProducer(), TIMEOUT_MS);
  const older = aSecret();
  const newer = aSecret();
  await store.addProducerSecret("bot-1", older, now() + 60n * SECOND, TIMEOUT_MS);
  await store.addProducerSecret("bot-1", newer, undefined, TIMEOUT_MS);
  await store.addProducerSecret("bot-1", aSecret(), now() - SECOND, TIMEOUT_MS);
  const [producer] = await store.loadProducers(TIMEOUT_MS);
  expect(producer?.secrets).toEqual([newer, older]);
});

test("adds a secret once", async () => {
  await store.ensureProducer(aProducer(), TIMEOUT_MS);
  const secret = aSecret();
  await store.addProducerSecret("bot-1", secret, undefined, TIMEOUT_MS);
  await store.addProducerSecret(
    "bot-1",
    { ...aSecret(), secretId: secret.secretId },
    undefined,
    TIMEOUT_MS,
  );
  const [producer] = await store.loadProducers(TIMEOUT_MS);
  expect(producer?.secrets).toEqual([secret]);
});
