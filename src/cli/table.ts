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
