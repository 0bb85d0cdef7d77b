/**
 * Rows of texts for a person: below each other, or one by one where they have no room.
 */
import stringWidth from "string-width";
import { terminalWidth, writeOut } from "./output.ts";

/** A column of a table. */
export interface Column {
  readonly title: string;
  /** What it has at least, in characters of a terminal, so that a table can be written in parts. */
  readonly minWidth?: number;
}

/** The texts of one row, by column. */
export type Row = readonly string[];

const GAP = "  ";

/** Writes rows below each other, or on a terminal that is too narrow for it, one by one. */
export async function writeTable(columns: readonly Column[], rows: readonly Row[]): Promise<void> {
  const width = terminalWidth();
  const isTable = width === undefined || fitsWidth(columns, rows, width);
  await writeOut(isTable ? formatTable(columns, rows) : formatRecords(columns, rows));
}

/** Rows below each other, without lines and colours, so that `awk` and `grep` read them too. */
export function formatTable(
  columns: readonly Column[],
  rows: readonly Row[],
  { withTitles } = { withTitles: true },
): string {
  const lines = withTitles ? [columns.map(({ title }) => title), ...rows] : rows;
  const widths = columns.map(({ minWidth = 0 }, index) =>
    lines.reduce((width, line) => Math.max(width, stringWidth(line[index] ?? "")), minWidth),
  );
  const padded = (text: string, index: number) =>
    text + " ".repeat((widths[index] ?? 0) - stringWidth(text));
  return lines.map((line) => `${line.map(padded).join(GAP).trimEnd()}\n`).join("");
}

/** Whether a table has room in so many columns of a terminal. */
export function fitsWidth(
  columns: readonly Column[],
  rows: readonly Row[],
  width: number,
): boolean {
  return formatTable(columns, rows)
    .split("\n")
    .every((line) => stringWidth(line) <= width);
}

/**
 * Each row as lines of a title and a value, for a terminal on which the table has no room. What
 * is not there (`-`) is left out.
 */
export function formatRecords(columns: readonly Column[], rows: readonly Row[]): string {
  const titleWidth = Math.max(...columns.map(({ title }) => title.length)) + GAP.length;
  const records = rows.map((row) =>
    row.flatMap((value, index) =>
      value === "-" ? [] : [`${columns[index]?.title.padEnd(titleWidth)}${value}\n`],
    ),
  );
  return records.map((lines) => `${lines.join("")}\n`).join("");
}
