/** What a lone signal waits for, when nobody else sends, beside one insert by hand. */
import { countersign } from "../contenders/countersign.ts";
import { measure } from "../lab/measure.ts";
import type { Latency, LoadReport } from "../load/job.ts";
import { atMost, MILLISECONDS, spread, text } from "../report/section.ts";
import { roundRobin } from "./roundRobin.ts";
import type { Scenario } from "./scenario.ts";

const EXTRA_MAX_MS = 2;
/** Long enough for both sides to fall idle. */
const PAUSE_MS = 3;

const PROTOCOLS = [
  { what: "unary JSON", contender: countersign("json") },
  { what: "unary gRPC", contender: countersign("grpc") },
] as const;

/** The scenario. */
export const loneSignal: Scenario = {
  name: "lone-signal",
  about: "latency of one signal while the server is idle, beside one bare insert",
  steps: ({ rounds }) => rounds * PROTOCOLS.length,
  async run(lab) {
    const entrants = PROTOCOLS.map(({ what, contender }) => ({
      label: `one lone signal, ${what}`,
      run: () =>
        measure(lab, {
          contender,
          plan: (databaseUrl) => ({
            kind: "paired",
            other: { kind: "insert", databaseUrl },
            pairs: lab.pace.pairs,
            pauseMs: PAUSE_MS,
          }),
          durationMs: 0,
        }),
    }));
    const reports = await roundRobin(lab, entrants, describe);
    return {
      title: "One lone signal",
      head: ["what", "signal, p50", "bare insert, p50", "difference"],
      rows: PROTOCOLS.map(({ what }, index) => row(what, reports[index] as LoadReport[])),
      notes: [
        "Signals and inserts in turns, one at a time, with pauses between, on the same database.",
      ],
      verdicts: PROTOCOLS.map(({ what }, index) =>
        atMost(
          `one lone signal over one bare insert, ${what}`,
          EXTRA_MAX_MS,
          (reports[index] as LoadReport[]).map(extraMs),
          MILLISECONDS,
        ),
      ),
    };
  },
};

function row(what: string, reports: readonly LoadReport[]): string[] {
  return [
    what,
    spread(
      reports.map(({ latency }) => latency.p50Ms),
      MILLISECONDS,
    ),
    spread(
      reports.map((report) => insertOf(report).p50Ms),
      MILLISECONDS,
    ),
    spread(reports.map(extraMs), MILLISECONDS),
  ];
}

function describe(report: LoadReport): string {
  const insert = text(insertOf(report).p50Ms, MILLISECONDS);
  return `${text(report.latency.p50Ms, MILLISECONDS)}, one insert ${insert}`;
}

function extraMs(report: LoadReport): number {
  return report.latency.p50Ms - insertOf(report).p50Ms;
}

function insertOf({ otherLatency }: LoadReport): Latency {
  return otherLatency as Latency;
}
