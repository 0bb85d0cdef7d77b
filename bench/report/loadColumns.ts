/** The columns that tell of a load: rate, latency, and who spent the CPU time. */
import type { LoadReport } from "../load/job.ts";
import { MILLISECONDS, medianOfKnown, PERCENT, spread, text, WHOLE } from "./section.ts";

/** The heads of {@link loadColumns}. */
export const LOAD_HEAD = [
  "signals/s",
  "p50",
  "p99",
  "server µs",
  "PostgreSQL µs",
  "load µs",
  "load CPU",
] as const;

/** What {@link LOAD_HEAD} means. */
export const LOAD_NOTES = [
  "“× 64” is 64 requests at a time. Medians of all rounds, with the least and the greatest. Latencies are of requests. The µs are CPU time for each signal, which swings less than the rate does on a machine that is shared.",
  "“load CPU” is the load generator's share of one core. “LIMIT” marks where its event loop had no rest and it took more CPU time than the server: there the rate is the load generator's, and the server could do more.",
] as const;

/** A loop that is busier than this has no rest. */
const BUSY = 0.9;

/** One contender's runs. */
export function loadColumns(reports: readonly LoadReport[]): string[] {
  const micros = (who: keyof LoadReport["cpuSeconds"]) =>
    medianOfKnown(
      reports.map(({ cpuSeconds, acknowledged }) => {
        const seconds = cpuSeconds[who];
        return seconds && (seconds * 1e6) / acknowledged;
      }),
      WHOLE,
    );
  const latencies = (quantile: keyof LoadReport["latency"]) =>
    reports.map(({ latency }) => latency[quantile]);
  return [
    spread(reports.map(rateOf), WHOLE),
    medianOfKnown(latencies("p50Ms"), MILLISECONDS),
    spread(latencies("p99Ms"), MILLISECONDS),
    micros("server"),
    micros("postgres"),
    micros("load"),
    medianOfKnown(reports.map(loadShare), PERCENT) + (reports.some(isLoadTheLimit) ? " LIMIT" : ""),
  ];
}

/** Signals a second. */
export function rateOf({ acknowledged, seconds }: LoadReport): number {
  return acknowledged / seconds;
}

/** One run in a few words, for the progress. */
export function describeLoad(report: LoadReport): string {
  const words = [
    `${text(rateOf(report), WHOLE)} signals/s`,
    `p99 ${text(report.latency.p99Ms, MILLISECONDS)}`,
    `load at ${text(loadShare(report), PERCENT)} of a core`,
  ];
  if (isLoadTheLimit(report)) words.push("the load generator is the limit");
  if (report.isCutShort) words.push(`out of prepared signals after ${report.seconds.toFixed(1)} s`);
  return words.join(", ");
}

function loadShare({ cpuSeconds, seconds }: LoadReport): number {
  return cpuSeconds.load / seconds;
}

/** Only beside a server: where there is none, the load generator is what is measured. */
function isLoadTheLimit({ cpuSeconds, loopUtilization }: LoadReport): boolean {
  const { server, load } = cpuSeconds;
  return server !== undefined && loopUtilization >= BUSY && load > server;
}
