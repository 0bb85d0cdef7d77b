/**
 * Promise 1, acknowledged means durable, and promise 2, once: whatever is killed and
 * whenever, what was acknowledged is on disk as it was sent, and what was not can be sent
 * again and ends on disk once.
 *
 * A few rounds run with every test run; `npm run test:crash` runs 200. CRASH_SEED repeats
 * the moments of a run, as far as a scheduler lets itself be repeated.
 */
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { startEmbeddedPostgres } from "../../src/store/index.ts";
import { eventually } from "../support/eventually.ts";
import { holdInserts, runOnServer, silentLog } from "../support/postgres.ts";
import { type ServerProcess, spawnServer, testServerEnv } from "../support/server.ts";
import {
  findPostmaster,
  postmasterOf,
  processTree,
  signalIfThere,
  waitUntilGone,
} from "./support/embedded.ts";
import {
  brokenPromises,
  openReader,
  readRows,
  type Sent,
  sortedKeys,
  sortedRowKeys,
  unacknowledged,
} from "./support/ledger.ts";
import { ownDatabase, ownDataDir } from "./support/parts.ts";
import { closeSenders, openSenders } from "./support/senders.ts";
import { deliver, sendOneEach, streamSignals } from "./support/stream.ts";

const ROUNDS = Number(process.env.CRASH_ROUNDS ?? 20);
const SEED = Number(process.env.CRASH_SEED ?? 20_251_025);
/** Each takes a recovery of PostgreSQL, so there are fewer. */
const EMBEDDED_ROUNDS = Math.ceil(ROUNDS * 0.3);
const WORKERS = 2;
/** Each takes the start of three processes. */
const WORKERS_ROUNDS = Math.ceil(ROUNDS * 0.4);
const PROGRESS_EVERY_ROUNDS = 20;
const LANES_PER_SENDER = 4;

/** When the kill comes. */
interface KillMoment {
  /** How many sends were begun before. */
  readonly afterSends: number;
  /** How much later, in milliseconds. */
  readonly delayMs: number;
}

/** The moments of a run: early ones, before much was acknowledged, and late ones. */
function killMoments(rounds: number): KillMoment[] {
  const moment = fc.record({
    afterSends: fc.integer({ min: 20, max: 120 }),
    delayMs: fc.integer({ min: 0, max: 12 }),
  });
  return fc.sample(fc.noBias(moment), { seed: SEED, numRuns: rounds });
}

function printProgress(what: string, round: number, rounds: number, sent: readonly Sent[]): void {
  if (rounds <= PROGRESS_EVERY_ROUNDS || (round + 1) % PROGRESS_EVERY_ROUNDS !== 0) return;
  process.stderr.write(`${what}: ${round + 1} of ${rounds} rounds, ${sent.length} signals\n`);
}

/** Sends to a server, kills it at the moment, and tells what was sent and what was promised. */
async function sendUntilKilled(
  server: ServerProcess,
  moment: KillMoment,
  kill: () => Promise<void>,
): Promise<readonly Sent[]> {
  const senders = openSenders(server.url);
  const stream = streamSignals(senders, { lanesPerSender: LANES_PER_SENDER });
  await stream.begun(moment.afterSends);
  await sleep(moment.delayMs);
  await kill();
  await stream.stop();
  await closeSenders(senders);
  expect(stream.refusals).toEqual([]);
  return stream.sent;
}

/** Sends again what was not acknowledged. */
async function redeliver(sent: readonly Sent[], server: ServerProcess): Promise<void> {
  const senders = openSenders(server.url);
  try {
    await deliver(unacknowledged(sent), senders);
  } finally {
    await closeSenders(senders);
  }
}

/** What is killed in a round, and how a server takes signals again. */
interface Round {
  readonly name: string;
  kill(): Promise<void>;
  recover(): Promise<ServerProcess>;
}

