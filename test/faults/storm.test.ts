/**
 * Promise 2, once: one row per producer and key, however many senders race for it, over
 * whatever protocol and whichever server process.
 */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Signal } from "../../src/signal/index.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { type ServerProcess, spawnServer, testServerEnv } from "../support/server.ts";
import { validSignal } from "../support/signals.ts";
import { openReader, type Reader } from "./support/ledger.ts";
import { closeSenders, type Outcome, openSenders, type Sender } from "./support/senders.ts";

const SENDS = 1_000;

interface Attempt {
  readonly key: string;
  readonly signal: Signal;
}

/** Sets of senders, each with connections of its own, so that each worker gets some of them. */
const SENDER_SETS = 4;

interface Processes {
  readonly name: string;
  /** Starts them. */
  start(env: NodeJS.ProcessEnv): Promise<ServerProcess[]>;
  /** How many processes there are that take signals. */
  readonly count: number;
}

/** The two ways in which several processes come to share a database. */
const WAYS: readonly Processes[] = [
  {
    name: "two servers",
    start: (env) => Promise.all([spawnServer(env), spawnServer(env)]),
    count: 2,
  },
  {
    name: "two workers of one server",
    start: async (env) => [await spawnServer({ ...env, WORKERS: "2" })],
    count: 2,
  },
];

describe.each(WAYS)("by $name", ({ start, count }) => {
  let database: TestDatabase;
  let reader: Reader;
  let servers: ServerProcess[] = [];
  let senders: Sender[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
    reader = openReader(database.url);
    servers = await start(testServerEnv(database.url));
    const sets = Array.from({ length: SENDER_SETS }, () =>
      servers.flatMap(({ url }) => openSenders(url)),
    );
    senders = sets.flat();
  });

  afterAll(async () => {
    await closeSenders(senders);
    await Promise.all(servers.map((server) => server.stop()));
    await reader.close();
    await database.drop();
  });

  /** The ids of the processes that answered requests. */
  function answeringPids(): Set<unknown> {
    const lines = servers.flatMap((server) => server.logLines());
    return new Set(lines.filter(({ msg }) => msg === "request").map(({ pid }) => pid));
  }

  /** Sends all at once, over every protocol and to every server in turn, each signed by itself. */
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
    // All of this says nothing if one process did all of it.
    expect(answeringPids().size).toBe(count);
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
      // Each content goes over every protocol and to every server.
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
});
