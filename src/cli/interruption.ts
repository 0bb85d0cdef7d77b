/**
 * Ctrl-C while a command waits for an answer.
 */

/** Whether a person wants to stop. */
export interface Interruption {
  readonly signal: AbortSignal;
  /** From now on, Ctrl-C ends the process as usual. */
  end(): void;
}

/** Lets a person stop the run and still learn what became of the work under way. */
export function interruptible(): Interruption {
  const controller = new AbortController();
  const abort = () => controller.abort();
  process.once("SIGINT", abort);
  process.once("SIGTERM", abort);
  return {
    signal: controller.signal,
    end() {
      process.off("SIGINT", abort);
      process.off("SIGTERM", abort);
    },
  };
}
