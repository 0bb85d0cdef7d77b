/**
 * When a server is left alone: the options, their rules and their defaults. Pure.
 */
import { z } from "zod";
import { switchable, wholeNumber } from "../settings.ts";

/** When to leave a server alone that does not work. All of it is optional. */
export interface CircuitBreakerOptions {
  /**
   * After how many failures in a row the circuit opens, 1 to 1,000. Only failures count that
   * say that the service does not work; a refusal says that it does. Defaults to 5: one call
   * alone has failed so often only after half a minute of the default retries, but many
   * calls at once do so in a moment, and it is they who would hammer the server.
   */
  readonly failuresMax?: number | undefined;

  /**
   * How long an open circuit lets nothing through, in milliseconds, 1 to 3,600,000; then one
   * attempt goes ahead to try. Defaults to 10,000: shorter than the waits of a call that
   * failed so often, so it holds up no retry, and a signal still arrives soon after the
   * server is back.
   */
  readonly halfOpenAfterMs?: number | undefined;
}

/** Options that are complete and hold every rule. */
export type ResolvedCircuitBreakerOptions = {
  readonly [Name in keyof CircuitBreakerOptions]-?: NonNullable<CircuitBreakerOptions[Name]>;
};

/** The option `circuitBreaker` of a client. */
export const circuitBreakerOption = switchable(
  z.strictObject({
    failuresMax: wholeNumber(1, 1_000).default(5),
    halfOpenAfterMs: wholeNumber(1, 3_600_000).default(10_000),
  }),
);
