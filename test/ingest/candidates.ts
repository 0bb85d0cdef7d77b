import type { SignalCandidate } from "../../src/ingest/index.ts";
import { canonicalPayload, contentSha256 } from "../../src/signal/index.ts";
import { SIGNAL_TIME, validSignal } from "../support/signals.ts";

let candidateCount = 0;

/** What a test may say of a candidate; the rest is valid, and the key is its own. */
export interface CandidateParts {
  readonly idempotencyKey?: string;
  /** Tells contents apart. */
  readonly comment?: string;
}

/** A candidate that is new unless its key is given. */
export function aCandidate({ idempotencyKey, comment = "" }: CandidateParts = {}): SignalCandidate {
  candidateCount += 1;
  const signal = validSignal({ comment });
  return {
    signalId: `id-${candidateCount}`,
    producerId: "bot-1",
    idempotencyKey: idempotencyKey ?? `key-${candidateCount}`,
    requestSignature: undefined,
    requestItem: 0,
    contentSha256: contentSha256(signal),
    status: "received",
    receiveTime: SIGNAL_TIME,
    signal,
    payloadJson: signal.payload && canonicalPayload(signal.payload),
  };
}

/** So many new candidates. */
export function candidates(count: number): SignalCandidate[] {
  return Array.from({ length: count }, () => aCandidate());
}
