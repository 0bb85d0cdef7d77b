/**
 * The clock of this machine, which the client reads here only, and the one that the client sets
 * by the server's time if that of the machine is wrong.
 */
import { uptime } from "node:os";
import type { Instant } from "../signal/index.ts";
import { parseTimestamp } from "../signing/index.ts";
import type { SignalError } from "./signalError.ts";

const NANOS_PER_SECOND = 1_000_000_000n;
const NANOS_PER_MILLISECOND = 1_000_000n;
const MS_PER_SECOND = 1_000;

/** Where the client takes the time from: for signatures, and for signals without one. */
export interface ClientClock {
  /** The wall clock. It may jump. */
  now(): Instant;
  /**
   * How much of what it shows is a correction, in milliseconds: above 0 for a machine whose own
   * clock is slow. Not given, or 0, if nothing is known to be wrong.
   */
  readonly correctionMs?: number | undefined;
  /**
   * Whether the server has accepted or corrected what it shows. Not given if nobody asks the
   * server.
   */
  readonly isConfirmed?: boolean | undefined;
}

/** The clock of this machine, to the millisecond. */
export const systemClock: ClientClock = {
  now: () => BigInt(Date.now()) * NANOS_PER_MILLISECOND,
};

/** What a clock shows, in whole milliseconds since 1970, as `Date` counts. */
export function epochMs(clock: ClientClock): number {
  return Number(clock.now() / NANOS_PER_MILLISECOND);
}

/**
 * Milliseconds since some moment in the past, for deadlines and durations: unlike the wall
 * clock, it never jumps.
 */
export function monotonicMs(): number {
  return performance.now();
}

/**
 * Milliseconds since the machine was started, its sleep included: for durations that go on while
 * it sleeps.
 */
export function uptimeMs(): number {
  return uptime() * MS_PER_SECOND;
}

/**
 * The years in which a server's time is believed: from 2025, when the protocol was made,
 * through 2099. A server whose own clock lost its battery must not take the client with it.
 */
const EARLIEST = parseTimestamp("2025-01-01T00:00:00Z") as Instant;
const LATEST = parseTimestamp("2099-12-31T23:59:59Z") as Instant;

/**
 * How far a clock may be off for the server to accept what it signs, in milliseconds. Whatever is
 * further off was refused, and a smaller jump is one that the server would not see either.
 */
export const CLOCK_TOLERANCE_MS = 300_000;

/** What a clock showed, and when. */
export interface ClockReading {
  readonly time: Instant;
  /** How long the machine had been up, in milliseconds. */
  readonly uptimeMs: number;
}

/** A clock, and by how much it is wrong as far as is known. */
export class CorrectedClock implements ClientClock {
  readonly #clock: ClientClock;
  readonly #uptimeMs: () => number;
  #offset = 0n;
  /** The last reading that can be relied on; `undefined` until the server has confirmed one. */
  #confirmed: ClockReading | undefined;
  #hasJumped = false;

  /** @param uptime counts milliseconds whatever is done to the clock, also while it sleeps. */
  constructor(clock: ClientClock, uptime = uptimeMs) {
    this.#clock = clock;
    this.#uptimeMs = uptime;
  }

  now(): Instant {
    return this.read().time;
  }

  get correctionMs(): number {
    this.read();
    return Number(this.#offset / NANOS_PER_MILLISECOND);
  }

  get isConfirmed(): boolean {
    return this.#confirmed !== undefined;
  }

  /** What it shows now, to be confirmed later. */
  read(): ClockReading {
    const machine = this.#clock.now();
    const uptimeMs = this.#uptimeMs();
    if (this.#confirmed !== undefined) {
      const passedMs = Math.round(uptimeMs - this.#confirmed.uptimeMs);
      const expected = this.#confirmed.time + BigInt(passedMs) * NANOS_PER_MILLISECOND;
      const jumpMs = Number((machine + this.#offset - expected) / NANOS_PER_MILLISECOND);
      if (Math.abs(jumpMs) > CLOCK_TOLERANCE_MS) {
        this.#offset = expected - machine;
        this.#hasJumped = true;
      }
      this.#confirmed = { time: machine + this.#offset, uptimeMs };
    }
    return { time: machine + this.#offset, uptimeMs };
  }

  /** Notes that the server accepted what was signed then. */
  confirm(reading: ClockReading): void {
    this.#confirmed ??= reading;
  }

  /**
   * By how many seconds the machine's clock must be moved since a jump that was not believed;
   * `undefined` if there was none since the last call, or if it is right again.
   */
  takeJump(): number | undefined {
    const seconds = Math.round(this.correctionMs / MS_PER_SECOND);
    const hasJumped = this.#hasJumped;
    this.#hasJumped = false;
    return hasJumped && seconds !== 0 ? seconds : undefined;
  }

  /**
   * Sets this clock by the server's time in a `CLOCK_SKEW`. It is off by how long the answer
   * took, which is far less than the 300 seconds that the server allows.
   *
   * @returns by how many seconds the machine's clock must be moved, now that it is known;
   *   `undefined` if the error tells no time that can be believed. Nothing changes then.
   */
  correctBy(error: SignalError): number | undefined {
    const { server_time: text } = error.metadata;
    const serverTime = text === undefined ? undefined : parseTimestamp(text);
    if (serverTime === undefined || serverTime < EARLIEST || serverTime > LATEST) return undefined;
    this.#offset = serverTime - this.#clock.now();
    this.#confirmed = { time: serverTime, uptimeMs: this.#uptimeMs() };
    this.#hasJumped = false;
    return Number(this.#offset / NANOS_PER_SECOND);
  }
}
