/**
 * One attempt, and what the client's answer to it means for each signal in it.
 */
import type { Disposition } from "../../signal/index.ts";
import { violationsByItem } from "../batchViolations.ts";
import type { SignalCallOptions, SignalClient } from "../client.ts";
import { failureRecordOf } from "../errorReason.ts";
import type { IngestItemResult } from "../result.ts";
import { SignalError } from "../signalError.ts";
import type { OutboxItem } from "./entry.ts";

/**
 * How an attempt ended for one signal: it is delivered, it failed, or it was not sent because a
 * neighbour was wrong.
 */
export type Outcome = "delivered" | "unsent" | SignalError;

/** An item and how its attempt ended. */
export interface SettledItem {
  readonly item: OutboxItem;
  readonly outcome: Outcome;
}

/** Makes one attempt. @returns an outcome for each item, in order. */
export async function sendOnce(
  client: Pick<SignalClient, "ingest" | "ingestBatch">,
  items: readonly OutboxItem[],
  options: SignalCallOptions,
): Promise<Outcome[]> {
  const keyed = items.map(({ entry: { idempotencyKey }, signal }) => ({ signal, idempotencyKey }));
  const [first] = keyed;
  try {
    if (keyed.length > 1 || first === undefined) {
      return (await client.ingestBatch(keyed, options)).map(outcomeOf);
    }
    const { signal, idempotencyKey } = first;
    return [outcomeOf(await client.ingest(signal, { ...options, idempotencyKey }))];
  } catch (thrown) {
    return outcomesOfFailure(items.length, SignalError.from(thrown));
  }
}

/** What the client's result for one signal means. */
function outcomeOf(result: IngestItemResult): Outcome {
  if (result.outcome === "stored" || result.outcome === "duplicate") return "delivered";
  if (result.outcome === "refused") {
    const { reason, message, violations } = result;
    return new SignalError(reason, message, { violations });
  }
  // The client is switched off. Nothing is lost: it stays here until it is switched on.
  return new SignalError("UNKNOWN", SWITCHED_OFF);
}

const SWITCHED_OFF =
  "The client is switched off (HMAC_PRODUCER_ENABLED=false). The signals stay in the outbox.";

/**
 * A request that failed as a whole fails for each signal in it; but if the client or the server
 * names the places that are wrong, only for those.
 */
function outcomesOfFailure(count: number, error: SignalError): Outcome[] {
  const wrong = violationsByItem(error.violations, count);
  return Array.from({ length: count }, (_, index) => {
    if (wrong.size === 0) return error;
    const violations = wrong.get(index);
    if (violations === undefined) return "unsent";
    const listed = violations.map(({ field, description }) => `${field} ${description}`).join("; ");
    return new SignalError(error.reason, `${listed}.`, { violations });
  });
}

/** What to do after a failure: what answers in place of the server will not stop by itself. */
export function dispositionAfter({ reason, isForeign }: SignalError): Disposition {
  const disposition = failureRecordOf(reason).outbox;
  return isForeign && disposition === "wait" ? "hold" : disposition;
}

/** Whether the signal can never be delivered. */
export function isFinal(outcome: Outcome): outcome is SignalError {
  if (!(outcome instanceof SignalError)) return false;
  const disposition = dispositionAfter(outcome);
  return disposition === "dead_letter" || disposition === "expired";
}

/** Whether a smaller request might have had an answer. */
export function isPerhapsTooBig({ reason }: SignalError): boolean {
  return ["UNREACHABLE", "INVALID_RESPONSE", "DEADLINE_EXCEEDED", "INTERNAL"].includes(reason);
}

/** The error of a batch that failed as a whole, rather than each signal by itself. */
export function errorOfWhole(settled: readonly SettledItem[]): SignalError | undefined {
  const first = settled[0]?.outcome;
  const isOfAll = settled.length > 1 && settled.every(({ outcome }) => outcome === first);
  return isOfAll && first instanceof SignalError ? first : undefined;
}
