/**
 * What the client's answer to an attempt means for each signal in it. Pure.
 */
import type { IngestItemResult } from "../result.ts";
import { SignalError } from "../signalError.ts";

/** How an attempt ended for one signal. */
export type ItemOutcome =
  | { readonly kind: "delivered" }
  | { readonly kind: "failed"; readonly error: SignalError }
  /** It was not sent, because a neighbour was wrong. */
  | { readonly kind: "unsent" };

/** The outcome of an item that was not sent. */
export const UNSENT: ItemOutcome = { kind: "unsent" };

/** What the client's result for one signal means. */
export function outcomeOf(result: IngestItemResult): ItemOutcome {
  if (result.outcome === "stored" || result.outcome === "duplicate") return { kind: "delivered" };
  if (result.outcome === "refused") {
    const violations = result.violations.map(withoutPlace);
    return {
      kind: "failed",
      error: new SignalError(result.reason, result.message, { violations }),
    };
  }
  // The client is switched off. Nothing is lost: it stays here until it is switched on.
  return { kind: "failed", error: new SignalError("UNKNOWN", SWITCHED_OFF) };
}

const SWITCHED_OFF =
  "The client is switched off (HMAC_PRODUCER_ENABLED=false). The signals stay in the outbox.";

/**
 * A request that failed as a whole fails for each signal in it; but if the client or the server
 * names the places that are wrong, only for those.
 */
export function outcomesOfFailure(count: number, error: SignalError): ItemOutcome[] {
  const outcomes = new Array<ItemOutcome>(count).fill({ kind: "failed", error });
  if (count === 1) return outcomes;
  const places = error.violations.map(({ field }) => placeOf(field));
  const isPlaceOfOne = (place: number | undefined) => place !== undefined && place < count;
  if (places.length === 0 || !places.every(isPlaceOfOne)) return outcomes;
  return outcomes.map((_, index) => {
    const violations = error.violations.filter((_, at) => places[at] === index).map(withoutPlace);
    if (violations.length === 0) return UNSENT;
    const listed = violations.map(({ field, description }) => `${field} ${description}`).join("; ");
    return { kind: "failed", error: new SignalError(error.reason, `${listed}.`, { violations }) };
  });
}

const PLACE = /^requests\[(\d+)\]\.?/;

function placeOf(field: string): number | undefined {
  const place = PLACE.exec(field)?.[1];
  return place === undefined ? undefined : Number(place);
}

function withoutPlace<T extends { readonly field: string }>(violation: T): T {
  return { ...violation, field: violation.field.replace(PLACE, "") };
}
