/**
 * How much an outbox file holds, and how much it may. Pure.
 */
import { counted } from "../../alerts/index.ts";
import type { DeathReason, Entry } from "./record.ts";

/** How much the file holds. */
export interface Totals {
  readonly pendingCount: number;
  /** Of the records, dead letters included. */
  readonly bytes: number;
  readonly deadByReason: ReadonlyMap<DeathReason, number>;
}

/** The most that the file may hold, dead letters included. */
export interface OutboxBounds {
  readonly maxSignals: number;
  readonly maxBytes: number;
}

/** The totals while they change. */
export interface Change {
  pendingCount: number;
  bytes: number;
  deadByReason: Map<DeathReason, number>;
  nextSequence: number;
}

/** What an empty file holds. */
export const NOTHING: Totals = { pendingCount: 0, bytes: 0, deadByReason: new Map() };

/** How many dead letters there are. */
export function deadCount({ deadByReason }: Pick<Totals, "deadByReason">): number {
  return [...deadByReason.values()].reduce((sum, count) => sum + count, 0);
}

/** Counts so many dead letters more, of the reason of the entry. */
export function countDeath(
  deadByReason: Map<DeathReason, number>,
  { death }: Entry,
  by: number,
): void {
  if (death === undefined) return;
  const count = (deadByReason.get(death.reason) ?? 0) + by;
  if (count === 0) deadByReason.delete(death.reason);
  else deadByReason.set(death.reason, count);
}

/** The bound that one more record would exceed, as a phrase. */
export function exceeded(
  totals: Totals,
  recordBytes: number,
  { maxSignals, maxBytes }: OutboxBounds,
): string | undefined {
  if (totals.pendingCount + deadCount(totals) + 1 > maxSignals)
    return counted(maxSignals, "signal");
  if (totals.bytes + recordBytes > maxBytes) return `${maxBytes} bytes`;
  return undefined;
}
