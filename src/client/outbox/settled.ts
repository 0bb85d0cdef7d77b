/**
 * How attempts ended, item by item, and what that says of the request as a whole. Pure.
 */
import { SignalError } from "../signalError.ts";
import type { OutboxItem } from "./item.ts";
import type { ItemOutcome } from "./outcome.ts";
import { dispositionAfter } from "./policy.ts";

/** An item and how its attempt ended. */
export type SettledItem = { readonly item: OutboxItem; readonly outcome: ItemOutcome };

export function toIngestItem({ entry, signal }: OutboxItem) {
  return { signal, idempotencyKey: entry.idempotencyKey };
}

export function isFinal(error: SignalError): boolean {
  const disposition = dispositionAfter(error);
  return disposition === "dead_letter" || disposition === "expired";
}

export function isRefused({ outcome }: SettledItem): boolean {
  return outcome.kind === "failed" && isFinal(outcome.error);
}

/** Whether a smaller request might have had an answer. */
export function isPerhapsTooBig({ reason }: SignalError): boolean {
  return ["UNREACHABLE", "INVALID_RESPONSE", "DEADLINE_EXCEEDED", "INTERNAL"].includes(reason);
}

export function isClockSkew(outcome: ItemOutcome): boolean {
  return outcome.kind === "failed" && outcome.error.reason === "CLOCK_SKEW";
}

/** Whether the request failed as a whole, rather than each signal by itself. */
export function isOneError(settled: readonly SettledItem[]): boolean {
  const errors = new Set(settled.map(({ outcome }) => outcome.kind === "failed" && outcome.error));
  return errors.size === 1;
}

export function expired(): SignalError {
  return new SignalError(
    "SIGNAL_EXPIRED",
    "The signal passed its expire_time before it was known to be delivered, so it is not sent any more.",
  );
}
