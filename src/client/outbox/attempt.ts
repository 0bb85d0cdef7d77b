/**
 * Which of the oldest entries go into the next attempt, how long it may take, and how soon it
 * must come. Pure.
 */
import type { Instant } from "../../signal/index.ts";
import { SignalError } from "../signalError.ts";
import type { OutboxItem } from "./entry.ts";
import type { OutboxClock } from "./outboxClock.ts";
import { OutboxError } from "./outboxError.ts";

const NANOS_PER_MILLISECOND = 1_000_000n;

/**
 * A signal that expires sooner goes alone, since its expiry ends the attempt: others would be
 * cut off with it, again and again if each of them expires a little later.
 */
const URGENT_MS = 5_000;

/** The bounds of an attempt. */
export interface AttemptLimits {
  /** How old a signal may become before it is given up, in milliseconds. */
  readonly giveUpAfterMs: number;
  /** How long an attempt may take, in milliseconds. */
  readonly timeoutMs: number;
}

/**
 * Why an item is not sent: it passed its `expire_time`, or it became too old.
 * - `doubtful`: it seems to have, by a clock that the server may still correct.
 */
export type Lateness = "expired" | "too_old" | "doubtful";

/** What to do with the oldest entries. */
export interface Attempt {
  /** Those that came too late. */
  readonly late: readonly { readonly item: OutboxItem; readonly why: Lateness }[];
  /** To be sent together, in this order. */
  readonly sent: readonly OutboxItem[];
  /** How long the attempt may take, in whole milliseconds: never beyond an expiry in it. */
  readonly timeoutMs: number;
}

/**
 * Plans the next attempt over the oldest entries, which are in order.
 *
 * @param maxCount how many may be sent. All others are looked at, too, so that people are told
 *   soon of those that came too late.
 */
export function planAttempt(
  items: readonly OutboxItem[],
  clock: OutboxClock,
  { giveUpAfterMs, timeoutMs }: AttemptLimits,
  maxCount: number,
): Attempt {
  const late: { item: OutboxItem; why: Lateness }[] = [];
  const sent: OutboxItem[] = [];
  let boundMs = timeoutMs;
  let isComplete = false;
  for (const item of items) {
    const why = lateness(item, clock, giveUpAfterMs);
    if (why !== undefined) late.push({ item, why });
    else if (!isComplete) {
      const remainingMs = remainingMsOf(item, clock.nowFor(item.entry));
      const isUrgent = remainingMs < URGENT_MS;
      isComplete = isUrgent || sent.length + 1 === maxCount;
      if (isUrgent && sent.length > 0) continue;
      sent.push(item);
      boundMs = Math.min(boundMs, remainingMs);
    }
  }
  return { late, sent, timeoutMs: boundMs };
}

/** Why an item is not to be sent any more, or not yet; `undefined` if it is. */
export function lateness(
  item: OutboxItem,
  clock: OutboxClock,
  giveUpAfterMs: number,
): Lateness | undefined {
  const { entry, expireTime } = item;
  const isTooOld = clock.ageMs(entry) > giveUpAfterMs;
  if (expireTime !== undefined && remainingMsOf(item, clock.nowFor(entry)) < 1) {
    if (!clock.isExpiryDoubtful(entry, expireTime)) return "expired";
    if (!isTooOld) return "doubtful";
  }
  if (!isTooOld) return undefined;
  return clock.isAgeDoubtful(entry) ? "doubtful" : "too_old";
}

/** The error of a signal that came too late. */
export function lateError(
  why: Exclude<Lateness, "doubtful">,
  giveUpAfterMs: number,
  lastError: SignalError | undefined,
): SignalError | OutboxError {
  if (why === "expired") {
    return new SignalError(
      "SIGNAL_EXPIRED",
      "The signal passed its expire_time before it was known to be delivered, so it is not sent any more.",
    );
  }
  const last = lastError === undefined ? "" : ` The last failure: ${lastError.message}`;
  return new OutboxError(
    "GIVEN_UP",
    `The signal could not be delivered within ${giveUpAfterMs} ms and is not sent any more.${last}`,
    { cause: lastError },
  );
}

/**
 * How long to wait for the next attempt at most, in milliseconds, so that a signal with this
 * `expire_time` is tried again several times before it: half of what is left, but
 * {@link URGENT_MS} at least.
 */
export function longestWaitMs(expireTime: Instant | undefined, now: Instant): number {
  return Math.max(URGENT_MS, Math.round(remainingMsOf({ expireTime }, now) / 2));
}

/** The sooner one of two times, either of which may be never. */
export function sooner(one: Instant | undefined, other: Instant | undefined): Instant | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return one < other ? one : other;
}

/** Whole milliseconds until the signal expires; `Infinity` if it never does. */
function remainingMsOf({ expireTime }: Pick<OutboxItem, "expireTime">, now: Instant): number {
  if (expireTime === undefined) return Number.POSITIVE_INFINITY;
  return expireTime <= now ? 0 : Number((expireTime - now) / NANOS_PER_MILLISECOND);
}
