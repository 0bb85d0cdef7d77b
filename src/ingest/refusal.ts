import type { Reason, Violation } from "../signal/index.ts";

/**
 * Why a request, or one signal of it, was not taken: a value that the edges turn
 * into the error form of each protocol. Nothing in it came from an exception, so
 * nothing in it can leak one.
 */
export interface Refusal {
  readonly reason: Reason;
  /** One sentence for people. Holds no secret, stack or SQL. */
  readonly message: string;
  /** Every wrong field; empty when the cause is not a field. */
  readonly violations: readonly Violation[];
  /** Facts for programs, such as `server_time`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** How long the caller should wait before a retry, if one helps. */
  readonly retryAfterMs: number | undefined;
}

/** Makes a {@link Refusal}; what is not given is empty. */
export function refuse(
  reason: Reason,
  message: string,
  details: Partial<Pick<Refusal, "violations" | "metadata" | "retryAfterMs">> = {},
): Refusal {
  return {
    reason,
    message,
    violations: details.violations ?? [],
    metadata: details.metadata ?? {},
    retryAfterMs: details.retryAfterMs,
  };
}

/** The refusal of a signal for its violations, which the message lists. */
export function invalidSignal(
  reason: "INVALID_SIGNAL" | "PAYLOAD_TOO_LARGE",
  violations: readonly Violation[],
): Refusal {
  const listed = violations.map((fault) => `${fault.field} ${fault.description}`).join("; ");
  return refuse(reason, `The signal is not valid: ${listed}.`, { violations });
}
