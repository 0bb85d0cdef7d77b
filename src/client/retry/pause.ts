/**
 * Waits, unless there is no more reason to.
 *
 * @returns whether the time has passed; false if one of the signals was aborted before.
 */
export function pause(delayMs: number, signals: readonly AbortSignal[]): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => end(true), delayMs);
    const stop = () => end(false);
    for (const signal of signals) signal.addEventListener("abort", stop);
    if (signals.some(({ aborted }) => aborted)) stop();

    function end(hasPassed: boolean): void {
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener("abort", stop);
      resolve(hasPassed);
    }
  });
}
