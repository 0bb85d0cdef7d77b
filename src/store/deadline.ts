import { StoreUnavailableError } from "../ingest/store.ts";

/**
 * Waits for the database's answer, but no longer than `timeoutMs`. The statement itself is
 * not stopped.
 *
 * @throws StoreUnavailableError when the time is over.
 */
export async function withDeadline<T>(timeoutMs: number, work: PromiseLike<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    // A timer counts whole milliseconds and may fire up to one too early. Whoever compares
    // the time with this deadline when it has passed must find that it has.
    const delayMs = Math.ceil(timeoutMs) + 1;
    timer = setTimeout(() => {
      reject(
        new StoreUnavailableError(
          `The database did not answer within ${timeoutMs} ms; the outcome is unknown`,
        ),
      );
    }, delayMs);
  });
  try {
    return await Promise.race([work, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
