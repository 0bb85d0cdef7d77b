import { expect, test } from "vitest";
import { startPurger } from "../../../src/server/ops/purger.ts";
import type { SignaturePurge } from "../../../src/store/index.ts";
import { ManualTimers, settled } from "../../ingest/manualTimers.ts";
import { ManualClock } from "../../ingest/memoryStore.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const FIRST_ASK_MS = 10_000;
/** Gives each pause its mean length. */
const MEAN = 0.5;

/** A table of so many blocks of which each step deletes one row, and what was done with it. */
class RecordedPurge implements SignaturePurge {
  readonly steps: [first: number, end: number][] = [];
  readonly begins: number[] = [];
  readonly ends: number[] = [];
  blockCount = 300;
  nextBlock = 0;
  isDue = true;
  beforeStep: () => Promise<void> | void = () => {};
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  async begin(intervalMs: number) {
    expect(intervalMs).toBe(HOUR_MS);
    this.begins.push(this.#clock.monotonicMs());
    return this.isDue ? { nextBlock: this.nextBlock, blockCount: this.blockCount } : undefined;
  }

  async deleteFrom(first: number, end: number) {
    await this.beforeStep();
    this.steps.push([first, end]);
    return 1;
  }

  async end(nextBlock: number) {
    this.ends.push(nextBlock);
  }
}

function start(random = () => MEAN) {
  const clock = new ManualClock(0n);
  const timers = new ManualTimers(clock);
  const purge = new RecordedPurge(clock);
  const failures: unknown[] = [];
  let purged = 0;
  const purger = startPurger({
    purge,
    timers,
    monotonicMs: () => clock.monotonicMs(),
    random,
    onPurged: (count) => {
      purged += count;
    },
    onFailure: (error) => failures.push(error),
  });
  return { clock, timers, purge, purger, failures, purged: () => purged };
}

test("goes through the table in small steps with pauses, and asks again and again", async () => {
  const { timers, purge, purger, purged } = start();
  await timers.advanceMs(FIRST_ASK_MS - 1);
  expect(purge.begins).toHaveLength(0);
  await timers.advanceMs(1);
  // The first step, and then a pause.
  expect(purge.steps).toEqual([[0, 128]]);
  await timers.advanceMs(99);
  expect(purge.steps).toHaveLength(1);
  await timers.advanceMs(1);
  expect(purge.steps).toHaveLength(2);
  await timers.advanceMs(1_000);
  expect(purge.steps).toEqual([
    [0, 128],
    [128, 256],
    [256, 384],
  ]);
  expect(purge.ends).toEqual([0]);
  expect(purged()).toBe(3);

  await timers.advanceMs(HOUR_MS);
  expect(purge.begins.length).toBeGreaterThanOrEqual(6);
  await purger.close();
});

test("does nothing where another process has the run", async () => {
  const { timers, purge, purger } = start();
  purge.isDue = false;
  await timers.advanceMs(HOUR_MS);
  expect(purge.begins.length).toBeGreaterThan(3);
  expect([purge.steps, purge.ends]).toEqual([[], []]);
  await purger.close();
});

test("goes on at the block that it is given, unless the table is shorter by now", async () => {
  const { timers, purge, purger } = start();
  purge.nextBlock = 256;
  await timers.advanceMs(2 * MINUTE_MS);
  expect(purge.steps).toEqual([[256, 384]]);
  purge.nextBlock = 9_999;
  await timers.advanceMs(11 * MINUTE_MS);
  expect(purge.steps.slice(1)).toEqual([
    [0, 128],
    [128, 256],
    [256, 384],
  ]);
  await purger.close();
});

test("ends a run before another one may begin, and keeps where it was", async () => {
  const { timers, purge, purger } = start();
  purge.blockCount = 1e9;
  await timers.advanceMs(FIRST_ASK_MS + HOUR_MS / 2 + 1_000);
  expect(purge.ends).toHaveLength(1);
  expect(purge.ends[0]).toBe(purge.steps.at(-1)?.[1]);
  // About one step for each pause of 100 ms in half an hour.
  expect(purge.steps.length).toBeLessThanOrEqual(18_001);
  await purger.close();
});

test("tells of a failure and asks again later", async () => {
  const { timers, purge, purger, failures } = start();
  const failure = new Error("The database failed");
  purge.beforeStep = () => {
    throw failure;
  };
  await timers.advanceMs(2 * MINUTE_MS);
  expect(failures).toEqual([failure]);
  purge.beforeStep = () => {};
  await timers.advanceMs(12 * MINUTE_MS);
  expect(purge.steps).toHaveLength(3);
  expect(failures).toHaveLength(1);
  await purger.close();
});

test("servers that start together do not ask together", async () => {
  const early = start(() => 0);
  const late = start(() => 0.999);
  for (const { timers } of [early, late]) await timers.advanceMs(FIRST_ASK_MS);
  expect([early.purge.begins.length, late.purge.begins.length]).toEqual([1, 0]);
  await Promise.all([early.purger.close(), late.purger.close()]);
});

test("ends at once on close if it waits, and after the step that is under way", async () => {
  const { timers, purge, purger } = start();
  const step = Promise.withResolvers<void>();
  purge.beforeStep = () => step.promise;
  await timers.advanceMs(FIRST_ASK_MS);
  let isClosed = false;
  const closing = purger.close().then(() => {
    isClosed = true;
  });
  await settled();
  expect(isClosed).toBe(false);
  step.resolve();
  await closing;
  expect(purge.steps).toHaveLength(1);
  expect(purge.ends).toEqual([128]);
  expect(timers.waitingCount).toBe(0);
  await timers.advanceMs(HOUR_MS);
  expect(purge.begins).toHaveLength(1);

  const pausing = start();
  await pausing.timers.advanceMs(FIRST_ASK_MS);
  await pausing.purger.close();
  expect(pausing.purge.ends).toEqual([128]);
  const waiting = start();
  await waiting.purger.close();
  expect(waiting.timers.waitingCount).toBe(0);
});
