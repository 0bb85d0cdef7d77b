/** Long work lets everything else go on, and takes turns with other long work. */
import { expect, test } from "vitest";
import { createTurns } from "../../../src/server/services/turns.ts";

/** A clock that moves only when work is done. */
function workClock() {
  let ms = 0;
  const work = (durationMs: number) => {
    ms += durationMs;
  };
  return { monotonicMs: () => ms, work };
}

// Else two calls at once would take a turn of the event loop, with all that others do in it,
// for each of their pieces.
test.each([1, 2, 8])(
  "the event loop turns between slices and not within one, with calls at once: %i",
  async (calls) => {
    const { monotonicMs, work } = workClock();
    const turns = createTurns(monotonicMs);
    let loops = 0;
    let isOver = false;
    const count = () => {
      loops += 1;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);

    async function longWork() {
      for (let piece = 0; piece < 1_000 / calls; piece++) {
        await turns.next();
        work(1);
      }
    }
    await Promise.all(Array.from({ length: calls }, longWork));
    isOver = true;

    // 5 pieces of a millisecond fit into a slice of 5 ms.
    expect(loops).toBeGreaterThanOrEqual(199);
    expect(loops).toBeLessThan(450);
  },
);

test("calls with long work take turns, first come, first served", async () => {
  const { monotonicMs, work } = workClock();
  const turns = createTurns(monotonicMs);
  const order: string[] = [];
  async function longWork(name: string) {
    for (let piece = 0; piece < 3; piece++) {
      await turns.next();
      order.push(name);
      work(100);
    }
  }

  await Promise.all(["a", "b", "c"].map(longWork));

  expect(order.join("")).toBe("abcabcabc");
});

test("only one call has a slice in a turn of the event loop", async () => {
  const { monotonicMs, work } = workClock();
  const turns = createTurns(monotonicMs);
  let inThisLoop = 0;
  let most = 0;
  let isOver = false;
  const reset = () => {
    inThisLoop = 0;
    if (!isOver) setImmediate(reset);
  };
  setImmediate(reset);
  async function longWork() {
    for (let piece = 0; piece < 20; piece++) {
      await turns.next();
      inThisLoop += 1;
      most = Math.max(most, inThisLoop);
      work(100);
    }
  }

  await Promise.all(Array.from({ length: 10 }, longWork));
  isOver = true;

  expect(most).toBeLessThanOrEqual(2);
});
