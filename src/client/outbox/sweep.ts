/**
 * Looks for signals that came too late while no attempt is made, so that people are told in
 * time however long a wait is. It goes round the whole backlog, a part at a time, since each
 * signal must be read to know when it expires.
 */
import { type AttemptLimits, lateness } from "./attempt.ts";
import { itemOf, type OutboxItem } from "./item.ts";
import type { OutboxClock } from "./outboxClock.ts";
import type { Entry } from "./record.ts";

/** How often to look while nothing is sent, in milliseconds. */
export const SWEEP_MS = 5_000;
/** How many at a time: some ten milliseconds of work. */
const SWEEP_COUNT = 1_000;

/** What a sweep needs. */
export interface SweepOptions extends Pick<AttemptLimits, "giveUpAfterMs"> {
  /** Pending entries with a greater sequence, in order. */
  readonly after: (sequence: number, maxCount: number) => readonly Entry[];
  readonly clock: OutboxClock;
  /** Takes one that came too late, unless it was taken before. */
  readonly bury: (item: OutboxItem, why: "expired" | "too_old") => void;
}

export class Sweep {
  readonly #options: SweepOptions;
  #sweptTo = 0;

  constructor(options: SweepOptions) {
    this.#options = options;
  }

  /** Looks at the next part. */
  next(): void {
    const { after, clock, giveUpAfterMs, bury } = this.#options;
    const entries = after(this.#sweptTo, SWEEP_COUNT);
    this.#sweptTo = entries.length < SWEEP_COUNT ? 0 : (entries.at(-1)?.sequence ?? 0);
    for (const item of entries.map(itemOf)) {
      const why = lateness(item, clock, giveUpAfterMs);
      if (why === "expired" || why === "too_old") bury(item, why);
    }
  }
}
