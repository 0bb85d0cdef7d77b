/** What each step of a signal costs in CPU time. */
import { fileURLToPath } from "node:url";
import { runScript } from "../lab/children.ts";
import type { MicroReport } from "../micro/main.ts";
import type { Scenario } from "./scenario.ts";

const MAIN = fileURLToPath(new URL("../micro/main.ts", import.meta.url));

/** The scenario. */
export const micro: Scenario = {
  name: "micro",
  about: "CPU time of verify, parse, validate, digest, and all of it",
  steps: () => 1,
  async run(lab) {
    const steps = await lab.progress.step(
      "microbenchmarks",
      () => runScript<MicroReport>(MAIN, [String(lab.pace.microMs)], lab.signal),
      (report) => `${report.length} steps`,
    );
    return {
      title: "Microbenchmarks",
      head: ["step", "p50", "p99"],
      rows: steps.map(({ step, p50Micros, p99Micros }) => [
        step,
        `${p50Micros.toFixed(1)} µs`,
        `${p99Micros.toFixed(1)} µs`,
      ]),
      notes: ["One signal of the load; “all of it” is from the bytes to what the store is given."],
      verdicts: [],
    };
  },
};