/** Holds what is on disk after each kill, and after the retries, against what was promised. */
async function killInRounds(
  rounds: number,
  settings: Readonly<Record<string, string>>,
  plan: (server: ServerProcess, round: number, env: NodeJS.ProcessEnv) => Promise<Round>,
): Promise<void> {
  const database = await ownDatabase();
  const reader = openReader(database.url);
  onTestFinished(() => reader.close());
  const env = testServerEnv(database.url, settings);
  let server = await spawnServer(env);
  onTestFinished(async () => {
    await server.stop();
  });

  const all: Sent[] = [];
  let lastSequence = 0n;
  for (const [round, moment] of killMoments(rounds).entries()) {
    const { name, kill, recover } = await plan(server, round, env);
    const sent = await sendUntilKilled(server, moment, kill);
    all.push(...sent);

    server = await recover();
    const kept = await reader.read(lastSequence);
    expect(brokenPromises(sent, kept), `after ${name}, round ${round}`).toEqual([]);

    await redeliver(sent, server);
    const rows = await reader.read(lastSequence);
    expect(brokenPromises(sent, rows), `after the retries of round ${round}`).toEqual([]);
    expect(sortedRowKeys(rows), `in round ${round}`).toEqual(sortedKeys(sent));
    lastSequence = rows.at(-1)?.sequence ?? lastSequence;
    printProgress(name, round, rounds, all);
  }
  const rows = await reader.read();
  expect(sortedRowKeys(rows)).toEqual(sortedKeys(all));
  expect(brokenPromises(all, rows)).toEqual([]);
}

describe(`${ROUNDS} rounds of CRASH_SEED=${SEED}`, () => {
  test(
    "kill -9 of the server loses no acknowledged signal, and makes none twice",
    async () => {
      await killInRounds(ROUNDS, {}, async (server, _, env) => ({
        name: "the kill of the server",
        kill: async () => void (await server.stop("SIGKILL")),
        recover: () => spawnServer(env),
      }));
    },
    30_000 + ROUNDS * 5_000,
  );

  test(
    "kill -9 of one worker, of all, or of the server with them or without loses and doubles nothing",
    async () => {
      const settings = { WORKERS: String(WORKERS), DATABASE_POOL_SIZE: "4" };
      await killInRounds(WORKERS_ROUNDS, settings, async (server, round, env) => {
        const { name, victims, endsServer } = ACCIDENTS[round % ACCIDENTS.length] as Accident;
        const [first, ...workers] = await processTree(server.child.pid as number);
        expect(workers, `${name}, round ${round}`).toHaveLength(WORKERS);
        const killed = victims(first as number, workers);
        const readyBefore = readyWorkers(server);
        return {
          name,
          async kill() {
            for (const pid of killed) signalIfThere(pid, "SIGKILL");
            await Promise.all(killed.map(waitUntilGone));
          },
          async recover() {
            if (endsServer) {
              const next = await spawnServer(env);
              // Without the first process, they end by themselves.
              await Promise.all(workers.map(waitUntilGone));
              return next;
            }
            await eventually("every worker is replaced", () => {
              return readyWorkers(server) === readyBefore + killed.length;
            });
            return server;
          },
        };
      });
    },
    60_000 + WORKERS_ROUNDS * 10_000,
  );

  test(
    "kill -9 of the server, its PostgreSQL, or both loses no acknowledged signal",
    async () => {
      const dataDir = await ownDataDir();
      const env = testServerEnv("", { DATABASE_URL: undefined, DATA_DIR: dataDir });
      let server = await spawnServer(env);
      onTestFinished(async () => {
        await server.stop();
      });

      const all: Sent[] = [];
      for (const [round, moment] of killMoments(EMBEDDED_ROUNDS).entries()) {
        const postmaster = await postmasterOf(dataDir);
        const disaster = DISASTERS[round % DISASTERS.length] as Disaster;
        const killed = server;
        const sent = await sendUntilKilled(killed, moment, async () => {
          const victims = await disaster.victims(postmaster);
          // All in one go, so that none sees another one's end and tidies up; and the server
          // first, so that it refuses nothing for want of its database.
          const ended = killed.stop("SIGKILL");
          for (const pid of victims) signalIfThere(pid, "SIGKILL");
          await ended;
        });
        all.push(...sent);

        server = await spawnServer(env);
        const isSamePostmaster = (await findPostmaster(dataDir)) === postmaster;
        expect(isSamePostmaster, `after the kill of ${disaster.name}`).toBe(
          disaster.leavesPostmaster,
        );
        const kept = await readEmbedded(dataDir);
        expect(brokenPromises(all, kept), `after the kill of ${disaster.name}`).toEqual([]);
        await redeliver(sent, server);
        printProgress("kill of PostgreSQL", round, EMBEDDED_ROUNDS, all);
      }
      const rows = await readEmbedded(dataDir);
      expect(brokenPromises(all, rows)).toEqual([]);
      expect(sortedRowKeys(rows)).toEqual(sortedKeys(all));
    },
    60_000 + EMBEDDED_ROUNDS * 10_000,
  );
});

