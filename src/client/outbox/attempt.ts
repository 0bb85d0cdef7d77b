/**
 * Which of the oldest entries go into the next attempt, and how long it may take. Pure.
 */
import type { Instant } from "../../signal/index.ts";
import type { OutboxItem } from "./item.ts";

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

/** What to do with the oldest entries. */
export interface Attempt {
  /** They passed their `expire_time`: never to be sent. */
  readonly expired: readonly OutboxItem[];
  /** They became too old: not to be sent any more. */
  readonly tooOld: readonly OutboxItem[];
  /** To be sent together, in this order. */
  readonly sent: readonly OutboxItem[];
  /** How long the attempt may take, in whole milliseconds: never beyond an expiry in it. */
  readonly timeoutMs: number;
}

/** Plans the next attempt over the oldest entries, which are in order. */
export function planAttempt(
  items: readonly OutboxItem[],
  now: Instant,
  { giveUpAfterMs, timeoutMs }: AttemptLimits,
): Attempt {
  const expired: OutboxItem[] = [];
  const tooOld: OutboxItem[] = [];
  const sent: OutboxItem[] = [];
  let boundMs = timeoutMs;
  for (const item of items) {
    const remainingMs = remainingMsOf(item, now);
    if (remainingMs < 1) expired.push(item);
    else if (ageMsOf(item, now) > giveUpAfterMs) tooOld.push(item);
    else {
      if (remainingMs < URGENT_MS && sent.length > 0) break;
      sent.push(item);
      boundMs = Math.min(boundMs, remainingMs);
      if (remainingMs < URGENT_MS) break;
    }
  }
  return { expired, tooOld, sent, timeoutMs: boundMs };
}

/** Whole milliseconds until the signal expires; `Infinity` if it never does. */
function remainingMsOf({ expireTime }: OutboxItem, now: Instant): number {
  if (expireTime === undefined) return Number.POSITIVE_INFINITY;
  return expireTime <= now ? 0 : Number((expireTime - now) / NANOS_PER_MILLISECOND);
}

function ageMsOf({ entry }: OutboxItem, now: Instant): number {
  return Number(now / NANOS_PER_MILLISECOND) - entry.enqueuedMs;
}
