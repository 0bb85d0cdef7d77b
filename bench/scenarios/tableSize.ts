/** Whether the rate holds when the table has become large. */
import { countersign } from "../contenders/countersign.ts";
import { fillSignals, hasRoomFor } from "../lab/fill.ts";
import type { Lab } from "../lab/lab.ts";
import { measure, measureOn } from "../lab/measure.ts";
import type { LoadReport } from "../load/job.ts";
import { LOAD_HEAD, loadColumns, rateOf } from "../report/loadColumns.ts";
import { atLeast, PERCENT, type Section, TIMES, text, WHOLE } from "../report/section.ts";
import { BATCHES, UNARY } from "./rates.ts";
import { ratios, roundRobin } from "./roundRobin.ts";
import type { Scenario } from "./scenario.ts";

const RATIO_MIN = 0.8;

const KINDS = [
  { what: "unary gRPC × 64", plan: UNARY },
  { what: "batches of 100 × 4", plan: BATCHES },
] as const;

/** The scenario. */
export const tableSize: Scenario = {
  name: "table-size",
  about: "the rate at five million rows over the rate at an empty table",
  steps: ({ filledRows, rounds }) => (filledRows === 0 ? 0 : 1 + 2 * rounds * KINDS.length),
  async run(lab) {
    const { filledRows } = lab.pace;
    if (!(await hasRoomFor(filledRows, lab.dir))) {
      return empty(`The disk has no room for ${text(filledRows, WHOLE)} rows; this was left out.`);
    }
    await using database = await lab.postgres.createDatabase();
    await lab.progress.step(
      `filling a table with ${text(filledRows, WHOLE)} rows`,
      (tell) =>
        fillSignals(database.url, filledRows, lab.signal, (share) => tell(text(share, PERCENT))),
      () => "done",
    );
    const reports = await roundRobin(
      lab,
      KINDS.flatMap(({ what, plan }) => [
        { label: `${what}, empty table`, run: (lab: Lab) => measure(lab, run(lab, plan)) },
        {
          label: `${what}, ${text(filledRows, WHOLE)} rows`,
          run: (lab: Lab) => measureOn(lab, database, run(lab, plan)),
        },
      ]),
    );
    return sectionOf(reports, filledRows);
  },
};

function run(lab: Lab, plan: (typeof KINDS)[number]["plan"]) {
  return { contender: countersign("grpc"), plan, durationMs: lab.pace.durationMs };
}

function sectionOf(reports: readonly LoadReport[][], filledRows: number): Section {
  const pairs = KINDS.map(({ what }, index) => ({
    what,
    empty: reports[2 * index] as LoadReport[],
    filled: reports[2 * index + 1] as LoadReport[],
  }));
  return {
    title: "Table size",
    head: ["what", "rows before", ...LOAD_HEAD],
    rows: pairs.flatMap(({ what, empty, filled }) => [
      [what, "0", ...loadColumns(empty)],
      [what, text(filledRows, WHOLE), ...loadColumns(filled)],
    ]),
    notes: [],
    verdicts: pairs.map(({ what, empty, filled }) =>
      atLeast(
        `${what}: at ${text(filledRows, WHOLE)} rows over an empty table`,
        RATIO_MIN,
        ratios(filled, empty, rateOf),
        TIMES,
      ),
    ),
  };
}

function empty(why: string): Section {
  return { title: "Table size", head: [], rows: [], notes: [why], verdicts: [] };
}
