/**
 * The stage of a drill: a bot, a network, a server on a database, and people, all of them real
 * and of this test alone. Everything is taken away when the test ends.
 */
import { onTestFinished } from "vitest";
import type { FaultyProxy } from "../../support/proxy.ts";
import { testServerEnv } from "../../support/server.ts";
import { Bot, type BotLife } from "./botProcess.ts";
import { type Fates, readOutbox } from "./fates.ts";
import { readRows } from "./ledger.ts";
import { ownDatabase, ownProxy } from "./parts.ts";
import { type People, startPeople } from "./people.ts";
import { type MortalServer, startMortalServer } from "./weather.ts";

/** Nobody listens there; the server that is started soon takes its place. */
const NOWHERE = "http://127.0.0.1:1";

/** What anybody can read, but the metrics of the bot. */
export type Shown = Readonly<Record<"log" | "serverLog" | "alerts" | "serverMetrics", string>>;

/** A bot and its world. */
export interface Drill {
  readonly bot: Bot;
  /** Between bot and server. */
  readonly network: FaultyProxy;
  readonly server: MortalServer;
  readonly people: People;
  /** Starts a life of the bot, whose attempts may take so long. */
  live(timeoutMs: number): BotLife;
  /** What became of the signals, once the bot has ended. @param killsMs when it was killed. */
  fates(killsMs: readonly number[]): Promise<Fates>;
  shown(): Promise<Shown>;
}

/** Sets the stage. */
export async function startDrill(): Promise<Drill> {
  const database = await ownDatabase();
  const network = await ownProxy(NOWHERE);
  const env = testServerEnv(database.url, { OPS_PORT: "0" });
  const server = await startMortalServer(env, network.retarget);
  onTestFinished(() => server.kill());
  const people = await startPeople();
  onTestFinished(() => people[Symbol.asyncDispose]());
  const bot = new Bot({ serverUrl: network.url, ...people });
  onTestFinished(() => bot.remove());
  return {
    bot,
    network,
    server,
    people,
    live(timeoutMs) {
      const life = bot.start(timeoutMs);
      onTestFinished(() => life.kill().catch(() => undefined));
      return life;
    },
    async fates(killsMs) {
      const stored = await readRows(database.url);
      const { ledger, logLines } = bot;
      return { ledger, logLines, killsMs, stored, ...readOutbox(bot.outboxPath) };
    },
    async shown() {
      const { log, metrics } = server;
      const serverMetrics = await metrics();
      return { log: bot.log, serverLog: log, alerts: people.everything, serverMetrics };
    },
  };
}
