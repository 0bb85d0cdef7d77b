import Table from "cli-table3";
import type { Section, Verdict } from "./section.ts";

/** All sections as tables for a terminal, the targets last. */
export function terminalReport(sections: readonly Section[]): string {
  const parts = sections.map(({ title, head, rows, notes }) =>
    [title, ...(rows.length === 0 ? [] : [tableOf(head, rows)]), ...notes].join("\n"),
  );
  const verdicts = sections.flatMap((section) => section.verdicts);
  if (verdicts.length > 0) parts.push(`Targets\n${tableOf(VERDICT_HEAD, verdictRows(verdicts))}`);
  return `${parts.join("\n\n")}\n`;
}

/** The heads of {@link verdictRows}. */
export const VERDICT_HEAD = ["what", "target", "measured", ""] as const;

/** The targets as rows of a table. */
export function verdictRows(verdicts: readonly Verdict[]): string[][] {
  return verdicts.map(({ what, target, measured, isMet }) => [
    what,
    target,
    measured,
    isMet ? "met" : "MISSED",
  ]);
}

function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const table = new Table({
    head: [...head],
    style: { head: [], border: [] },
    // No lines between the rows.
    chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" },
  });
  table.push(...rows.map((row) => [...row]));
  return table.toString();
}
