/**
 * Promise 3, a watcher misses nothing: what makes it true is that the numbers of
 * `sequence` become visible in their own order, also when several servers store at once.
 */
import { setTimeout as sleep } from "node:timers/promises";
import postgres from "postgres";
import { expect, onTestFinished, test } from "vitest";
import { createSignalClient } from "../../src/client/index.ts";
import { createTestDatabase } from "../support/postgres.ts";
import {
  type ServerProcess,
  spawnServer,
  TEST_PRODUCER_ID,
  TEST_SECRET,
  testServerEnv,
} from "../support/server.ts";
import { nextSent } from "./support/ledger.ts";
import { closeSenders, openSenders } from "./support/senders.ts";
import { streamSignals } from "./support/stream.ts";

const SIGNALS = 800;
const BATCH_SIZE = 20;
const POLL_INTERVAL_MS = 2;

test("a poller that resumes after the last sequence it read sees every signal once, in order", async () => {
  const database = await createTestDatabase();
  onTestFinished(() => database.drop());
  const env = testServerEnv(database.url);
  const servers = await Promise.all([spawnServer(env), spawnServer(env)]);
  onTestFinished(async () => {
    await Promise.all(servers.map((server) => server.stop()));
  });
  const sql = postgres(database.url, { max: 1, types: { bigint: postgres.BigInt } });
  onTestFinished(() => sql.end());

  const senders = servers.flatMap(({ url }) => openSenders(url));
  const poller = startPoller(sql);
  const stream = streamSignals(senders, { lanesPerSender: 4 });
  const batches = servers.map((server) => streamBatches(server));
  await stream.begun(SIGNALS);
  await stream.stop();
  await Promise.all(batches.map((batch) => batch.stop()));
  await closeSenders(senders);

  const { seen, polls } = await poller.stop();
  const rows = await sql<{ sequence: bigint }[]>`SELECT sequence FROM signals ORDER BY sequence`;
  expect(seen).toEqual(rows.map(({ sequence }) => sequence));
  expect(rows.length).toBeGreaterThan(SIGNALS);
  // Otherwise nothing was read while it was written.
  expect(polls).toBeGreaterThan(10);
}, 60_000);

/** Reads on and on what is new since it last read. */
function startPoller(sql: postgres.Sql<{ bigint: bigint }>) {
  const seen: bigint[] = [];
  let polls = 0;
  let isStopped = false;

  async function poll(): Promise<void> {
    const last = seen.at(-1) ?? 0n;
    const rows = await sql<{ sequence: bigint }[]>`
      SELECT sequence FROM signals WHERE sequence > ${last} ORDER BY sequence
    `;
    seen.push(...rows.map(({ sequence }) => sequence));
    if (rows.length > 0) polls += 1;
  }

  async function run(): Promise<void> {
    while (!isStopped) {
      await poll();
      await sleep(POLL_INTERVAL_MS);
    }
    await poll();
  }

  const running = run();
  return {
    /** @returns what it saw, and how many polls found something new. */
    async stop() {
      isStopped = true;
      await running;
      return { seen, polls };
    },
  };
}

/** Sends batches on and on: their transactions are longer, and commit after later ones began. */
function streamBatches({ url }: ServerProcess) {
  const client = createSignalClient({
    serverUrl: url,
    producerId: TEST_PRODUCER_ID,
    secret: TEST_SECRET,
  });
  let isStopped = false;
  async function run(): Promise<void> {
    while (!isStopped) {
      const items = Array.from({ length: BATCH_SIZE }, () => {
        const { key, signal } = nextSent();
        return { signal, idempotencyKey: key };
      });
      await client.ingestBatch(items);
    }
  }
  const running = run();
  return {
    async stop() {
      isStopped = true;
      await running;
      await client.close();
    },
  };
}
