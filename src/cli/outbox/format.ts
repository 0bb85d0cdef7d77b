/**
 * An outbox and its entries for people and for programs. Pure.
 */
import { type Entry, itemOf, type Totals } from "../../client/outbox/entry.ts";
import { SIGNAL_FIELD_LIST } from "../../signal/index.ts";
import { formatTimestamp } from "../../signing/index.ts";
import { ageText } from "../age.ts";
import type { Column } from "../table.ts";

/** How much is in an outbox. */
export interface Summary {
  readonly totals: Totals;
  /** The entry that has waited longest to be delivered. */
  readonly oldest: Entry | undefined;
}

/** The rows of `outbox status`. */
export function statusRows(summary: Summary, nowMs: number): string[][] {
  const { totals } = summary;
  const ageMs = oldestAgeMs(summary, nowMs);
  return [
    ["waiting", String(totals.pendingCount)],
    ["oldest", ageMs === undefined ? "-" : ageText(ageMs)],
    ["dead letters", String(totals.deadCount)],
    ...[...totals.deadByReason].map(([reason, count]) => [`  ${reason}`, String(count)]),
    ["bytes", String(totals.bytes)],
  ];
}

/** What `outbox status --json` prints. */
export function statusJson(summary: Summary, nowMs: number): Record<string, unknown> {
  const { totals } = summary;
  const ageMs = oldestAgeMs(summary, nowMs);
  return {
    pending: totals.pendingCount,
    dead_letters: totals.deadCount,
    dead_letters_by_reason: Object.fromEntries(totals.deadByReason),
    bytes: totals.bytes,
    oldest_age_seconds: ageMs === undefined ? null : ageMs / 1_000,
  };
}

function oldestAgeMs({ oldest }: Summary, nowMs: number): number | undefined {
  return oldest && Math.max(0, nowMs - oldest.enqueuedMs);
}

/** The columns of `outbox list`. */
export const LIST_COLUMNS: readonly Column[] = [
  { title: "ENQUEUED" },
  { title: "INSTRUMENT" },
  { title: "SIDE" },
  { title: "ENTRY" },
  { title: "EXPIRES" },
  { title: "REASON" },
  { title: "IDEMPOTENCY KEY" },
];

/** An entry as a row of `outbox list`. */
export function entryRow(entry: Entry): string[] {
  const { signal, expireTime } = itemOf(entry);
  return [
    isoTime(entry.enqueuedMs),
    signal.instrument,
    signal.side,
    String(signal.entryPrice),
    expireTime === undefined ? "-" : formatTimestamp(expireTime),
    entry.death?.reason ?? "-",
    entry.idempotencyKey,
  ];
}

/** An entry as an object for JSON: when it came, why it is dead, and the signal. */
export function entryJson(entry: Entry): Record<string, unknown> {
  const { enqueuedMs, death } = entry;
  return {
    enqueue_time: isoTime(enqueuedMs),
    ...(death !== undefined && {
      dead_time: isoTime(death.diedMs),
      reason: death.reason,
      message: death.message,
      errors: death.violations,
    }),
    signal: signalJson(entry),
  };
}

/** The signal in the names of REST, ready to be sent again under its key. */
export function signalJson(entry: Entry): Record<string, unknown> {
  const { signal } = itemOf(entry);
  const values = SIGNAL_FIELD_LIST.map(({ field, name }) => {
    const value = signal[field];
    return [name, typeof value === "bigint" ? formatTimestamp(value) : value];
  });
  const given = values.filter(([, value]) => value !== undefined && value !== "");
  return { idempotency_key: entry.idempotencyKey, ...Object.fromEntries(given) };
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
