/**
 * How far a long run is, on standard error: one line that changes on a terminal, a line
 * every few seconds elsewhere.
 */
import { counted } from "../../alerts/index.ts";
import type { Outcome } from "./report.ts";

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
export function describeCounts(counts: Counts): string {
  const entries = Object.entries(counts).filter(([, count]) => count > 0);
  const total = entries.reduce((sum, [, count]) => sum + count, 0);
  const parts = entries.map(([outcome, count]) => `${count} ${outcome}`).join(", ");
  return `${counted(total, "signal")}${parts === "" ? "" : `: ${parts}`}`;
}
