/**
 * Promise 1, acknowledged means durable: where the database's settings no longer let it be kept,
 * also while the server runs, nothing is acknowledged and everybody is told.
 */
import { expect, onTestFinished, test } from "vitest";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
import { runOnServer } from "../support/postgres.ts";
import type { TestServer } from "../support/server.ts";
import { brokenPromises, nextSent, readRows } from "./support/ledger.ts";
import { ownSenders, ownServer } from "./support/parts.ts";
import { untilReady } from "./support/senders.ts";
import { deliver, sendOneEach } from "./support/stream.ts";

const TEST_TIMEOUT_MS = 90_000;
const NOTICE_WITHIN_MS = 15_000;

async function startCluster(settings: Readonly<Record<string, string>> = {}): Promise<TestCluster> {
  const cluster = await createTestCluster();
  onTestFinished(() => cluster[Symbol.asyncDispose]());
  await cluster.start(settings);
  return cluster;
}

async function startServer(databaseUrl: string) {
  const server = await ownServer(databaseUrl, { OPS_PORT: "0" });
  return { server, senders: ownSenders(server.url) };
}

async function alterSystem(cluster: TestCluster, change: string): Promise<void> {
  await runOnServer(cluster.url, `ALTER SYSTEM ${change}`);
  await runOnServer(cluster.url, "SELECT pg_reload_conf()");
}

/** Waits until both of its ports say so. */
async function untilBothReady(server: TestServer, isReady: boolean): Promise<void> {
  await untilReady(server, isReady, NOTICE_WITHIN_MS);
  await untilReady({ url: server.opsUrl as string }, isReady, NOTICE_WITHIN_MS);
}

async function problemsOf(server: TestServer): Promise<string[]> {
  const text = await (await fetch(`${server.opsUrl}/metrics`)).text();
  const lines = text.matchAll(/^countersign_database_problems\{problem="(\w+)"\} 1$/gm);
  return [...lines].map(([, problem]) => String(problem));
}

const linesOf = (server: TestServer, text: string) =>
  server.logLines.filter(({ msg }) => String(msg).includes(text));

test.each([
  { change: "fsync = off", problem: "durability", words: /fsync is off.*crash can lose/ },
  {
    change: "full_page_writes = off",
    problem: "durability",
    words: /full_page_writes is off.*crash can lose/,
  },
  {
    change: "default_transaction_read_only = on",
    problem: "read_only",
    words: /read-only.*default_transaction_read_only/,
  },
])(
  "a database with $change takes nothing, says so, and is used again by itself",
  { timeout: TEST_TIMEOUT_MS },
  async ({ change, problem, words }) => {
    const cluster = await startCluster();
    const { server, senders } = await startServer(cluster.url);
    const before = senders.map(() => nextSent());
    await deliver(before, senders);
    expect(await problemsOf(server)).toEqual([]);

    await alterSystem(cluster, `SET ${change}`);
    await untilBothReady(server, false);
    expect(await problemsOf(server)).toEqual([problem]);
    for (const outcome of await sendOneEach(senders).outcomes) {
      expect(outcome).toEqual({ kind: "refused", reason: "STORE_UNAVAILABLE" });
    }
    const [line, ...more] = linesOf(server, "database cannot store signals now");
    expect(JSON.stringify(line)).toMatch(words);
    expect(more).toEqual([]);

    await alterSystem(cluster, `RESET ${change.split(" ")[0]}`);
    await untilBothReady(server, true);
    expect(await problemsOf(server)).toEqual([]);
    expect(linesOf(server, "database can store signals again")).toHaveLength(1);
    await deliver([nextSent()], senders);

    const rows = await readRows(cluster.url);
    // What was refused in between was not stored either.
    expect(rows).toHaveLength(before.length + 1);
    expect(brokenPromises(before, rows)).toEqual([]);
  },
);
