/** How long a signal takes at a fixed rate, stalls included. */
import { countersign } from "../contenders/countersign.ts";
import { measure } from "../lab/measure.ts";
import type { LoadReport, Plan } from "../load/job.ts";
import { LOAD_HEAD, loadColumns } from "../report/loadColumns.ts";
import { atMost, MILLISECONDS } from "../report/section.ts";
import { roundRobin } from "./roundRobin.ts";
import type { Scenario } from "./scenario.ts";

const PLAN: Plan = { kind: "open", ratePerSecond: 500 };
const P99_MAX_MS = 15;

const PROTOCOLS = [
  { what: "unary JSON, 500/s", contender: countersign("json") },
  { what: "unary gRPC, 500/s", contender: countersign("grpc") },
] as const;

/** The scenario. */
export const openLoop: Scenario = {
  name: "open-loop",
  about: "latency at 500 signals a second, whether or not the answers keep up",
  steps: ({ rounds }) => rounds * PROTOCOLS.length,
  async run(lab) {
    const entrants = PROTOCOLS.map(({ what, contender }) => ({
      label: what,
      run: () => measure(lab, { contender, plan: PLAN, durationMs: lab.pace.openLoopMs }),
    }));
    const reports = await roundRobin(lab, entrants);
    return {
      title: "Open loop",
      head: ["what", ...LOAD_HEAD],
      rows: PROTOCOLS.map(({ what }, index) => [
        what,
        ...loadColumns(reports[index] as LoadReport[]),
      ]),
      notes: [
        "A request's latency counts from the moment when it was due, so a stall counts for all that it held up.",
      ],
      verdicts: PROTOCOLS.map(({ what }, index) =>
        atMost(
          `p99 of ${what}, open loop`,
          P99_MAX_MS,
          (reports[index] as LoadReport[]).map(({ latency }) => latency.p99Ms),
          MILLISECONDS,
        ),
      ),
    };
  },
};
