/**
 * The time of a signal that comes without one.
 *
 * It is part of the content, so every repeat must have the same. But the first attempt may
 * find that the clock of this machine is wrong: then nothing is stored, the client corrects
 * its clock, and the attempt that it makes at once has to carry the right time.
 */
import { type ClientClock, systemClock } from "../../client/clock.ts";
import { formatTimestamp } from "../../signing/index.ts";

const NANOS_PER_SECOND = 1_000_000_000n;

/** The time when a signal is first sent, by a clock that may be corrected meanwhile. */
export class SignalTime {
  readonly #clock: ClientClock;
  #isFixed = false;
  #offsetSeconds: number;
  #text: string;

  constructor(clock: ClientClock) {
    this.#clock = clock;
    this.#offsetSeconds = offsetSeconds(clock);
    this.#text = formatTimestamp(clock.now());
  }

  /** RFC 3339. Another one once the clock is corrected, unless it is fixed by then. */
  get text(): string {
    const offset = offsetSeconds(this.#clock);
    // No correction is that small: a server minds only minutes.
    if (!this.#isFixed && Math.abs(offset - this.#offsetSeconds) > 1) {
      this.#offsetSeconds = offset;
      this.#text = formatTimestamp(this.#clock.now());
    }
    return this.#text;
  }

  /** To be called after the first attempt. */
  fix(): void {
    this.#isFixed = true;
  }
}

/** By how many seconds a client has corrected the clock of this machine; 0 if it has not. */
export function offsetSeconds(clock: ClientClock): number {
  return Number((clock.now() - systemClock.now()) / NANOS_PER_SECOND);
}
