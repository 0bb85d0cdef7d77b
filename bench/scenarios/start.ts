/** How long `countersign serve` takes until it takes signals, with its embedded database. */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { serve } from "../contenders/countersign.ts";
import type { Lab } from "../lab/lab.ts";
import { MILLISECONDS, spread, text } from "../report/section.ts";
import type { Scenario } from "./scenario.ts";

interface Starts {
  readonly coldMs: number;
  readonly warmMs: number;
}

/** The scenario. */
export const start: Scenario = {
  name: "start",
  about: "cold and warm start of `countersign serve` with the embedded database",
  steps: ({ rounds }) => rounds,
  async run(lab) {
    const starts: Starts[] = [];
    for (let round = 1; round <= lab.pace.rounds; round++) {
      const label = `cold and warm start, round ${round}`;
      starts.push(await lab.progress.step(label, () => startTwice(lab), describe));
    }
    const cold = starts.map(({ coldMs }) => coldMs);
    const warm = starts.map(({ warmMs }) => warmMs);
    return {
      title: "Start",
      head: ["start", "until it takes signals"],
      rows: [
        ["cold, no DATA_DIR yet", spread(cold, MILLISECONDS)],
        ["warm, on the DATA_DIR of before", spread(warm, MILLISECONDS)],
      ],
      notes: [
        "From the start of the process, from source; PostgreSQL is made or started, and migrated.",
      ],
      verdicts: [],
    };
  },
};

async function startTwice(lab: Lab): Promise<Starts> {
  lab.signal.throwIfAborted();
  const dir = await mkdtemp(join(lab.dir, "start-"));
  const dataDir = join(dir, "data");
  try {
    const coldMs = await startOnce(lab, dataDir);
    const warmMs = await startOnce(lab, dataDir);
    return { coldMs, warmMs };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function startOnce(lab: Lab, dataDir: string): Promise<number> {
  await using server = await serve(lab.dir, { DATA_DIR: dataDir });
  return server.readyAfterMs;
}

function describe({ coldMs, warmMs }: Starts): string {
  return `${text(coldMs, MILLISECONDS)}, ${text(warmMs, MILLISECONDS)}`;
}
