/**
 * A wall clock that can be set by the server's, for a machine whose own is wrong.
 */
import type { Instant } from "../signal/index.ts";
import { parseTimestamp } from "../signing/index.ts";
import type { ClientClock } from "./clock.ts";
import type { SignalError } from "./signalError.ts";

const NANOS_PER_SECOND = 1_000_000_000n;
const NANOS_PER_MILLISECOND = 1_000_000n;

/**
 * The years in which a server's time is believed: from 2025, when the protocol was made,
 * through 2099. A server whose own clock lost its battery must not take the client with it.
 */
const EARLIEST = parseTimestamp("2025-01-01T00:00:00Z") as Instant;
const LATEST = parseTimestamp("2099-12-31T23:59:59Z") as Instant;

/** A clock, and by how much it is wrong as far as is known. */
export class CorrectedClock implements ClientClock {
  readonly #clock: ClientClock;
  #offset = 0n;

  constructor(clock: ClientClock) {
    this.#clock = clock;
  }

  now(): Instant {
    return this.#clock.now() + this.#offset;
  }

  get correctionMs(): number {
    return Number(this.#offset / NANOS_PER_MILLISECOND);
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
    return Number(this.#offset / NANOS_PER_SECOND);
  }
}
