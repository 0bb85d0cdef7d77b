/** Tells on standard error how far the benchmark is, one line a step. */
export interface Progress {
  /**
   * Does one step and tells what came of it.
   *
   * @param work is given a way to tell how far it is meanwhile.
   */
  step<T>(
    label: string,
    work: (tell: (text: string) => void) => Promise<T>,
    describe: (result: T) => string,
  ): Promise<T>;
}

/** @param total how many steps there will be. */
export function createProgress(total: number): Progress {
  const startMs = performance.now();
  let steps = 0;
  return {
    async step(label, work, describe) {
      steps += 1;
      const place = `${String(steps).padStart(String(total).length)}/${total}`;
      process.stderr.write(`[${place}  ${elapsed(startMs)}] ${label} … `);
      const result = await work((text) => process.stderr.write(`${text} … `));
      process.stderr.write(`${describe(result)}\n`);
      return result;
    },
  };
}

function elapsed(startMs: number): string {
  const seconds = Math.round((performance.now() - startMs) / 1_000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
