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
 * - The server does not work: all after which the same may be sent again at once.
 * - It works: every answer of the service, also a refusal.
 * - Nothing: the caller gave up, nobody knows what happened, or something else answered. That
 *   counts neither way, but a probe that proves nothing leaves the circuit open.
 */
import { monotonicMs } from "../clock.ts";
import { retryForError, type SignalErrorReason } from "../errorReason.ts";
import { SignalError } from "../signalError.ts";
import type { ResolvedCircuitBreakerOptions } from "./retryOptions.ts";

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
function isUnavailable(reason: SignalErrorReason): boolean {
  return retryForError(reason) === "same_key";
}

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

class BreakingCircuit implements Circuit {
  readonly #options: ResolvedCircuitBreakerOptions;
  readonly #observer: CircuitObserver;
  #state: CircuitState = "closed";
  #failuresInRow = 0;
  /** When the next probe may be made, by the clock that never jumps. */
  #probeAtMs = 0;
  #cause: SignalError | undefined;

  constructor(options: ResolvedCircuitBreakerOptions, observer: CircuitObserver) {
    this.#options = options;
    this.#observer = observer;
  }

  async run<T>(attempt: () => Promise<T>): Promise<T> {
    const isProbe = this.#letThrough();
    try {
      const value = await attempt();
      this.#ended(undefined, isProbe);
      return value;
    } catch (thrown) {
      const error = SignalError.from(thrown);
      this.#ended(error, isProbe);
      throw error;
    }
  }

  /** @returns whether the attempt is the probe. @throws SignalError if it may not be made. */
  #letThrough(): boolean {
    if (this.#state === "closed") return false;
    const waitMs =
      this.#state === "half_open"
        ? Math.min(this.#options.halfOpenAfterMs, PROBE_RETRY_AFTER_MS)
        : Math.ceil(this.#probeAtMs - monotonicMs());
    if (waitMs > 0) throw circuitOpen(waitMs, this.#cause);
    this.#change("half_open");
    return true;
  }

  #ended(error: SignalError | undefined, isProbe: boolean): void {
    // What was under way when the circuit opened decides nothing any more: only a probe does.
    if (!isProbe && this.#state !== "closed") return;
    const proof = error === undefined ? "works" : proofOf(error);
    if (proof === "works") {
      this.#failuresInRow = 0;
      if (isProbe) this.#change("closed");
    } else if (isProbe || proof === "fails") {
      this.#failuresInRow += 1;
      if (isProbe || this.#failuresInRow >= this.#options.failuresMax) this.#open(error);
    }
  }

  #open(cause: SignalError | undefined): void {
    this.#probeAtMs = monotonicMs() + this.#options.halfOpenAfterMs;
    this.#cause = cause;
    this.#change("open", cause);
  }

  #change(to: CircuitState, cause?: SignalError): void {
    const from = this.#state;
    this.#state = to;
    this.#observer.changed(from, to, cause);
  }
}

/** What a failure proves of the service. */
function proofOf({ reason, isForeign }: SignalError): "works" | "fails" | "nothing" {
  if (UNPROVEN.has(reason) || isForeign) return "nothing";
  return isUnavailable(reason) ? "fails" : "works";
}

function circuitOpen(retryAfterMs: number, cause: SignalError | undefined): SignalError {
  const last = cause === undefined ? "" : ` The last failure: ${cause.message}`;
  return new SignalError(
    "CIRCUIT_OPEN",
    `Nothing was sent, because the server failed too often just before.${last}`,
    { retryAfterMs, cause },
  );
}
