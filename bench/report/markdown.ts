import type { Section } from "./section.ts";
import { VERDICT_HEAD, verdictRows } from "./terminal.ts";

/** What the results were measured with and on. */
export interface Circumstances {
  readonly command: string;
  readonly machine: readonly string[];
  readonly rounds: number;
  readonly durationMs: number;
}

/** All sections as a page, the targets first. */
export function markdownReport(
  sections: readonly Section[],
  { command, machine, rounds, durationMs }: Circumstances,
): string {
  const verdicts = sections.flatMap((section) => section.verdicts);
  const minutes = (durationMs / 60_000).toFixed(1);
  const parts = [
    "# Benchmark",
    `Measured by \`${command}\` in ${minutes} minutes, in ${rounds} ${rounds === 1 ? "round" : "rounds"}. Ratios are of runs in one round, so they hold where absolute rates do not. After each run, the rows in the database were as many as the acknowledgements.`,
    machine.map((fact) => `- ${fact}`).join("\n"),
    "## Targets",
    tableOf(VERDICT_HEAD, verdictRows(verdicts)),
    ...sections.flatMap(({ title, head, rows, notes }) => [
      `## ${title}`,
      ...(rows.length === 0 ? [] : [tableOf(head, rows)]),
      ...notes,
    ]),
  ];
  return `${parts.join("\n\n")}\n`;
}

function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}
