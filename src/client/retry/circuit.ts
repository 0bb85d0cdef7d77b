/**
 * Leaves a server alone that does not work, and finds out when it works again.
 *
 * The circuit is closed at first: every attempt goes through, and failures in a row are
 * counted. At `failuresMax` it opens: attempts fail at once with `CIRCUIT_OPEN`. When
 * `halfOpenAfterMs` have passed, the next attempt is let through as a probe and the circuit
 * is half open; whatever comes meanwhile still fails at once. If the probe proves that the
 * server works the circuit is closed, otherwise it is open for as long again.
 *
 * What is proven, and what is not:
 * - The server does not work: {@link UNAVAILABLE}.
 * - It works: every answer of the service, also a refusal.
 * - Nothing: the caller gave up, nobody knows what happened, or something else answered. That
 *   counts neither way,
 *   but a probe that proves nothing leaves the circuit open.
 */
import {
  CircuitState as CockatielState,
  ConsecutiveBreaker,
  ConstantBackoff,
  circuitBreaker,
  handleWhenResult,
} from "cockatiel";
import { monotonicMs } from "../clock.ts";
import type { SignalErrorReason } from "../errorReason.ts";
import { SignalError } from "../signalError.ts";
import type { ResolvedCircuitBreakerOptions } from "./circuitBreakerOptions.ts";

/** Where a circuit stands. */
export type CircuitState = "closed" | "half_open" | "open";

/** Told of each change. */
export interface CircuitObserver {
  /** @param cause the failure that opened it; undefined unless it opens. */
  changed(from: CircuitState, to: CircuitState, cause: SignalError | undefined): void;
}

/** What all attempts of a client pass through. */
export interface Circuit {
  /**
   * Makes an attempt, if the circuit lets it through.
   *
   * @param attempt must fail with a {@link SignalError} only.
   * @throws SignalError `CIRCUIT_OPEN`, naming the time until the next probe; or what the
   *   attempt threw.
   */
  run<T>(attempt: () => Promise<T>): Promise<T>;
}

/** The reasons that say that the service does not work, rather than what it thinks of a signal. */
const UNAVAILABLE: ReadonlySet<SignalErrorReason> = new Set([
  "UNREACHABLE",
  "STORE_UNAVAILABLE",
  "OVERLOADED",
  "INTERNAL",
  "DEADLINE_EXCEEDED",
  "INVALID_RESPONSE",
]);

/** The reasons that say nothing about the service. */
const UNPROVEN: ReadonlySet<SignalErrorReason> = new Set(["CANCELLED", "UNKNOWN"]);

/** How soon to ask again while a probe is under way, whose end nobody knows. */
const PROBE_RETRY_AFTER_MS = 1_000;

/** Makes a circuit, which is closed; one that is switched off lets everything through. */
export function createCircuit(
  options: ResolvedCircuitBreakerOptions | false,
  observer: CircuitObserver,
): Circuit {
  return options === false
    ? { run: (attempt) => attempt() }
    : new BreakingCircuit(options, observer);
}

/** How an attempt ended, as a value: only values can reset the count of cockatiel's breaker. */
type Ending<T> =
  | { readonly kind: "answered"; readonly value: T }
  | { readonly kind: "failed"; readonly error: SignalError; readonly isOutage: boolean };

class BreakingCircuit implements Circuit {
  readonly #options: ResolvedCircuitBreakerOptions;
  readonly #breaker;
  #probeAtMs = 0;
  #cause: SignalError | undefined;

  constructor(options: ResolvedCircuitBreakerOptions, observer: CircuitObserver) {
    this.#options = options;
    this.#breaker = circuitBreaker(
      handleWhenResult((ending) => isOutage(ending)),
      {
        breaker: new ConsecutiveBreaker(options.failuresMax),
        // The time is kept here: cockatiel's is the wall clock, and when that is set back by
        // an hour, the circuit would be open for an hour.
        halfOpenAfter: new ConstantBackoff(Number.NEGATIVE_INFINITY),
      },
    );
    this.#observe(observer);
  }

  async run<T>(attempt: () => Promise<T>): Promise<T> {
    this.#requireLetThrough();
    const isProbe = this.#breaker.state === CockatielState.Open;
    const ending = await this.#breaker.execute(() => endingOf(attempt, isProbe));
    if (ending.kind === "failed") throw ending.error;
    return ending.value;
  }

  #requireLetThrough(): void {
    const { state } = this.#breaker;
    if (state === CockatielState.HalfOpen) {
      throw circuitOpen(Math.min(this.#options.halfOpenAfterMs, PROBE_RETRY_AFTER_MS), this.#cause);
    }
    const waitMs = Math.ceil(this.#probeAtMs - monotonicMs());
    if (state === CockatielState.Open && waitMs > 0) throw circuitOpen(waitMs, this.#cause);
  }

  #observe(observer: CircuitObserver): void {
    let last: CircuitState = "closed";
    const change = (to: CircuitState, cause?: SignalError) => {
      const from = last;
      last = to;
      observer.changed(from, to, cause);
    };
    this.#breaker.onBreak((broken) => {
      this.#probeAtMs = monotonicMs() + this.#options.halfOpenAfterMs;
      this.#cause = "value" in broken ? causeOf(broken.value) : undefined;
      change("open", this.#cause);
    });
    this.#breaker.onHalfOpen(() => change("half_open"));
    this.#breaker.onReset(() => change("closed"));
  }
}

/** @throws SignalError if it proves nothing, which the breaker counts neither way. */
async function endingOf<T>(attempt: () => Promise<T>, isProbe: boolean): Promise<Ending<T>> {
  try {
    return { kind: "answered", value: await attempt() };
  } catch (thrown) {
    const error = SignalError.from(thrown);
    const isUnproven = UNPROVEN.has(error.reason) || error.isForeign;
    if (isUnproven && !isProbe) throw error;
    return { kind: "failed", error, isOutage: isUnproven || UNAVAILABLE.has(error.reason) };
  }
}

/** @param ending is what {@link endingOf} made, though cockatiel's type has forgotten it. */
function isOutage(ending: unknown): boolean {
  const { kind, isOutage } = ending as { readonly kind: string; readonly isOutage?: boolean };
  return kind === "failed" && isOutage === true;
}

function causeOf(ending: unknown): SignalError {
  return (ending as { readonly error: SignalError }).error;
}

function circuitOpen(retryAfterMs: number, cause: SignalError | undefined): SignalError {
  const last = cause === undefined ? "" : ` The last failure: ${cause.message}`;
  return new SignalError(
    "CIRCUIT_OPEN",
    `Nothing was sent, because the server failed too often just before.${last}`,
    { retryAfterMs, cause },
  );
}
