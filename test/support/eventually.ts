import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 25;

/**
 * Waits until something holds, and no longer.
 *
 * @throws Error saying what was waited for, if it does not come true in time.
 */
export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  timeoutMs = 10_000,
): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!(await holds())) {
    if (performance.now() > endMs) throw new Error(`It did not come true in time: ${what}`);
    await sleep(POLL_MS);
  }
}
