/**
 * From what was read to what is sent: each signal gets a key and a time.
 */
import { randomUUIDv7 } from "node:crypto";
import { type ClientClock, systemClock } from "../../client/clock.ts";
import type { SignalInput } from "../../client/index.ts";
import { formatTimestamp } from "../../signing/index.ts";
import { usageError } from "../cliError.ts";
import type { SendOptions } from "./options.ts";
import { type PlacedItem, type Report, unreadableReport } from "./report.ts";
import type { SourceItem } from "./source.ts";

/**
 * Gives each signal a key and a time, so that every repeat is the same signal, and sets aside
 * what is none.
 *
 * @throws CliError if one key is given for several signals.
 */
export function prepare(
  batch: readonly SourceItem[],
  options: SendOptions,
  clock: ClientClock,
): { readonly ready: PlacedItem[]; readonly unreadable: Report[] } {
  const ready: PlacedItem[] = [];
  const unreadable: Report[] = [];
  for (const read of batch) {
    if (!read.readable) {
      unreadable.push(unreadableReport(read.place, read.violations));
      continue;
    }
    if (options.idempotencyKey !== undefined && read.place !== undefined) {
      throw usageError(
        "--idempotency-key names one signal. Of several, give each object its own idempotency_key.",
      );
    }
    const { signal, idempotencyKey = options.idempotencyKey, validateOnly } = read.item;
    const time = new SignalTime(clock);
    const hasTime = signal.signalTime !== undefined;
    ready.push({
      place: read.place,
      item: {
        signal: hasTime ? signal : withTime(signal, time),
        idempotencyKey: idempotencyKey ?? randomUUIDv7(),
        validateOnly: options.validateOnly ?? validateOnly,
      },
      isNamedBySource: hasTime && read.item.idempotencyKey !== undefined,
      fixTime: () => time.fix(),
    });
  }
  return { ready, unreadable };
}

/** A signal whose time is looked up whenever it is sent. */
function withTime(signal: SignalInput, time: SignalTime): SignalInput {
  return {
    ...signal,
    get signalTime() {
      return time.text;
    },
  };
}

const NANOS_PER_SECOND = 1_000_000_000n;

/**
 * The time of a signal that comes without one: when it is first sent.
 *
 * It is part of the content, so every repeat must have the same. But the first attempt may
 * find that the clock of this machine is wrong: then nothing is stored, the client corrects
 * its clock, and the attempt that it makes at once has to carry the right time.
 */
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
