/**
 * What time it is for an outbox, and how long a signal has waited in it, on a machine whose
 * clock may be wrong and may be set at any time.
 *
 * - A time that is compared with one that an author or the server gave is the client's,
 *   corrected by the server's.
 * - An age is a duration. Within one run it is measured by the uptime of the machine, which
 *   nobody sets and which goes on while the machine sleeps. Across runs only the wall clock is
 *   left: the machine's own, uncorrected at both ends, for a clock that is wrong measures as
 *   well as one that is right.
 */
import { randomUUID } from "node:crypto";
import type { Instant } from "../../signal/index.ts";
import { type ClientClock, epochMs } from "../clock.ts";
import type { Entry, Taken } from "./record.ts";

const NANOS_PER_MILLISECOND = 1_000_000n;

/**
 * A server refuses what was signed by a clock that is further off, so no attempt made before the
 * correction was stored, and the time of the signal may still be set right.
 */
const TOLERANCE_MS = 300_000;

export class OutboxClock implements ClientClock {
  readonly #clock: ClientClock;
  readonly #uptimeMs: () => number;
  readonly #run = randomUUID();

  /** @param uptimeMs counts on whatever is done to the clock, for as long as this process runs. */
  constructor(clock: ClientClock, uptimeMs: () => number) {
    this.#clock = clock;
    this.#uptimeMs = uptimeMs;
  }

  now(): Instant {
    return this.#clock.now();
  }

  get correctionMs(): number {
    return this.#clock.correctionMs ?? 0;
  }

  /** The wall clock of this machine, uncorrected, in milliseconds since 1970. */
  machineMs(): number {
    return epochMs(this.#clock) - this.correctionMs;
  }

  /** How the clock stands now that a signal is taken. */
  taken(isTimed: boolean): Taken {
    const { correctionMs } = this;
    return { run: this.#run, uptimeMs: this.#uptimeMs(), correctionMs, isTimed };
  }

  /**
   * The time by which the expiry of an entry is judged. As long as this run does not know by how
   * much its clock is wrong, what an earlier run knew may still be true.
   */
  nowFor({ taken }: Entry): Instant {
    const known = this.correctionMs === 0 ? Math.min(0, taken?.correctionMs ?? 0) : 0;
    return this.now() + BigInt(Math.round(known)) * NANOS_PER_MILLISECOND;
  }

  /** How long an entry has waited, in milliseconds. */
  ageMs({ enqueuedMs, taken }: Entry): number {
    if (taken?.run === this.#run) return this.#uptimeMs() - taken.uptimeMs;
    const ageMs = this.machineMs() - enqueuedMs;
    // A clock that was known to be wrong may have been set right between the runs, which would
    // age all signals by as much.
    const corrected = taken?.correctionMs ?? 0;
    return corrected === 0 ? ageMs : Math.min(ageMs, ageMs + this.correctionMs - corrected);
  }

  /**
   * The time that an entry should have, if the outbox gave it one by a clock that has turned out
   * to be wrong since: because the server said so, or because it was set back. `undefined` if its
   * time stays.
   */
  rightTime(entry: Entry, time: Instant): Instant | undefined {
    const { taken } = entry;
    if (!taken?.isTimed || taken.correctionMs !== 0) return undefined;
    const aheadMs = Number((time - this.now()) / NANOS_PER_MILLISECOND);
    const wasSet = taken.run === this.#run && aheadMs > TOLERANCE_MS;
    if (this.correctionMs === 0 && !wasSet) return undefined;
    const right = this.now() - BigInt(Math.round(this.ageMs(entry))) * NANOS_PER_MILLISECOND;
    const offMs = Number((right - time) / NANOS_PER_MILLISECOND);
    return Math.abs(offMs) > TOLERANCE_MS ? right : undefined;
  }
}
