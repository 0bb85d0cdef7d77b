/**
 * What a person does about a signal that was not delivered. Pure.
 */
import type { FailureRecord } from "../../signal/index.ts";
import { failureRecordOf, isErrorReason, isRetryable } from "../errorReason.ts";

const NOT_TAKEN = "The outbox did not take it, and nothing was sent. Decide by hand.";
const LOOK_UP =
  "It is not known whether it was stored. Look it up on the server before it is sent again " +
  "or traded by hand; to send it again safely, use the same idempotency key.";
const LOOK_UP_DEAD_LETTER =
  "It may have been stored by an attempt whose answer was lost: look it up on the server before " +
  "you trade by hand. If it is still wanted, retry it; under its key it is stored once at most.";
const BY_HAND = "Nothing was stored: decide by hand whether to trade.";
const DROP = "To retry it would only fail again: drop it.";

const MAY_BE_STORED =
  "An attempt whose answer was lost may have stored it: look it up on the server before you " +
  "trade by hand.";

/** What to do about a signal that a call or an outbox could not deliver. */
export function adviceFor(reason: unknown, isDeadLetter: boolean): string {
  if (typeof reason === "string" && reason.startsWith("OUTBOX_")) return NOT_TAKEN;
  const record = knownRecord(reason);
  if (record === undefined) return isDeadLetter ? LOOK_UP_DEAD_LETTER : LOOK_UP;
  const { outbox, isFixable, advice } = record;
  if (isFixable) {
    const again = isDeadLetter
      ? "retry it, or drop it if it is no longer wanted"
      : "send it again under the same idempotency key";
    return `Nothing was stored. ${advice} Then ${again}.`;
  }
  // One that came too late may have been sent before, and what is advised is about the trade.
  const whole = outbox === "expired" ? advice : `${BY_HAND} ${advice}`;
  if (!isDeadLetter) return whole;
  return [whole, ...(outbox === "expired" ? [MAY_BE_STORED] : []), DROP].join(" ");
}

/** Whether a retry of a dead letter may succeed, once a person has done what is advised. */
export function isWorthRetrying(reason: unknown): boolean {
  return knownRecord(reason)?.isFixable ?? true;
}

/** `undefined` for what is not known, and for all after which it is not known what is stored. */
function knownRecord(reason: unknown): FailureRecord | undefined {
  if (typeof reason !== "string" || !isErrorReason(reason)) return undefined;
  const record = failureRecordOf(reason);
  return record.mayBeStored || isRetryable(record.retry) ? undefined : record;
}