/** What may happen to a server with workers. */
interface Accident {
  readonly name: string;
  victims(first: number, workers: readonly number[]): readonly number[];
  readonly endsServer: boolean;
}

const ACCIDENTS: readonly Accident[] = [
  {
    name: "the kill of one worker",
    victims: (_, workers) => workers.slice(0, 1),
    endsServer: false,
  },
  { name: "the kill of the first process", victims: (first) => [first], endsServer: true },
  { name: "the kill of every worker", victims: (_, workers) => workers, endsServer: false },
  {
    name: "the kill of every process",
    victims: (first, workers) => [first, ...workers],
    endsServer: true,
  },
];

/** How many workers of a server could serve so far. */
function readyWorkers(server: ServerProcess): number {
  return server.logLines().filter(({ msg }) => msg === "worker is ready").length;
}

interface Disaster {
  readonly name: string;
  /** Who is killed, besides the server. */
  victims(postmaster: number): Promise<readonly number[]>;
  /** Whether the next server finds the postmaster running and attaches to it. */
  readonly leavesPostmaster: boolean;
}

const DISASTERS: readonly Disaster[] = [
  { name: "the server alone", victims: async () => [], leavesPostmaster: true },
  {
    name: "the server and every process of PostgreSQL",
    victims: processTree,
    leavesPostmaster: false,
  },
  {
    // Its children notice only a moment later, and may still be there at the next start.
    name: "the server and the postmaster",
    victims: async (postmaster) => [postmaster],
    leavesPostmaster: false,
  },
];

async function readEmbedded(dataDir: string) {
  const embedded = await startEmbeddedPostgres({ dataDir, log: silentLog });
  return readRows(embedded.url).finally(() => embedded.close());
}

/** How long a server that acknowledges too early is given to do so. */
const EARLY_MS = 500;

test("nothing is acknowledged before its commit, and a kill until then leaves no trace", async () => {
  const database = await ownDatabase();
  const reader = openReader(database.url);
  onTestFinished(() => reader.close());
  const env = testServerEnv(database.url);
  const server = await spawnServer(env);
  onTestFinished(async () => {
    await server.stop();
  });
  const senders = openSenders(server.url);

  const release = await holdInserts(database.url);
  const { sent, outcomes } = sendOneEach(senders);
  const early = await Promise.race([outcomes, sleep(EARLY_MS).then(() => "nothing yet")]);
  expect(early).toBe("nothing yet");

  await server.stop("SIGKILL");
  await runOnServer(
    database.url,
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'countersign' AND wait_event_type = 'Lock'`,
  );
  await release();
  expect((await outcomes).map(({ kind }) => kind)).toEqual(senders.map(() => "unanswered"));
  await closeSenders(senders);
  expect(await reader.read()).toEqual([]);

  const restarted = await spawnServer(env);
  onTestFinished(async () => {
    await restarted.stop();
  });
  await redeliver(sent, restarted);
  const rows = await reader.read();
  expect(brokenPromises(sent, rows)).toEqual([]);
  expect(sortedRowKeys(rows)).toEqual(sortedKeys(sent));
});
