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
import { CLOCK_TOLERANCE_MS, type ClientClock, epochMs } from "../clock.ts";
import type { Entry, Taken } from "./entry.ts";

const NANOS_PER_MILLISECOND = 1_000_000n;
/** Some systems count their uptime in whole seconds. */
const UPTIME_PRECISION_MS = 2_000;

export class OutboxClock implements ClientClock {
  readonly #clock: ClientClock;
  readonly #uptimeMs: () => number;
  readonly #run = randomUUID();
  #isTrusted = false;

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
    const { correctionMs, isConfirmed } = this;
    const run = this.#run;
    return { run, uptimeMs: this.#uptimeMs(), correctionMs, isConfirmed, isTimed };
  }

  /** Whether the server has said by how much the clock is wrong, or that it is right. */
  get isConfirmed(): boolean {
    return this.#clock.isConfirmed ?? this.correctionMs !== 0;
  }

  /** Believes the clock: the server has answered, and had nothing to say against it. */
  trust(): void {
    this.#isTrusted = true;
  }

  /**
   * The time by which the expiry of an entry is judged. As long as this run does not know by how
   * much its clock is wrong, what an earlier run knew may still be true.
   */
  nowFor({ taken }: Entry): Instant {
    const known = this.isConfirmed ? 0 : Math.min(0, taken?.correctionMs ?? 0);
    return this.now() + BigInt(Math.round(known)) * NANOS_PER_MILLISECOND;
  }

  /**
   * Whether a signal that is past its end by a clock that the server may still correct could be
   * fresh: because it was past it when it was taken already, or because less time has gone by
   * since than the clock says.
   */
  isExpiryDoubtful(entry: Entry, expireTime: Instant): boolean {
    if (!this.#mayBeCorrected) return false;
    const takenMs = entry.enqueuedMs + (entry.taken?.correctionMs ?? 0);
    const expiresMs = Number(expireTime / NANOS_PER_MILLISECOND);
    return expiresMs <= takenMs || expiresMs > takenMs + this.ageMs(entry) + UPTIME_PRECISION_MS;
  }

  /** Whether the age of an entry is only known by a clock that the server may still correct. */
  isAgeDoubtful({ taken }: Entry): boolean {
    return this.#mayBeCorrected && taken?.run !== this.#run;
  }

  get #mayBeCorrected(): boolean {
    return !this.#isTrusted && this.#clock.isConfirmed === false;
  }

  /** How long an entry has waited, in milliseconds. */
  ageMs({ enqueuedMs, taken }: Entry): number {
    if (taken?.run === this.#run) return this.#uptimeMs() - taken.uptimeMs;
    const ageMs = this.machineMs() - enqueuedMs;
    if (taken === undefined || !wasConfirmed(taken)) return ageMs;
    const correctedMs = ageMs + this.correctionMs - taken.correctionMs;
    // As long as this run does not know, the clock may have been set right between the runs, which
    // would age all signals by as much.
    return this.isConfirmed ? correctedMs : Math.min(ageMs, correctedMs);
  }

  /**
   * The time that an entry should have, if the outbox gave it one by a clock that has turned out
   * to be wrong since: because the server said so, or because it was set back. No attempt made
   * before the correction was stored, since the server refuses what such a clock signs.
   * `undefined` if its time stays.
   */
  rightTime(entry: Entry, time: Instant): Instant | undefined {
    const { taken } = entry;
    if (!taken?.isTimed || wasConfirmed(taken)) return undefined;
    const aheadMs = Number((time - this.now()) / NANOS_PER_MILLISECOND);
    const wasSet = taken.run === this.#run && aheadMs > CLOCK_TOLERANCE_MS;
    if (this.correctionMs === 0 && !wasSet) return undefined;
    const right = this.now() - BigInt(Math.round(this.ageMs(entry))) * NANOS_PER_MILLISECOND;
    const offMs = Number((right - time) / NANOS_PER_MILLISECOND);
    return Math.abs(offMs) > CLOCK_TOLERANCE_MS ? right : undefined;
  }
}

function wasConfirmed({ isConfirmed, correctionMs }: Taken): boolean {
  return isConfirmed ?? correctionMs !== 0;
}
