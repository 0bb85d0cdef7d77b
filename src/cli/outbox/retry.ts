/**
 * Which dead letters are worth another attempt. One whose signal has expired would be a dead
 * letter again at once, so it stays where it is.
 */
import { itemOf } from "../../client/outbox/item.ts";
import type { OutboxFile } from "../../client/outbox/outboxFile.ts";
import type { Instant } from "../../signal/index.ts";
import { pagesOf } from "./pages.ts";

/** A dead letter whose signal has expired. */
export interface ExpiredLetter {
  readonly key: string;
  readonly expireTime: Instant;
}

/** The chosen dead letters. */
export interface RetryPlan {
  /** The keys of those that can still be delivered, the oldest first. */
  readonly retriable: readonly string[];
  readonly expired: readonly ExpiredLetter[];
}

/** Looks which of the chosen dead letters have expired by now. A key without one is in neither. */
export function planRetry(
  outbox: OutboxFile,
  chosen: readonly string[] | "all",
  now: Instant,
): RetryPlan {
  const wanted = chosen === "all" ? undefined : new Set(chosen);
  const retriable: string[] = [];
  const expired: ExpiredLetter[] = [];
  for (const entry of pagesOf((after, size) => outbox.entries("dead", after, size))) {
    const key = entry.idempotencyKey;
    if (wanted?.has(key) === false) continue;
    const { expireTime } = itemOf(entry);
    if (expireTime === undefined || expireTime > now) retriable.push(key);
    else expired.push({ key, expireTime });
  }
  return { retriable, expired };
}
