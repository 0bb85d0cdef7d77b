/**
 * Long work in slices: between two of them the event loop serves whatever else has arrived.
 *
 * However many calls have long work, only one of them has a slice in a turn of the event
 * loop, so that all others wait for one slice at most.
 */

/** Shares the event loop among calls with long work. */
export interface Turns {
  /**
   * Asked between any two pieces of work, which take some milliseconds at most.
   *
   * @returns `undefined` while the slice lasts; else when the next one begins, first come,
   *   first served.
   */
  next(): Promise<void> | undefined;
}

/** Long enough that turns cost next to nothing, and short enough that nobody notices one. */
const SLICE_MS = 5;

/** Makes the turns of one event loop. */
export function createTurns(monotonicMs: () => number): Turns {
  const waiting: (() => void)[] = [];
  let sliceEndMs = Number.NEGATIVE_INFINITY;
  let isScheduled = false;

  function schedule(): void {
    if (isScheduled || waiting.length === 0) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      sliceEndMs = monotonicMs() + SLICE_MS;
      waiting.shift()?.();
      schedule();
    });
  }

  return {
    next() {
      // Also if others wait: to take turns by pieces would cost each a turn of the event loop.
      if (monotonicMs() < sliceEndMs) return undefined;
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting.push(resolve);
      schedule();
      return promise;
    },
  };
}
