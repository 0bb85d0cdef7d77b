/** How many signals a second: Countersign, the obvious server, and the bare database. */
import type { Contender } from "../contenders/contender.ts";
import { countersign } from "../contenders/countersign.ts";
import { bareInserts, storeCall } from "../contenders/database.ts";
import { obvious } from "../contenders/obvious.ts";
import { measure } from "../lab/measure.ts";
import type { LoadReport, Plan } from "../load/job.ts";
import { LOAD_HEAD, LOAD_NOTES, loadColumns, rateOf } from "../report/loadColumns.ts";
import { atLeast, atMost, MILLISECONDS, TIMES } from "../report/section.ts";
import { ratios, roundRobin } from "./roundRobin.ts";
import type { Scenario } from "./scenario.ts";

/** One signal a request, 64 requests at a time. */
export const UNARY: Plan = {
  kind: "closed",
  concurrency: 64,
  signalsPerRequest: 1,
  preparedPerSecond: 12_000,
};

/** A hundred signals a request, a few requests at a time. */
export const BATCHES: Plan = {
  kind: "closed",
  concurrency: 4,
  signalsPerRequest: 100,
  preparedPerSecond: 30_000,
};

/** 64 signals wait, in two batches: what the batcher does with 64 requests at a time. */
const STORE_CALLS: Plan = {
  kind: "closed",
  concurrency: 2,
  signalsPerRequest: 32,
  preparedPerSecond: 30_000,
};

const UNARY_JSON = "unary JSON × 64";
const UNARY_GRPC = "unary gRPC × 64";

const CONTESTS: readonly {
  readonly what: string;
  readonly contender: Contender;
  readonly plan: Plan;
}[] = [
  { what: UNARY_JSON, contender: countersign("json"), plan: UNARY },
  { what: UNARY_JSON, contender: obvious("json"), plan: UNARY },
  { what: UNARY_GRPC, contender: countersign("grpc"), plan: UNARY },
  { what: UNARY_GRPC, contender: obvious("grpc"), plan: UNARY },
  { what: "single rows × 64", contender: bareInserts, plan: UNARY },
  { what: "batches of 100 × 4", contender: countersign("grpc"), plan: BATCHES },
  { what: "batches of 32 × 2", contender: storeCall, plan: STORE_CALLS },
  { what: UNARY_JSON, contender: countersign("json", 2), plan: UNARY },
  { what: UNARY_GRPC, contender: countersign("grpc", 2), plan: UNARY },
];

/** The scenario. */
export const rates: Scenario = {
  name: "rates",
  about: "signals a second beside the obvious server and the bare database",
  steps: ({ rounds }) => rounds * CONTESTS.length,
  async run(lab) {
    const entrants = CONTESTS.map(({ what, contender, plan }) => ({
      label: `${what}: ${contender.name}`,
      run: () => measure(lab, { contender, plan, durationMs: lab.pace.durationMs }),
    }));
    const reports = await roundRobin(lab, entrants);
    return {
      title: "Rates",
      head: ["what", "who", ...LOAD_HEAD],
      rows: CONTESTS.map(({ what, contender }, index) => [
        what,
        contender.name,
        ...loadColumns(reports[index] as LoadReport[]),
      ]),
      notes: [
        ...LOAD_NOTES,
        "JSON is Connect over HTTP/1.1; batches are over gRPC. The obvious server is plain Connect with one insert a signal; bare inserts and the store call have no server. Countersign logs each request to a file, as it does by default; the obvious server logs nothing. Both, and the bare inserts, have ten connections.",
      ],
      verdicts: verdicts(reports),
    };
  },
};

function verdicts(reports: readonly LoadReport[][]) {
  const [json, obviousJson, grpc, obviousGrpc, bare, batches] = reports as [
    LoadReport[],
    LoadReport[],
    LoadReport[],
    LoadReport[],
    LoadReport[],
    LoadReport[],
  ];
  const over = (ours: LoadReport[], theirs: LoadReport[]) => ratios(ours, theirs, rateOf);
  const p99 = (runs: LoadReport[]) => runs.map(({ latency }) => latency.p99Ms);
  return [
    atLeast("unary JSON over the obvious server", 3, over(json, obviousJson), TIMES),
    atLeast("unary gRPC over the obvious server", 3, over(grpc, obviousGrpc), TIMES),
    atLeast("unary JSON over bare inserts", 1, over(json, bare), TIMES),
    atLeast("unary gRPC over bare inserts", 1, over(grpc, bare), TIMES),
    atLeast("batches of 100 over bare inserts", 3.5, over(batches, bare), TIMES),
    atMost("p99 of unary JSON × 64", 30, p99(json), MILLISECONDS),
    atMost("p99 of unary gRPC × 64", 30, p99(grpc), MILLISECONDS),
  ];
}
