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
import { createTestDatabase } from "../support/postgres.ts";
import { startProxy } from "../support/proxy.ts";
import { testServerEnv } from "../support/server.ts";
import type { EnqueueOrder } from "./support/botLedger.ts";
import { Bot, type BotLife } from "./support/botProcess.ts";
import {
  brokenProducerPromises,
  FAILED_ATTEMPT,
  readOutbox,
  storedUnknown,
} from "./support/fates.ts";
import { openReader } from "./support/ledger.ts";
import { placesThatShowSecrets, startPeople } from "./support/people.ts";
import { badNetwork, deadlyServer, startMortalServer } from "./support/weather.ts";

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
async function liveAndDie(bot: Bot, plan: Life, until: number): Promise<number> {
  const takenBefore = bot.ledger.taken.size;
  const life = bot.start(STORM_TIMEOUT_MS);
  onTestFinished(() => life.kill().catch(() => undefined));
  goOn(bot, life, until, plan);
  const takenUntil = takenBefore + plan.afterTaken;
  if (plan.delayMs === undefined) {
    await life.until(() => life.hasEnded, LIFE_TIMEOUT_MS, "its end by its own hand");
  } else {
    await life.until(() => bot.ledger.taken.size >= takenUntil, LIFE_TIMEOUT_MS, "its kill");
    await sleep(plan.delayMs);
  }
  await life.kill();
  return Date.now();
}

test(
  `${KILLS} kills of the bot of CRASH_SEED=${SEED}, of the server, and a bad network: nothing is lost`,
  async () => {
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

    const network = badNetwork(proxy, SEED);
    onTestFinished(async () => void (await network.clear()));
    const killer = deadlyServer(server, SEED);
    onTestFinished(async () => void (await killer.clear()));
    const killsMs: number[] = [];
    for (const [kill, plan] of lives().entries()) {
      const until = bot.ledger.decisions.size + 2 * SIGNALS_PER_LIFE;
      killsMs.push(await liveAndDie(bot, plan, until));
      if ((kill + 1) % PROGRESS_EVERY_KILLS === 0 && kill + 1 < KILLS) {
        const { size } = bot.ledger.decisions;
        process.stderr.write(`kill of the bot: ${kill + 1} of ${KILLS}, ${size} signals\n`);
      }
    }
    const serverKills = await killer.clear();
    const faults = await network.clear();

    const life = bot.start(CALM_TIMEOUT_MS);
    onTestFinished(() => life.kill().catch(() => undefined));
    goOn(bot, life, Math.max(bot.ledger.decisions.size, KILLS * SIGNALS_PER_LIFE));
    life.give({ order: "flush", timeoutMs: FLUSH_TIMEOUT_MS });
    const { isEmpty } = await life.event("flushed", FLUSH_TIMEOUT_MS + LIFE_TIMEOUT_MS);
    expect(isEmpty).toBe(true);
    const metrics = await life.scrape();
    const serverMetrics = await (await fetch(`${server.current.opsUrl}/metrics`)).text();
    expect(await life.close()).toBe(0);

    const reader = openReader(database.url);
    onTestFinished(() => reader.close());
    const fates = {
      ledger: bot.ledger,
      logLines: bot.logLines,
      killsMs,
      stored: await reader.read(),
      ...readOutbox(bot.outboxPath),
    };
    expect(brokenProducerPromises(fates)).toEqual([]);
    const { decisions, taken } = bot.ledger;
    const failures = (reason: string) =>
      fates.logLines.filter((line) => line.msg === FAILED_ATTEMPT && line.reason === reason).length;
    process.stderr.write(
      `kills: ${KILLS} of the bot, ${serverKills} of the server, ${faults} faults of the network; ` +
        `attempts: ${failures("UNREACHABLE")} broken, ${failures("DEADLINE_EXCEEDED")} unanswered; ` +
        `signals: ${decisions.size} decided, ${taken.size} taken, ${fates.stored.length} stored, ` +
        `${fates.dead.length} expired, of which ${storedUnknown(fates).length} were stored and their answer lost\n`,
    );
    expect(serverKills).toBeGreaterThan(0);
    expect(faults).toBeGreaterThan(0);
    const shown = {
      log: bot.log,
      serverLog: server.log,
      alerts: people.everything,
      metrics,
      serverMetrics,
    };
    expect(placesThatShowSecrets(shown)).toEqual([]);
  },
  120_000 + KILLS * 5_000,
);
