/**
 * Promise 5, a producer loses nothing: a bot is killed again and again while it enqueues,
 * the server is killed at the same time, and the network between them fails in every way.
 * Each signal that the outbox took is stored once, as it was decided and in the order of the
 * decisions, or has expired and is a dead letter that somebody was told of.
 *
 * A few kills run with every test run; `npm run test:crash` makes 100. CRASH_SEED repeats the
 * moments and faults of a run, as far as a scheduler lets itself be repeated.
 */
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import type { EnqueueOrder } from "./support/botLedger.ts";
import type { Bot, BotLife } from "./support/botProcess.ts";
import { type Drill, startDrill } from "./support/drill.ts";
import {
  brokenProducerPromises,
  FAILED_ATTEMPT,
  type Fates,
  storedUnknown,
} from "./support/fates.ts";
import { placesThatShowSecrets } from "./support/people.ts";
import { badNetwork, deadlyServer } from "./support/weather.ts";

const ROUNDS = Number(process.env.CRASH_ROUNDS ?? 16);
const SEED = Number(process.env.CRASH_SEED ?? 20_251_025);
/** Each takes the start of a bot, and some of them that of a server. */
const KILLS = Math.ceil(ROUNDS * 0.5);
/** On the average; a life that is killed late has up to twice as many. */
const SIGNALS_PER_LIFE = 20;
const PROGRESS_EVERY_KILLS = 20;

/** How long an attempt may take while everything fails: so short that many take longer, */
const STORM_TIMEOUT_MS = 200;
/** and when nothing does. */
const CALM_TIMEOUT_MS = 10_000;
const LIFE_TIMEOUT_MS = 30_000;
const FLUSH_TIMEOUT_MS = 60_000;

/** How a life of the bot goes, and when it is killed. */
interface Life {
  readonly rhythm: EnqueueOrder["rhythm"];
  /** After how many signals that were taken, */
  readonly afterTaken: number;
  /** and how many milliseconds later; undefined is at once, by the bot's own hand. */
  readonly delayMs: number | undefined;
}

function lives(): Life[] {
  const beat = fc.record({
    burst: fc.integer({ min: 1, max: 4 }),
    pauseMs: fc.integer({ min: 0, max: 120 }),
  });
  const life = fc.record({
    rhythm: fc.array(beat, { minLength: 5, maxLength: 5 }),
    afterTaken: fc.integer({ min: 1, max: 2 * SIGNALS_PER_LIFE }),
    delayMs: fc.option(fc.integer({ min: 0, max: 300 }), { nil: undefined, freq: 2 }),
  });
  return fc.sample(fc.noBias(life), { seed: SEED, numRuns: KILLS });
}

/** Of ten signals two expire: hardly any of one sort is delivered in time, and most of the other. */
const VALID_MS = [null, null, null, 100, null, null, null, null, 6_000, null];

/** Lets the bot go on where it was, up to a decision. Some of what is in doubt it repeats. */
function goOn(bot: Bot, life: BotLife, until: number, plan?: Life): void {
  const { doubtful, decisions } = bot.ledger;
  life.give({
    order: "enqueue",
    repeated: doubtful.filter(({ index }) => index % 2 === 0),
    from: decisions.size,
    until,
    rhythm: plan?.rhythm ?? [{ burst: 1, pauseMs: 0 }],
    validMs: VALID_MS,
    dieAfter: plan?.delayMs === undefined ? plan?.afterTaken : undefined,
  });
}

/** @returns when it was dead, in milliseconds since 1970. */
async function liveAndDie({ bot, live }: Drill, plan: Life): Promise<number> {
  const takenUntil = bot.ledger.taken.size + plan.afterTaken;
  const life = live(STORM_TIMEOUT_MS);
  goOn(bot, life, bot.ledger.decisions.size + 2 * SIGNALS_PER_LIFE, plan);
  if (plan.delayMs === undefined) {
    await life.until(() => life.hasEnded, LIFE_TIMEOUT_MS, "its end by its own hand");
  } else {
    await life.until(() => bot.ledger.taken.size >= takenUntil, LIFE_TIMEOUT_MS, "its kill");
    await sleep(plan.delayMs);
  }
  await life.kill();
  return Date.now();
}

/** What struck. */
interface Storm {
  /** When the bot was killed, in milliseconds since 1970. */
  readonly killsMs: readonly number[];
  readonly serverKills: number;
  readonly faults: number;
}

/** Lets the bot live and die, while server and network fail; they work again afterwards. */
async function storm(drill: Drill): Promise<Storm> {
  const network = badNetwork(drill.network, SEED);
  onTestFinished(async () => void (await network.clear()));
  const killer = deadlyServer(drill.server, SEED);
  onTestFinished(async () => void (await killer.clear()));
  const killsMs: number[] = [];
  for (const plan of lives()) {
    killsMs.push(await liveAndDie(drill, plan));
    printProgress(killsMs.length, drill.bot.ledger.decisions.size);
  }
  return { killsMs, serverKills: await killer.clear(), faults: await network.clear() };
}

function printProgress(kills: number, signals: number): void {
  if (kills % PROGRESS_EVERY_KILLS !== 0 || kills === KILLS) return;
  process.stderr.write(`kill of the bot: ${kills} of ${KILLS}, ${signals} signals\n`);
}

/** The last life, in which everything works. @returns what its metrics say in the end. */
async function deliverAll({ bot, live }: Drill): Promise<string> {
  const life = live(CALM_TIMEOUT_MS);
  goOn(bot, life, Math.max(bot.ledger.decisions.size, KILLS * SIGNALS_PER_LIFE));
  life.give({ order: "flush", timeoutMs: FLUSH_TIMEOUT_MS });
  const { isEmpty } = await life.event("flushed", FLUSH_TIMEOUT_MS + LIFE_TIMEOUT_MS);
  expect(isEmpty).toBe(true);
  const metrics = await life.scrape();
  expect(await life.close()).toBe(0);
  return metrics;
}

function printSummary({ killsMs, serverKills, faults }: Storm, fates: Fates): void {
  const { ledger, stored, dead, logLines } = fates;
  const failures = (reason: string) =>
    logLines.filter((line) => line.msg === FAILED_ATTEMPT && line.reason === reason).length;
  process.stderr.write(
    `kills: ${killsMs.length} of the bot, ${serverKills} of the server, ${faults} faults of the network; ` +
      `attempts: ${failures("UNREACHABLE")} broken, ${failures("DEADLINE_EXCEEDED")} unanswered; ` +
      `signals: ${ledger.decisions.size} decided, ${ledger.taken.size} taken, ${stored.length} stored, ` +
      `${dead.length} expired, of which ${storedUnknown(fates).length} were stored and their answer lost\n`,
  );
}

test(
  `${KILLS} kills of the bot of CRASH_SEED=${SEED}, of the server, and a bad network: nothing is lost`,
  async () => {
    const drill = await startDrill();
    const struck = await storm(drill);
    const metrics = await deliverAll(drill);
    const fates = await drill.fates(struck.killsMs);
    printSummary(struck, fates);
    expect(brokenProducerPromises(fates)).toEqual([]);
    expect(struck.serverKills).toBeGreaterThan(0);
    expect(struck.faults).toBeGreaterThan(0);
    expect(placesThatShowSecrets({ metrics, ...(await drill.shown()) })).toEqual([]);
  },
  120_000 + KILLS * 5_000,
);
