/**
 * When another server becomes the primary, behind the same address, service goes on there
 * within seconds and without anybody's help, also if the old one still answers.
 */
import { expect, onTestFinished, test } from "vitest";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { runOnServer } from "../support/postgres.ts";
import type { TestServer } from "../support/server.ts";
import { brokenPromises, nextSent, readRows } from "./support/ledger.ts";
import { ownProxy, ownSenders, ownServer } from "./support/parts.ts";
import { untilReady } from "./support/senders.ts";
import { deliver, sendOneEach } from "./support/stream.ts";

const TEST_TIMEOUT_MS = 120_000;
/** "Within seconds", on a busy machine. */
const SWITCH_WITHIN_MS = 15_000;

async function untilLogged(server: TestServer, text: string): Promise<void> {
  const isLogged = () => JSON.stringify(server.logLines).includes(text);
  await eventually(`the log says "${text}"`, isLogged, SWITCH_WITHIN_MS);
}

/** A primary and its standby. */
async function startPair(): Promise<{ primary: TestCluster; standby: TestCluster }> {
  const primary = await createTestCluster();
  onTestFinished(() => primary[Symbol.asyncDispose]());
  const standby = await primary.copy();
  onTestFinished(() => standby[Symbol.asyncDispose]());
  await standby.follow(primary);
  await primary.start();
  await standby.start();
  return { primary, standby };
}

test.each([
  { asker: "health checks", sendsMeanwhile: false },
  { asker: "producers alone", sendsMeanwhile: true },
])(
  "a primary that comes back as a standby is left for the new one, found by $asker",
  { timeout: TEST_TIMEOUT_MS },
  async ({ sendsMeanwhile }) => {
    const { primary, standby } = await startPair();
    const proxy = await ownProxy(primary.url);
    // With one connection, none leads to the new primary by chance.
    const server = await ownServer(proxy.url, { DATABASE_POOL_SIZE: "1" });
    const senders = ownSenders(server.url);
    const before = senders.map(() => nextSent());
    await deliver(before, senders);

    // They change places, and whoever asks for the address still gets the old one.
    await primary.stop();
    await runOnServer(standby.url, "SELECT pg_promote()");
    await primary.follow(standby);
    await primary.start();
    await untilReady(server, false, SWITCH_WITHIN_MS);
    // Not only because the old one was away for a moment.
    await untilLogged(server, "It is a standby");
    const refused = nextSent();
    if (sendsMeanwhile) {
      const outcome = await senders[0]?.send(refused.key, refused.signal);
      expect(outcome).toEqual({ kind: "refused", reason: "STORE_UNAVAILABLE" });
    }

    // New connections go to the new primary; those to the old one stay open.
    proxy.retarget(standby.url);
    if (!sendsMeanwhile) await untilReady(server, true, SWITCH_WITHIN_MS);
    const after = senders.map(() => nextSent());
    await deliver([refused, ...after], senders);

    const rows = await readRows(standby.url);
    expect(brokenPromises([...before, refused, ...after], rows)).toEqual([]);
    expect(rows).toHaveLength(before.length + after.length + 1);
  },
);

test("a server that stays read-only is not flooded with new connections", {
  timeout: TEST_TIMEOUT_MS,
}, async () => {
  const { primary, standby } = await startPair();
  const proxy = await ownProxy(primary.url);
  const server = await ownServer(proxy.url, { DATABASE_POOL_SIZE: "3", LOG_LEVEL: "debug" });
  const senders = ownSenders(server.url);
  proxy.retarget(standby.url);
  proxy.reset();
  await untilReady(server, false, SWITCH_WITHIN_MS);

  const countReplaced = () =>
    server.logLines.filter(({ msg }) => msg === "database connections are replaced").length;
  const replacedBefore = countReplaced();
  const startMs = performance.now();
  let refusals = 0;
  while (performance.now() - startMs < 3_000) {
    for (const outcome of await sendOneEach(senders).outcomes) {
      expect(outcome).toEqual({ kind: "refused", reason: "STORE_UNAVAILABLE" });
      refusals += 1;
    }
  }
  const seconds = (performance.now() - startMs) / 1_000;
  expect(refusals).toBeGreaterThan(seconds + 1);
  expect(countReplaced() - replacedBefore).toBeLessThanOrEqual(seconds + 1);
  // Who reads the log is told once.
  const warnings = server.logLines.filter(
    ({ msg, level, cause }) =>
      msg === "database connections are replaced" &&
      level === 40 &&
      /read-only|standby/.test(String(cause)),
  );
  expect(warnings).toHaveLength(1);
});
