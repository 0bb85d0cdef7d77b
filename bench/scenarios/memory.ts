/** Whether the server's memory stays small and flat under load. */
import { countersign } from "../contenders/countersign.ts";
import { measure } from "../lab/measure.ts";
import { median } from "../lab/statistics.ts";
import { describeLoad } from "../report/loadColumns.ts";
import { MEGABYTES, TIMES, text, type Verdict } from "../report/section.ts";
import type { Scenario } from "./scenario.ts";

const MAX_BYTES = 250e6;
/** More growth than this from the second quarter of the run to the last is a leak. */
const MAX_GROWTH = 1.1;

/** The scenario. */
export const memory: Scenario = {
  name: "memory",
  about: "resident memory over a minute of load",
  steps: () => 1,
  async run(lab) {
    const { memoryMs } = lab.pace;
    const label = `${memoryMs / 1_000} s of unary JSON, 64 at a time, for the memory`;
    const { serverRssBytes } = await lab.progress.step(
      label,
      () =>
        measure(lab, {
          contender: countersign("json"),
          plan: { kind: "sustained", concurrency: 64 },
          durationMs: memoryMs,
          warmUpMs: 0,
        }),
      (report) => `${describeLoad(report)}, ${text(report.serverRssBytes.at(-1) ?? 0, MEGABYTES)}`,
    );
    const quarters = quartersOf(serverRssBytes);
    return {
      title: "Memory",
      head: ["quarter of the run", "resident memory of the server"],
      rows: quarters.map((bytes, index) => [`${index + 1}`, text(bytes, MEGABYTES)]),
      notes: ["Unary JSON, 64 at a time; the median of each quarter, sampled once a second."],
      verdicts: serverRssBytes.length === 0 ? [] : [verdict(serverRssBytes, quarters, memoryMs)],
    };
  },
};

function verdict(
  samples: readonly number[],
  quarters: readonly number[],
  durationMs: number,
): Verdict {
  const max = Math.max(...samples);
  const growth = (quarters.at(-1) as number) / (quarters[1] ?? (quarters[0] as number));
  return {
    what: `memory over ${durationMs / 1_000} s of load`,
    target: `under ${text(MAX_BYTES, MEGABYTES)}, flat`,
    measured: `${text(max, MEGABYTES)} at most; last quarter ${text(growth, TIMES)} the second`,
    isMet: max < MAX_BYTES && growth <= MAX_GROWTH,
  };
}

/** The median of each quarter; fewer if there are not enough samples. */
function quartersOf(samples: readonly number[]): number[] {
  const length = Math.ceil(samples.length / 4);
  return [0, 1, 2, 3]
    .map((quarter) => samples.slice(quarter * length, (quarter + 1) * length))
    .filter((part) => part.length > 0)
    .map(median);
}
