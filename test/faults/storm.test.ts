/**
 * Promise 2, once: one row per producer and key, however many senders race for it, over
 * whatever protocol and whichever server process.
 */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Signal } from "../../src/signal/index.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { type ServerProcess, spawnServer, testServerEnv } from "../support/server.ts";
import { validSignal } from "../support/signals.ts";
import { openReader, type Reader } from "./support/ledger.ts";
import { closeSenders, type Outcome, openSenders, type Sender } from "./support/senders.ts";

const SENDS = 1_000;

let database: TestDatabase;
let reader: Reader;
let servers: ServerProcess[] = [];
let senders: Sender[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  reader = openReader(database.url);
  const env = testServerEnv(database.url);
  servers = await Promise.all([spawnServer(env), spawnServer(env)]);
  senders = servers.flatMap(({ url }) => openSenders(url));
});

afterAll(async () => {
  await closeSenders(senders);
  await Promise.all(servers.map((server) => server.stop()));
  await reader.close();
  await database.drop();
});

interface Attempt {
  readonly key: string;
  readonly signal: Signal;
}

/** Sends all at once, over every protocol and both servers in turn, each signed by itself. */
function sendAtOnce(attempts: readonly Attempt[]): Promise<Outcome[]> {
  return Promise.all(
    attempts.map(({ key, signal }, index) => {
      const sender = senders[index % senders.length] as Sender;
      return sender.send(key, signal);
    }),
  );
}

/** The rows under these keys. */
async function rowsOf(keys: ReadonlySet<string>) {
  const rows = await reader.read();
  return rows.filter(({ idempotencyKey }) => keys.has(String(idempotencyKey)));
}

function acknowledgements(outcomes: readonly Outcome[]) {
  return outcomes.filter((outcome) => outcome.kind === "acknowledged");
}

test("1,000 sends of one key at once make one row, and every one is told its id", async () => {
  const key = randomUUID();
  const signal = validSignal();
  const outcomes = await sendAtOnce(Array.from({ length: SENDS }, () => ({ key, signal })));

  const rows = await rowsOf(new Set([key]));
  expect(rows).toHaveLength(1);
  expect(rows[0]?.signal).toEqual(signal);

  expect(outcomes.filter(({ kind }) => kind !== "acknowledged")).toEqual([]);
  const answers = acknowledgements(outcomes);
  expect(new Set(answers.map(({ signalId }) => signalId))).toEqual(new Set([rows[0]?.signalId]));
  expect(answers.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
});

test("1,000 sends of 50 keys at once make 50 rows, each told as new once", async () => {
  const SENDS_PER_KEY = 20;
  const keys = Array.from({ length: SENDS / SENDS_PER_KEY }, () => randomUUID());
  const attempts = keys.flatMap((key, index) => {
    const attempt = { key, signal: validSignal({ payload: { index } }) };
    return Array.from({ length: SENDS_PER_KEY }, () => attempt);
  });
  const outcomes = await sendAtOnce(attempts);

  const rows = await rowsOf(new Set(keys));
  expect(rows.map(({ idempotencyKey }) => idempotencyKey).sort()).toEqual([...keys].sort());
  const idByKey = new Map(rows.map((row) => [row.idempotencyKey, row.signalId]));

  expect(outcomes.filter(({ kind }) => kind !== "acknowledged")).toEqual([]);
  const answers = acknowledgements(outcomes);
  expect(answers.map(({ signalId }) => signalId)).toEqual(
    attempts.map(({ key }) => idByKey.get(key)),
  );
  const newIds = answers.filter(({ duplicate }) => !duplicate).map(({ signalId }) => signalId);
  expect(newIds.sort()).toEqual([...idByKey.values()].sort());
});

test("of two contents that race for one key, one wins and the other is always refused", async () => {
  const key = randomUUID();
  const contents = [validSignal({ comment: "first" }), validSignal({ comment: "second" })];
  const attempts = Array.from({ length: SENDS }, (_, index) => {
    // Each content goes over every protocol and both servers.
    const signal = contents[Math.floor(index / senders.length) % 2] as Signal;
    return { key, signal };
  });
  const outcomes = await sendAtOnce(attempts);

  const rows = await rowsOf(new Set([key]));
  expect(rows).toHaveLength(1);
  const [winner] = rows;
  expect(contents).toContainEqual(winner?.signal);

  const expected = attempts.map(({ signal }) =>
    signal.comment === winner?.signal.comment
      ? { kind: "acknowledged", signalId: winner.signalId }
      : { kind: "refused", reason: "IDEMPOTENCY_KEY_REUSED" },
  );
  expect(outcomes).toMatchObject(expected);
  expect(acknowledgements(outcomes).filter(({ duplicate }) => !duplicate)).toHaveLength(1);
});
