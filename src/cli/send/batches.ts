import { setTimeout as sleep } from "node:timers/promises";

/**
 * Gathers what a slow source gives into batches: one is given as soon as it has
 * `maxItems`, or when `maxWaitMs` have passed since its first item, so that a signal from a
 * live pipe does not wait for the next one.
 */
export async function* gatherBatches<T>(
  source: AsyncIterable<T>,
  maxItems: number,
  maxWaitMs: number,
): AsyncGenerator<T[]> {
  const iterator = source[Symbol.asyncIterator]();
  let next = iterator.next();
  for (;;) {
    const first = await next;
    if (first.done === true) return;
    const batch = [first.value];
    next = iterator.next();
    // It fails only when the next batch begins, which then awaits it.
    next.catch(() => {});
    const timer = new AbortController();
    const isTime = sleep(maxWaitMs, undefined, { signal: timer.signal }).catch(() => undefined);
    while (batch.length < maxItems) {
      const arrived = await Promise.race([next.catch(() => undefined), isTime]);
      if (arrived === undefined || arrived.done === true) break;
      batch.push(arrived.value);
      next = iterator.next();
      next.catch(() => {});
    }
    timer.abort();
    yield batch;
  }
}
