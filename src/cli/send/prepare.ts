/**
 * From what was read to what is sent.
 */
import { randomUUIDv7 } from "node:crypto";
import type { ClientClock } from "../../client/clock.ts";
import type { SignalInput } from "../../client/index.ts";
import { usageError } from "../cliError.ts";
import type { SendOptions } from "./options.ts";
import { type PlacedItem, type Report, unreadableReport } from "./report.ts";
import { SignalTime } from "./signalTime.ts";
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
