import type { Origin, Producer, Submission } from "../../src/ingest/index.ts";
import { SIGNAL_TIME, uncheckedSignal } from "../support/signals.ts";

/** A submission that is accepted, with the parts that a test cares about replaced. */
export function aSubmission(parts: Partial<Submission> = {}): Submission {
  return {
    signal: uncheckedSignal(),
    idempotencyKey: "key-1",
    isKeySigned: true,
    validateOnly: false,
    ...parts,
  };
}

/** A producer that may signal anything and needs no approval, unless told otherwise. */
export function aProducer(parts: Partial<Producer> = {}): Producer {
  return {
    producerId: "bot-1",
    requireApproval: false,
    allowedInstruments: undefined,
    ...parts,
  };
}

/** A signed request of that producer, received when its signals were decided. */
export function anOrigin(parts: Partial<Origin> = {}): Origin {
  return {
    producer: aProducer(),
    requestSignature: new Uint8Array(32).fill(7),
    receiveTime: SIGNAL_TIME,
    ...parts,
  };
}
