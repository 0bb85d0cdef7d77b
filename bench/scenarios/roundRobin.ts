/** Contenders in turns, so that a machine that slows down slows all of them down. */
import type { Lab } from "../lab/lab.ts";
import type { LoadReport } from "../load/job.ts";
import { describeLoad } from "../report/loadColumns.ts";

/** One contender in one role. */
export interface Entrant {
  /** What it does, such as `unary gRPC: Countersign`. */
  readonly label: string;
  run(lab: Lab): Promise<LoadReport>;
}

/** @returns the reports of each entrant, one a round, in the order of the entrants. */
export async function roundRobin(
  lab: Lab,
  entrants: readonly Entrant[],
  describe: (report: LoadReport) => string = describeLoad,
): Promise<LoadReport[][]> {
  const reports: LoadReport[][] = entrants.map(() => []);
  for (let round = 1; round <= lab.pace.rounds; round++) {
    for (const [index, entrant] of entrants.entries()) {
      const label = `${entrant.label}, round ${round}`;
      const report = await lab.progress.step(label, () => entrant.run(lab), describe);
      reports[index]?.push(report);
    }
  }
  return reports;
}

/** Round by round, what one entrant measured over what another one did. */
export function ratios(
  ours: readonly LoadReport[],
  theirs: readonly LoadReport[],
  measure: (report: LoadReport) => number,
): number[] {
  return ours.map((report, round) => measure(report) / measure(theirs[round] as LoadReport));
}
