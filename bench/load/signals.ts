/**
 * The signals that are sent: each is distinct, has a key of its own, and is of a usual
 * size (a request with one has 336 bytes in binary).
 */
import { randomUUIDv7 } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { SignalSchema } from "../../gen/signals/v1/signal_pb.ts";
import { accept } from "../../src/ingest/accept.ts";
import type { SignalCandidate } from "../../src/ingest/index.ts";
import {
  DEFAULT_PAYLOAD_MAX_BYTES,
  type Instant,
  type Signal,
  signalFromProto,
} from "../../src/signal/index.ts";

/** A signal and the name of its own that no other one has. */
export interface KeyedSignal {
  readonly idempotencyKey: string;
  readonly signal: Signal;
}

const INSTRUMENTS = ["GOLD", "SILVER", "EURUSD", "GBPUSD", "USDJPY", "BTCUSD", "US500", "BRENT"];
const NANOS_PER_MILLISECOND = 1_000_000n;

/** What a signal has in the fields that are not given. */
const NO_FIELDS = signalFromProto(create(SignalSchema)) as Signal;

let made = 0;

/** The next signal. */
export function makeSignal(): KeyedSignal {
  made += 1;
  const entryPrice = 1950 + (made % 1_000_000) / 1000;
  return {
    idempotencyKey: randomUUIDv7(),
    signal: {
      ...NO_FIELDS,
      instrument: INSTRUMENTS[made % INSTRUMENTS.length] as string,
      side: "buy",
      entryPrice,
      stopLoss: entryPrice - 12.5,
      takeProfit: entryPrice + 30.25,
      confidence: 0.72,
      riskPercent: 1.5,
      strategyName: "moving-average-cross",
      reason: "The 20-period average crossed above the 50-period average",
      signalTime: now(),
      payload: {
        timeframe: "H1",
        indicators: { rsi: 31.4, atr: 2.25, ema20: entryPrice - 1.5, ema50: entryPrice - 3.75 },
        tags: ["trend", "intraday"],
      },
    },
  };
}

/** The same signal as it is handed to the database, after all checks. */
export function candidateOf(
  { idempotencyKey, signal }: KeyedSignal,
  producerId: string,
  receiveTime = now(),
): SignalCandidate {
  const producer = { producerId, requireApproval: false, allowedInstruments: undefined };
  const acceptance = accept(
    { signal, idempotencyKey, isKeySigned: true, validateOnly: false },
    0,
    { producer, requestSignature: undefined, receiveTime },
    { payloadMaxBytes: DEFAULT_PAYLOAD_MAX_BYTES, newSignalId: randomUUIDv7 },
  );
  if (!acceptance.ok) throw new Error(acceptance.refusal.message);
  return acceptance.value;
}

/** The wall clock. */
export function now(): Instant {
  return BigInt(Date.now()) * NANOS_PER_MILLISECOND;
}
