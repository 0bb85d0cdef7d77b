/**
 * An outage as a producer lives through it: while the server is down its outbox takes 10,000
 * signals, people are told once, and when the server is back everything is delivered soon, once
 * and in order, and people are told once more. Nothing that anybody can read shows a secret.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { TEST_PRODUCER_ID } from "../support/server.ts";
import type { Bot, BotLife } from "./support/botProcess.ts";
import { startDrill } from "./support/drill.ts";
import { brokenProducerPromises } from "./support/fates.ts";
import { placesThatShowSecrets } from "./support/people.ts";

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
  const drill = await startDrill();
  const { bot, server, people } = drill;
  const life = drill.live(ATTEMPT_TIMEOUT_MS);

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
  expect(await life.close()).toBe(0);

  expect(people.messages("circuit_opened")).toHaveLength(1);
  expect(people.messages("circuit_closed")).toHaveLength(1);
  expect(after).toContain(`${closed} 1\n`);
  expect(after).toMatch(/^signals_outbox_depth 0$/m);
  expect(after).toMatch(
    new RegExp(`^signals_outbox_dead_letters\\{reason="SIGNAL_EXPIRED"\\} ${EXPIRED}$`, "m"),
  );

  const fates = await drill.fates([]);
  expect(brokenProducerPromises(fates)).toEqual([]);
  expect(fates.stored).toHaveLength(SIGNALS_BEFORE + SIGNALS_IN_OUTAGE - EXPIRED);
  expect(fates.dead).toHaveLength(EXPIRED);
  const shown = { during, after, ...(await drill.shown()) };
  // The server has heard of none that had expired.
  expect(shown.serverMetrics).not.toContain("SIGNAL_EXPIRED");
  const expiries = people.messages("signal_expired");
  expect(expiries).toHaveLength(2);
  expect(expiries[1]).toContain(`${EXPIRED - 1} more of this kind`);

  expect(Object.values(shown)).not.toContain("");
  expect(placesThatShowSecrets(shown)).toEqual([]);
}, 180_000);
