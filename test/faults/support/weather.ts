/**
 * Bad weather: a network that fails in one way after another, and a server that is killed and
 * restarted, for as long as a drill takes.
 */
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import type { FaultyProxy } from "../../support/proxy.ts";
import { spawnServer } from "../../support/server.ts";

/** Something that goes on until it is stopped. */
export interface Weather {
  /** Ends it, and leaves everything working. @returns how often it struck. */
  clear(): Promise<number>;
}

/** What takes an attempt away without a word comes twice as often. */
const FAULTS = [
  "reset",
  "stall",
  "slow",
  "loseAnswers",
  "loseRequests",
  "loseRequests",
  "abandon",
  "abandon",
] as const satisfies readonly (keyof FaultyProxy)[];

const SLOW_MS = 40;
/** More than any drill lives through; then it begins anew. */
const SPELLS = 2_000;

/** Lets a network fail, by a seed. */
export function badNetwork(proxy: FaultyProxy, seed: number): Weather {
  const spell = fc.record({
    fault: fc.constantFrom(...FAULTS),
    faultMs: fc.integer({ min: 50, max: 500 }),
    calmMs: fc.integer({ min: 0, max: 150 }),
  });
  return over(spell, seed, async ({ fault, faultMs, calmMs }) => {
    if (fault === "slow") proxy.slow(SLOW_MS);
    else proxy[fault]();
    await sleep(faultMs);
    await proxy.heal();
    await sleep(calmMs);
  });
}

/** A server that is killed now and then. */
export interface MortalServer {
  /** What all of them logged. */
  readonly log: string;
  /** What the metrics of the one that works say. */
  metrics(): Promise<string>;
  /** Ends it by `kill -9`. */
  kill(): Promise<void>;
  /** Starts another one, and leads the proxy to it. */
  restart(): Promise<void>;
}

/** Starts a server behind a proxy. */
export async function startMortalServer(
  env: NodeJS.ProcessEnv,
  lead: (url: string) => void,
): Promise<MortalServer> {
  let current = await spawnServer(env);
  lead(current.url);
  const all = [current];
  return {
    get log() {
      return all
        .map((server) =>
          server
            .logLines()
            .map((line) => JSON.stringify(line))
            .join("\n"),
        )
        .join("\n");
    },
    async metrics() {
      return (await fetch(`${current.opsUrl}/metrics`)).text();
    },
    async kill() {
      await current.stop("SIGKILL");
    },
    async restart() {
      current = await spawnServer(env);
      all.push(current);
      lead(current.url);
    },
  };
}

/** Kills a server and restarts it, by a seed. */
export function deadlyServer(server: MortalServer, seed: number): Weather {
  const span = fc.record({
    upMs: fc.integer({ min: 100, max: 2_000 }),
    downMs: fc.integer({ min: 0, max: 200 }),
  });
  return over(span, seed, async ({ upMs, downMs }) => {
    await sleep(upMs);
    await server.kill();
    await sleep(downMs);
    await server.restart();
  });
}

function over<T>(
  arbitrary: fc.Arbitrary<T>,
  seed: number,
  strike: (strike: T) => Promise<void>,
): Weather {
  const strikes = fc.sample(fc.noBias(arbitrary), { seed, numRuns: SPELLS });
  let isOver = false;
  let count = 0;
  async function go(): Promise<number> {
    for (; !isOver; count++) await strike(strikes[count % SPELLS] as T);
    return count;
  }
  const end = go();
  return {
    clear() {
      isOver = true;
      return end;
    },
  };
}
