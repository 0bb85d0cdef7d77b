/** Builders for the store's tests. */
import { createHash, randomBytes, randomUUIDv7 } from "node:crypto";
import type { SignalCandidate } from "../../src/ingest/store.ts";
import type { Signal } from "../../src/signal/index.ts";
import { SIGNAL_TIME, validSignal } from "../support/signals.ts";

/** When the signals are decided and received. */
export const NOW = SIGNAL_TIME;

export const SECOND = 1_000_000_000n;

/** A valid signal: buy gold. */
export function aSignal(overrides: Partial<Signal> = {}): Signal {
  const prices = { entryPrice: 2000.5, stopLoss: 1990.25, takeProfit: 2020 };
  return validSignal({ ...prices, payload: undefined, ...overrides });
}

/**
 * A new candidate with a key of its own. Its digest is that of the signal's fields, so
 * equal signals have equal digests.
 */
export function aCandidate(
  overrides: Partial<SignalCandidate> = {},
  signal: Signal = aSignal(),
): SignalCandidate {
  return {
    signalId: randomUUIDv7(),
    producerId: "bot-1",
    idempotencyKey: randomUUIDv7(),
    requestSignature: undefined,
    requestItem: 0,
    contentSha256: digest(signal),
    status: "received",
    receiveTime: NOW,
    signal,
    payloadJson: signal.payload && JSON.stringify(signal.payload),
    ...overrides,
  };
}

/** A signature that no other request has. */
export function aSignature(): Uint8Array {
  return new Uint8Array(randomBytes(32));
}

function digest(signal: Signal): Uint8Array {
  const text = JSON.stringify(signal, (_, value) =>
    typeof value === "bigint" ? value.toString() : value,
  );
  return new Uint8Array(createHash("sha256").update(text).digest());
}
