/**
 * From what a producer submitted to a candidate for the store, or to the refusal of
 * it. Pure: no clock, no database.
 */
import {
  canonicalPayload,
  contentSha256,
  IDEMPOTENCY_KEY_RULE,
  type Instant,
  invalidSignal,
  isIdempotencyKey,
  ok,
  type Result,
  refuse,
  refused,
  type UncheckedSignal,
  type Violation,
  validateSignal,
} from "../signal/index.ts";
import type { Producer } from "./producer.ts";
import type { SignalCandidate } from "./store.ts";

/** One signal as an edge decoded it. */
export interface Submission {
  /** `undefined` if the request holds none. */
  readonly signal: UncheckedSignal | undefined;
  /** The key from the message or from the header; `undefined` if there is neither. */
  readonly idempotencyKey: string | undefined;
  /** Whether the request's signature covers the key, that is, the key is in the message. */
  readonly isKeySigned: boolean;
  /** Check everything, store nothing. */
  readonly validateOnly: boolean;
}

/** What an edge made of one item of a request: a submission, or a refusal if it is none. */
export type Submitted = Result<Submission>;

/** Where a submission came from, and when. */
export interface Origin {
  readonly producer: Producer;
  /** The 32 bytes of the request's signature; `undefined` if requests are not signed. */
  readonly requestSignature: Uint8Array | undefined;
  readonly receiveTime: Instant;
}

/** What {@link accept} is told about this server. */
export interface AcceptOptions {
  /** The greatest payload, in bytes of compact UTF-8 JSON. */
  readonly payloadMaxBytes: number;
  /** Makes the id of a new signal, a UUIDv7. */
  readonly newSignalId: () => string;
}

/**
 * Judges one submission by every rule that needs no database.
 *
 * @param requestItem which item of its request it is, from 0.
 */
export function accept(
  submission: Submission,
  requestItem: number,
  origin: Origin,
  options: AcceptOptions,
): Result<SignalCandidate> {
  const { producer, receiveTime } = origin;
  const keyFaults = idempotencyKeyFaults(submission.idempotencyKey);
  if (submission.signal === undefined) {
    const missing = { field: "signal", description: "is required" };
    return refused(invalidSignal("INVALID_SIGNAL", [missing, ...keyFaults]));
  }
  const limits = { now: receiveTime, payloadMaxBytes: options.payloadMaxBytes };
  const verdict = validateSignal(submission.signal, limits);
  if (!verdict.valid) {
    const faults = verdict.violations.map((fault) => ({
      ...fault,
      field: `signal.${fault.field}`,
    }));
    const reason = keyFaults.length > 0 ? "INVALID_SIGNAL" : verdict.reason;
    return refused(invalidSignal(reason, [...faults, ...keyFaults]));
  }
  if (keyFaults.length > 0) return refused(invalidSignal("INVALID_SIGNAL", keyFaults));

  const { payload, ...signal } = verdict.signal;
  if (producer.allowedInstruments?.has(signal.instrument) === false) {
    return refused(
      refuse("INSTRUMENT_NOT_ALLOWED", "This producer may not signal this instrument.", {
        violations: [
          { field: "signal.instrument", description: "is not allowed for this producer" },
        ],
      }),
    );
  }
  const payloadJson = payload && canonicalPayload(payload);
  const hasSignedKey = submission.isKeySigned && submission.idempotencyKey !== undefined;
  const candidate: SignalCandidate = {
    signalId: options.newSignalId(),
    producerId: producer.producerId,
    idempotencyKey: submission.idempotencyKey,
    // A signed key tells a replay by itself; anything else leaves only the signature.
    requestSignature: hasSignedKey ? undefined : origin.requestSignature,
    requestItem,
    contentSha256: contentSha256(verdict.signal, payloadJson),
    status: producer.requireApproval ? "pending_approval" : "received",
    receiveTime,
    signal,
    payloadJson,
  };
  return ok(candidate);
}

function idempotencyKeyFaults(key: string | undefined): Violation[] {
  if (key === undefined || isIdempotencyKey(key)) return [];
  return [{ field: "idempotency_key", description: IDEMPOTENCY_KEY_RULE }];
}
