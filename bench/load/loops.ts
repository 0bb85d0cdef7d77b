/** The two ways to send: as fast as the answers come, or at a fixed rate. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Exchange } from "./transport.ts";

/** What a loop did. */
export interface Passage {
  readonly acknowledged: number;
  /** From the first request to the last answer. */
  readonly seconds: number;
  /** Of each request, in the order of the answers. */
  readonly latenciesMs: readonly number[];
  /** Whether there was nothing left to send before the time was over. */
  readonly isCutShort: boolean;
}

/**
 * Closed loop: each of `concurrency` senders waits for its answer before it sends again.
 *
 * @param next the next request, or `undefined` when there is none left.
 */
export async function closedLoop(
  next: () => Exchange | undefined,
  concurrency: number,
  durationMs: number,
): Promise<Passage> {
  const latenciesMs: number[] = [];
  let acknowledged = 0;
  let isCutShort = false;
  const startMs = performance.now();

  async function sendInTurn(): Promise<void> {
    while (performance.now() - startMs < durationMs) {
      const exchange = next();
      if (exchange === undefined) {
        isCutShort = true;
        return;
      }
      const sentMs = performance.now();
      const count = await exchange();
      latenciesMs.push(performance.now() - sentMs);
      acknowledged += count;
    }
  }

  await Promise.all(Array.from({ length: concurrency }, sendInTurn));
  return { acknowledged, seconds: secondsSince(startMs), latenciesMs, isCutShort };
}

/**
 * Open loop: request n is due n/rate seconds after the start, whether or not the earlier
 * ones are answered. Its latency counts from then, so that a request which a stall kept
 * from being sent is not left out. Node's timers fire up to a millisecond late, and that
 * millisecond counts too.
 */
export async function openLoop(
  exchanges: readonly Exchange[],
  ratePerSecond: number,
): Promise<Passage> {
  const intervalMs = 1_000 / ratePerSecond;
  const latenciesMs: number[] = [];
  const answers: Promise<void>[] = [];
  let acknowledged = 0;
  const startMs = performance.now();

  async function send(exchange: Exchange, dueMs: number): Promise<void> {
    const count = await exchange();
    latenciesMs.push(performance.now() - dueMs);
    acknowledged += count;
  }

  for (const [index, exchange] of exchanges.entries()) {
    const dueMs = startMs + index * intervalMs;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    answers.push(send(exchange, dueMs));
  }
  await Promise.all(answers);
  return { acknowledged, seconds: secondsSince(startMs), latenciesMs, isCutShort: false };
}

/**
 * One request at a time, in turns of two kinds, so that both meet the same machine.
 *
 * @returns the latencies of each kind.
 */
export async function pairedLoop(
  pairs: readonly (readonly [Exchange, Exchange])[],
  pauseMs: number,
): Promise<{ readonly first: Passage; readonly second: Passage }> {
  const latencies: [number[], number[]] = [[], []];
  const acknowledged: [number, number] = [0, 0];
  const startMs = performance.now();
  for (const pair of pairs) {
    for (const turn of [0, 1] as const) {
      // The pause lets the server and the database become idle.
      await sleep(pauseMs);
      const sentMs = performance.now();
      const count = await pair[turn]();
      latencies[turn].push(performance.now() - sentMs);
      acknowledged[turn] += count;
    }
  }
  const passage = (turn: 0 | 1): Passage => ({
    acknowledged: acknowledged[turn],
    seconds: secondsSince(startMs),
    latenciesMs: latencies[turn],
    isCutShort: false,
  });
  return { first: passage(0), second: passage(1) };
}

function secondsSince(startMs: number): number {
  return (performance.now() - startMs) / 1_000;
}
