/**
 * How failed calls are repeated, and when a server is left alone: the options, their rules and
 * their defaults. Pure.
 */
import { z } from "zod";
import { checkedOptions, flag, numberFrom, switchable, wholeNumber } from "../settings.ts";

/**
 * When a failed attempt is repeated. All of it is optional; as it is, an attempt is
 * repeated at once after a broken connection, then after 5, 10, 20, 40 and 80 seconds, and
 * not at all once five minutes are used up.
 */
export interface RetryOptions {
  /**
   * Whether the first broken connection (`UNREACHABLE`) is followed by another attempt at
   * once: a connection that was idle for long is often found dead by the next call, and a
   * new one works. Defaults to true.
   */
  readonly immediateRetry?: boolean | undefined;

  /**
   * How many attempts may follow the first one, each after a wait, 0 to 1,000. The
   * immediate one is not counted. Defaults to 5.
   */
  readonly retriesMax?: number | undefined;

  /** The first wait, in milliseconds, 1 to 3,600,000. Defaults to 5,000. */
  readonly baseDelayMs?: number | undefined;

  /** How much longer each wait is than the one before, 1 to 10. Defaults to 2. */
  readonly factor?: number | undefined;

  /** The longest wait, in milliseconds, 1 to 3,600,000. Defaults to 80,000. */
  readonly delayMaxMs?: number | undefined;

  /**
   * How much of a wait is left to chance, so that producers that failed together do not
   * come back together: 0 to 1, where 0.2 makes a wait of 5 s one of 4 to 5 s. A wait that
   * the server asked for is made longer, never shorter. Defaults to 0.2.
   */
  readonly jitter?: number | undefined;

  /**
   * How long all attempts and waits may take together, in milliseconds, 1 to 86,400,000.
   * No attempt is started or goes on past it, and a wait that would end past it is not
   * begun: the call then fails at once. Defaults to 300,000.
   */
  readonly budgetMs?: number | undefined;
}

/** Retry options that are complete and hold every rule. */
export type ResolvedRetryOptions = {
  readonly [Name in keyof RetryOptions]-?: NonNullable<RetryOptions[Name]>;
};

/** The longest wait between two attempts, whoever names it. */
export const DELAY_MS_MAX = 3_600_000;
const RETRIES_MAX = 1_000;
/** Below 2 ** 31, from which on a timer of Node.js fires at once. */
const BUDGET_MS_MAX = 86_400_000;

const schema = z.strictObject({
  immediateRetry: flag().default(true),
  retriesMax: wholeNumber(0, RETRIES_MAX).default(5),
  baseDelayMs: wholeNumber(1, DELAY_MS_MAX).default(5_000),
  factor: numberFrom(1, 10).default(2),
  delayMaxMs: wholeNumber(1, DELAY_MS_MAX).default(80_000),
  jitter: numberFrom(0, 1).default(0.2),
  budgetMs: wholeNumber(1, BUDGET_MS_MAX).default(300_000),
});

/** The option `retry` of a client or of a call. */
export const retryOption = switchable(schema);

/** For a schedule that somebody else bounds, who may want it to have no end. */
const endlessSchema = schema.extend({
  retriesMax: schema.shape.retriesMax.or(z.literal(Number.POSITIVE_INFINITY)),
  budgetMs: schema.shape.budgetMs.or(z.literal(Number.POSITIVE_INFINITY)),
});

/**
 * Completes the options of a schedule.
 *
 * @throws ConfigError naming every wrong option.
 */
export function resolveRetryOptions(options: RetryOptions): ResolvedRetryOptions {
  return checkedOptions(endlessSchema, options);
}

/**
 * The retry options of one call: each one that it does not give is the client's.
 *
 * @throws ConfigError naming every wrong option.
 */
export function retryOfCall(
  own: RetryOptions | false | undefined,
  clients: ResolvedRetryOptions | false,
): ResolvedRetryOptions | false {
  if (own === undefined) return clients;
  const given = own === false ? own : { ...clients, ...withoutUndefined(own) };
  return checkedOptions(z.object({ retry: retryOption }), { retry: given }, "The call's").retry;
}

/** A value that is no object is left to the schema, which says so. */
function withoutUndefined(options: RetryOptions): RetryOptions {
  if (typeof options !== "object" || options === null) return options;
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

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
