/**
 * An outage as a producer lives through it: while the server is down its outbox takes 10,000
 * signals, people are told once, and when the server is back everything is delivered soon, once
 * and in order, and people are told once more. Nothing that anybody can read shows a secret.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { eventually } from "../server/support/eventually.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startProxy } from "../support/proxy.ts";
import { TEST_PRODUCER_ID, testServerEnv } from "../support/server.ts";
import { Bot, type BotLife } from "./support/botProcess.ts";
import { brokenProducerPromises, readOutbox } from "./support/fates.ts";
import { openReader } from "./support/ledger.ts";
import { placesThatShowSecrets, startPeople } from "./support/people.ts";
import { startMortalServer } from "./support/weather.ts";

const SIGNALS_BEFORE = 20;
const SIGNALS_IN_OUTAGE = 10_000;
/** Of each thousand, one is valid for this long only: it expires before the server is back. */
const VALID_MS = 300;
const VALID_EVERY = 1_000;
const EXPIRED = SIGNALS_IN_OUTAGE / VALID_EVERY;
/** Longer than a batch takes on the busiest machine: an attempt fails only if nobody answers. */
const ATTEMPT_TIMEOUT_MS = 10_000;
const ENQUEUE_TIMEOUT_MS = 60_000;
/** The promise. */
const DRAIN_TIMEOUT_MS = 30_000;

/** Enqueues, by many calls at once. */
async function enqueue(bot: Bot, life: BotLife, count: number, expires: boolean): Promise<void> {
  const from = bot.ledger.decisions.size;
  const expiring = Array.from({ length: VALID_EVERY }, (_, n) => (n === 500 ? VALID_MS : null));
  life.give({
    order: "enqueue",
    repeated: [],
    from,
    until: from + count,
    rhythm: [{ burst: 100, pauseMs: 0 }],
    validMs: expires ? expiring : [null],
  });
  const isDone = () => bot.ledger.taken.size === from + count;
  await life.until(isDone, ENQUEUE_TIMEOUT_MS, `${count} more signals are taken`);
}

/** Waits until all is delivered. */
async function drain(life: BotLife): Promise<void> {
  life.give({ order: "flush", timeoutMs: DRAIN_TIMEOUT_MS });
  const { isEmpty } = await life.event("flushed", ENQUEUE_TIMEOUT_MS);
  expect(isEmpty).toBe(true);
}

test("10,000 signals of an outage arrive once and in order, and two alerts tell of it", async () => {
  const database = await createTestDatabase();
  onTestFinished(() => database.drop());
  const proxy = await startProxy("http://127.0.0.1:1");
  onTestFinished(() => proxy.close());
  const env = testServerEnv(database.url, { OPS_PORT: "0" });
  const server = await startMortalServer(env, proxy.retarget);
  onTestFinished(() => server.kill());
  const people = await startPeople();
  onTestFinished(() => people[Symbol.asyncDispose]());
  const bot = new Bot({ serverUrl: proxy.url, ...people });
  onTestFinished(() => bot.remove());
  const life = bot.start(ATTEMPT_TIMEOUT_MS);
  onTestFinished(() => life.kill().catch(() => undefined));

  await enqueue(bot, life, SIGNALS_BEFORE, false);
  await eventually("what was enqueued before is delivered", async () =>
    (await life.scrape()).includes(`signals_outbox_delivered_total ${SIGNALS_BEFORE}\n`),
  );
  await server.kill();
  await enqueue(bot, life, SIGNALS_IN_OUTAGE, true);
  await eventually("people know", () => people.messages("circuit_opened").length > 0);
  const during = await life.scrape();
  const closed = `signals_circuit_state{state="closed",producer_id="${TEST_PRODUCER_ID}"}`;
  expect(during).toContain(`${closed} 0\n`);
  expect(during).toMatch(/^signals_outbox_depth (9|10)\d{3}$/m);

  await sleep(VALID_MS);
  await server.restart();
  await drain(life);
  await eventually(
    "people know that it is over",
    () => people.messages("circuit_closed").length > 0,
  );
  const after = await life.scrape();
  const serverMetrics = await (await fetch(`${server.current.opsUrl}/metrics`)).text();
  expect(await life.close()).toBe(0);

  expect(people.messages("circuit_opened")).toHaveLength(1);
  expect(people.messages("circuit_closed")).toHaveLength(1);
  expect(after).toContain(`${closed} 1\n`);
  expect(after).toMatch(/^signals_outbox_depth 0$/m);
  expect(after).toMatch(
    new RegExp(`^signals_outbox_dead_letters\\{reason="SIGNAL_EXPIRED"\\} ${EXPIRED}$`, "m"),
  );

  const reader = openReader(database.url);
  onTestFinished(() => reader.close());
  const { ledger, logLines } = bot;
  const stored = await reader.read();
  const fates = { ledger, logLines, killsMs: [], stored, ...readOutbox(bot.outboxPath) };
  expect(brokenProducerPromises(fates)).toEqual([]);
  expect(stored).toHaveLength(SIGNALS_BEFORE + SIGNALS_IN_OUTAGE - EXPIRED);
  expect(fates.dead).toHaveLength(EXPIRED);
  // The server has heard of none that had expired.
  expect(serverMetrics).not.toContain("SIGNAL_EXPIRED");
  const expiries = people.messages("signal_expired");
  expect(expiries).toHaveLength(2);
  expect(expiries[1]).toContain(`${EXPIRED - 1} more of this kind`);

  const shown = {
    log: bot.log,
    serverLog: server.log,
    alerts: people.everything,
    metricsDuring: during,
    metricsAfter: after,
    serverMetrics,
  };
  expect(Object.values(shown).filter((text) => text === "")).toEqual([]);
  expect(placesThatShowSecrets(shown)).toEqual([]);
}, 180_000);
