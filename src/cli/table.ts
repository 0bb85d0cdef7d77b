import Table from "cli-table3";

/** A column of a table. */
export interface Column {
  readonly title: string;
  /** In characters, so that a table can be written in parts; as needed unless given. */
  readonly width?: number;
}

const NO_BORDERS = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: " ",
};

/** Rows below each other, without lines and colours, so that `awk` and `grep` read them too. */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  options: { readonly withTitles: boolean } = { withTitles: true },
): string {
  const table = new Table({
    chars: NO_BORDERS,
    colWidths: columns.map(({ width }) => width ?? null),
    style: { "padding-left": 0, "padding-right": 1, compact: true, head: [], border: [] },
  });
  if (options.withTitles) table.push(columns.map(({ title }) => title));
  for (const row of rows) table.push([...row]);
  if (table.length === 0) return "";
  const lines = table.toString().split("\n");
  return `${lines.map((line) => line.trimEnd()).join("\n")}\n`;
}

/** Whether a table has room in so many columns of a terminal. */
export function fitsWidth(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): boolean {
  const lines = formatTable(columns, rows).split("\n");
  return lines.every((line) => line.length <= width);
}

/**
 * Each row as lines of a title and a value, for a terminal on which the table has no room. What
 * is not there (`-`) is left out.
 */
export function formatRecords(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string {
  const titleWidth = Math.max(...columns.map(({ title }) => title.length)) + 2;
  const records = rows.map((row) =>
    row.flatMap((value, index) =>
      value === "-" ? [] : [`${columns[index]?.title.padEnd(titleWidth)}${value}\n`],
    ),
  );
  return records.map((lines) => `${lines.join("")}\n`).join("");
}
