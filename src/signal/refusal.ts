/**
 * Refusals: why a step gave no value, in the words that every edge writes in its own form.
 */
import { type Reason, recordOf } from "./reason.ts";
import type { Violation } from "./values.ts";

/**
 * Why a request, or one signal of it, was not taken: a value that the edges turn
 * into the error form of each protocol. Nothing in it came from an exception, so
 * nothing in it can leak one.
 */
export interface Refusal {
  readonly reason: Reason;
  /**
   * For people: why, and that nothing is stored, or that this is not known. Holds no secret,
   * stack or SQL.
   */
  readonly message: string;
  /** Every wrong field; empty when the cause is not a field. */
  readonly violations: readonly Violation[];
  /** Facts for programs, such as `server_time`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** How long the caller should wait before a retry, if one helps. */
  readonly retryAfterMs: number | undefined;
}

/** What came out of a step that may refuse: a value, or why there is none. */
export type Result<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly refusal: Refusal };

/** The {@link Result} of a step that went well. */
export function ok<Value>(value: Value): { readonly ok: true; readonly value: Value } {
  return { ok: true, value };
}

/** The {@link Result} of a step that refused. */
export function refused(refusal: Refusal): { readonly ok: false; readonly refusal: Refusal } {
  return { ok: false, refusal };
}

/** Ends the message of each refusal that comes before the store, or from it without a row. */
export const NOT_STORED = "Not stored by this request.";

/**
 * Makes a {@link Refusal}; what is not given is empty.
 *
 * @param message why, in sentences. That nothing is stored is added where the reason says so.
 */
export function refuse(
  reason: Reason,
  message: string,
  details: Partial<Pick<Refusal, "violations" | "metadata" | "retryAfterMs">> = {},
): Refusal {
  return {
    reason,
    message: recordOf(reason).mayBeStored ? message : `${message} ${NOT_STORED}`,
    violations: details.violations ?? [],
    metadata: details.metadata ?? {},
    retryAfterMs: details.retryAfterMs,
  };
}

/**
 * Makes the {@link Refusal} of a call that stores no signal, so that nothing is said of one.
 *
 * @param message why, in sentences.
 */
export function refuseCall(
  reason: Reason,
  message: string,
  details: Parameters<typeof refuse>[2] = {},
): Refusal {
  return { ...refuse(reason, message, details), message };
}

/** The refusal of a call for its violations, which the message lists. */
export function invalidRequest(violations: readonly Violation[]): Refusal {
  const listed = violations.map((fault) => `${fault.field} ${fault.description}`).join("; ");
  return refuseCall("INVALID_REQUEST", `The request is not valid: ${listed}.`, { violations });
}

/** The refusal of a signal for its violations, which the message lists. */
export function invalidSignal(
  reason: "INVALID_SIGNAL" | "PAYLOAD_TOO_LARGE",
  violations: readonly Violation[],
): Refusal {
  const listed = violations.map((fault) => `${fault.field} ${fault.description}`).join("; ");
  return refuse(reason, `The signal is not valid: ${listed}.`, { violations });
}

/** Long enough not to hammer a server in trouble, short enough for a trading signal. */
const DEFAULT_RETRY_AFTER_MS = 1_000;

/** After what can be retried, a caller is told when, also if the cause does not say. */
export function retryAfterMsOf({ reason, retryAfterMs }: Refusal): number | undefined {
  const isRetried = recordOf(reason).retry === "same_key";
  return retryAfterMs ?? (isRetried ? DEFAULT_RETRY_AFTER_MS : undefined);
}
