import type { Lab, Pace } from "../lab/lab.ts";
import type { Section } from "../report/section.ts";

/** One question that the benchmark answers. */
export interface Scenario {
  /** For `--only`. */
  readonly name: string;
  readonly about: string;
  /** How many steps of progress it will make; 0 if this pace leaves it out. */
  steps(pace: Pace): number;
  run(lab: Lab): Promise<Section>;
}
