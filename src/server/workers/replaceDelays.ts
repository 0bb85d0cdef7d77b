/**
 * How long the place of a worker that died stays empty: almost no time at first, since a
 * port that is short of a worker is slower, and longer and longer for workers that die one
 * after the other, which must not keep the machine busy with starting them.
 */

/** Tells how long to wait, in milliseconds, after a worker that lived so many milliseconds. */
export type ReplaceDelays = (livedMs: number) => number;

const FIRST_MS = 100;
const MAX_MS = 10_000;
/** Workers that died together are started apart: each up to a quarter of its delay later. */
const JITTER = 0.25;
/** A worker that lived so long did not die of what the one before died of. */
const STEADY_AFTER_MS = 60_000;

/** Makes the delays of one place. @param random from 0 to 1. */
export function createReplaceDelays(random: () => number = Math.random): ReplaceDelays {
  let nextMs = FIRST_MS;
  return function replaceDelay(livedMs) {
    if (livedMs >= STEADY_AFTER_MS) nextMs = FIRST_MS;
    const delayMs = nextMs;
    nextMs = Math.min(2 * nextMs, MAX_MS);
    return delayMs * (1 + JITTER * random());
  };
}
