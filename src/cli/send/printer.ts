/**
 * Prints what became of the signals as it is known, and how far a long run is: on standard
 * error, in one line that changes on a terminal, and in a line every few seconds elsewhere.
 */
import { counted } from "../../alerts/index.ts";
import { isOutputLost, note, printable, terminalWidth, writeJson, writeOut } from "../output.ts";
import { fitsWidth, formatRecords, formatTable } from "../table.ts";
import {
  type Outcome,
  type Report,
  reportColumns,
  reportJson,
  reportProblem,
  reportRow,
} from "./report.ts";

const TERMINAL_INTERVAL_MS = 200;
const LOG_INTERVAL_MS = 5_000;
const CLEAR_LINE = "\r\u001b[K";

/** How many signals had each outcome. */
export type Counts = Readonly<Partial<Record<Outcome, number>>>;

/** Tells how far a run is. */
export class Progress {
  readonly #stream: NodeJS.WriteStream;
  readonly #monotonicMs: () => number;
  #shownAtMs: number;
  #isOnScreen = false;

  constructor(stream: NodeJS.WriteStream, monotonicMs: () => number) {
    this.#stream = stream;
    this.#monotonicMs = monotonicMs;
    this.#shownAtMs = monotonicMs();
  }

  /** Shows these counts, unless others were shown a moment ago. */
  show(counts: Counts): void {
    const now = this.#monotonicMs();
    const intervalMs = this.#stream.isTTY ? TERMINAL_INTERVAL_MS : LOG_INTERVAL_MS;
    if (now - this.#shownAtMs < intervalMs) return;
    this.#shownAtMs = now;
    this.#isOnScreen = this.#stream.isTTY;
    const text = `countersign: ${describeCounts(counts)} so far`;
    this.#stream.write(this.#stream.isTTY ? `${CLEAR_LINE}${text}` : `${text}\n`);
  }

  /** Makes room on the terminal for other output. */
  clear(): void {
    if (this.#isOnScreen) this.#stream.write(CLEAR_LINE);
    this.#isOnScreen = false;
  }
}

/** Such as `12 signals: 11 stored, 1 refused`. */
function describeCounts(counts: Counts): string {
  const entries = Object.entries(counts).filter(([, count]) => count > 0);
  const total = entries.reduce((sum, [, count]) => sum + count, 0);
  const parts = entries.map(([outcome, count]) => `${count} ${outcome}`).join(", ");
  return `${counted(total, "signal")}${parts === "" ? "" : `: ${parts}`}`;
}

/** Prints reports as they come, and counts them. */
export class Printer {
  readonly counts: Partial<Record<Outcome, number>> = {};
  readonly #isJson: boolean;
  readonly #progress = new Progress(process.stderr, () => performance.now());
  #hasTitles = false;
  /** Once the table had no room on the terminal, it is not gone back to. */
  #isNarrow = false;
  #lastPlace = 0;
  #isSingle = false;

  constructor(isJson: boolean) {
    this.#isJson = isJson;
  }

  async print(reports: readonly Report[]): Promise<void> {
    this.#progress.clear();
    for (const report of reports) {
      this.counts[report.outcome] = (this.counts[report.outcome] ?? 0) + 1;
      if (report.place === undefined) this.#isSingle = true;
      else this.#lastPlace = report.place.number;
      const problem = reportProblem(report);
      if (problem !== undefined) note(problem);
    }
    if (this.#isJson) for (const report of reports) await writeJson(reportJson(report));
    else await this.#printTable(reports);
    if (!this.#isSingle) this.#progress.show(this.counts);
  }

  async #printTable(reports: readonly Report[]): Promise<void> {
    const columns = reportColumns(reports[0]?.place?.name);
    const rows = reports.map((report) => reportRow(report).map(printable));
    const width = terminalWidth();
    this.#isNarrow ||= width !== undefined && !fitsWidth(columns, rows, width);
    if (this.#isNarrow) return await writeOut(formatRecords(columns, rows));
    await writeOut(formatTable(columns, rows, { withTitles: !this.#hasTitles }));
    this.#hasTitles = true;
  }

  /** Says what was done in all, unless the one result that there is says so. */
  sumUp(isIncomplete: boolean): void {
    this.#progress.clear();
    if (this.#isSingle && !isOutputLost()) return;
    const rest = isIncomplete ? `; nothing after number ${this.#lastPlace} was sent` : "";
    note(`${describeCounts(this.counts)}${rest}`);
  }
}
