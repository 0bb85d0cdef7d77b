import { describe, expect, test } from "vitest";
import { type AcceptOptions, accept } from "../../src/ingest/accept.ts";
import type { Origin, SignalCandidate, Submission } from "../../src/ingest/index.ts";
import {
  contentSha256,
  DEFAULT_PAYLOAD_MAX_BYTES,
  type Refusal,
  type Result,
} from "../../src/signal/index.ts";
import { payloadOfBytes, SIGNAL_TIME, uncheckedSignal, validSignal } from "../support/signals.ts";
import { anOrigin, aProducer, aSubmission } from "./submission.ts";

const KEY_RULE = "must be 1 to 128 visible ASCII characters";

const options: AcceptOptions = {
  payloadMaxBytes: DEFAULT_PAYLOAD_MAX_BYTES,
  newSignalId: () => "019a1b2c-3d4e-7f60-8a9b-0c1d2e3f4a5b",
};

function judge(
  submission: Partial<Submission>,
  origin: Partial<Origin> = {},
): Result<SignalCandidate> {
  return accept(aSubmission(submission), 3, anOrigin(origin), options);
}

function candidateOf(acceptance: Result<SignalCandidate>): SignalCandidate {
  return acceptance.ok ? acceptance.value : expect.fail(acceptance.refusal.message);
}

function refusalOf(acceptance: Result<SignalCandidate>): Refusal {
  return acceptance.ok ? expect.fail("was accepted") : acceptance.refusal;
}

describe("what is accepted", () => {
  test("becomes a candidate with all that the store must know", () => {
    const { payload: _, ...signal } = validSignal();
    expect(candidateOf(judge({}))).toStrictEqual({
      signalId: "019a1b2c-3d4e-7f60-8a9b-0c1d2e3f4a5b",
      producerId: "bot-1",
      idempotencyKey: "key-1",
      requestSignature: undefined,
      requestItem: 3,
      contentSha256: contentSha256(validSignal()),
      status: "received",
      receiveTime: SIGNAL_TIME,
      signal,
      payloadJson: '{"indicators":{"rsi":61.5},"timeframe":"H1"}',
    });
  });

  test("waits for approval exactly if the producer's signals need it", () => {
    const status = (requireApproval: boolean) =>
      candidateOf(judge({}, { producer: aProducer({ requireApproval }) })).status;
    expect(status(true)).toBe("pending_approval");
    expect(status(false)).toBe("received");
  });

  test("is judged by the time of receipt", () => {
    const signal = uncheckedSignal({ signalTime: SIGNAL_TIME + 300_000_000_000n });
    expect(judge({ signal }).ok).toBe(true);
    expect(judge({ signal }, { receiveTime: SIGNAL_TIME - 1n }).ok).toBe(false);
  });

  test("may be past its expire time: only the store knows whether it came in time before", () => {
    const signal = uncheckedSignal({ expireTime: SIGNAL_TIME + 1n });
    expect(judge({ signal }, { receiveTime: SIGNAL_TIME + 2n }).ok).toBe(true);
  });
});

describe("the request's signature", () => {
  const requestSignature = new Uint8Array(32).fill(9);

  test.each<readonly [string, Partial<Submission>]>([
    ["the key came in a header, which it does not cover", { isKeySigned: false }],
    ["there is no key", { idempotencyKey: undefined, isKeySigned: false }],
    ["there is no key, whatever is said of it", { idempotencyKey: undefined, isKeySigned: true }],
  ])("tells a replay where %s", (_, submission) => {
    const candidate = candidateOf(judge(submission, { requestSignature }));
    expect(candidate.requestSignature).toBe(requestSignature);
  });

  test("is left out where the signed key tells a replay by itself", () => {
    const candidate = candidateOf(judge({ isKeySigned: true }, { requestSignature }));
    expect(candidate.requestSignature).toBeUndefined();
  });

  test("is not needed where requests are not signed", () => {
    const unsigned = { requestSignature: undefined };
    const candidate = candidateOf(
      judge({ idempotencyKey: undefined, isKeySigned: false }, unsigned),
    );
    expect(candidate.requestSignature).toBeUndefined();
  });
});

describe("what is refused", () => {
  test("is told a missing signal", () => {
    expect(refusalOf(judge({ signal: undefined }))).toEqual({
      reason: "INVALID_SIGNAL",
      message: "The signal is not valid: signal is required. Not stored by this request.",
      violations: [{ field: "signal", description: "is required" }],
      metadata: {},
      retryAfterMs: undefined,
    });
  });

  test("is told a missing signal and a wrong key at once", () => {
    expect(refusalOf(judge({ signal: undefined, idempotencyKey: "" })).violations).toEqual([
      { field: "signal", description: "is required" },
      { field: "idempotency_key", description: KEY_RULE },
    ]);
  });

  test.each(["", " ", "a b", "a\n", "k".repeat(129), "schlüssel", "\x7f"])(
    "is told that %j is no idempotency key, without a repetition of it",
    (idempotencyKey) => {
      expect(refusalOf(judge({ idempotencyKey }))).toMatchObject({
        reason: "INVALID_SIGNAL",
        message: `The signal is not valid: idempotency_key ${KEY_RULE}. Not stored by this request.`,
        violations: [{ field: "idempotency_key", description: KEY_RULE }],
      });
    },
  );

  test("is told each wrong field with its path in the request, and the key, at once", () => {
    const signal = uncheckedSignal({ instrument: "gold", entryPrice: -1, stopLoss: 0 });
    const refusal = refusalOf(judge({ signal, idempotencyKey: " " }));
    expect(refusal.reason).toBe("INVALID_SIGNAL");
    expect(refusal.violations.map((fault) => fault.field)).toEqual([
      "signal.instrument",
      "signal.entry_price",
      "signal.stop_loss",
      "idempotency_key",
    ]);
    for (const { field, description } of refusal.violations) {
      expect(refusal.message).toContain(`${field} ${description}`);
    }
  });

  test("for its payload's size alone has a reason of its own, for more it has not", () => {
    const signal = uncheckedSignal({ payload: payloadOfBytes(DEFAULT_PAYLOAD_MAX_BYTES + 1) });
    expect(refusalOf(judge({ signal }))).toMatchObject({
      reason: "PAYLOAD_TOO_LARGE",
      violations: [{ field: "signal.payload" }],
    });
    expect(refusalOf(judge({ signal, idempotencyKey: " " })).reason).toBe("INVALID_SIGNAL");
  });

  test("is judged by this server's limit of the payload", () => {
    const strict = { ...options, payloadMaxBytes: 10 };
    const acceptance = accept(aSubmission(), 0, anOrigin(), strict);
    expect(refusalOf(acceptance)).toMatchObject({ reason: "PAYLOAD_TOO_LARGE" });
  });
});

describe("the instruments of a producer", () => {
  const allowing = (...instruments: string[]) => ({
    producer: aProducer({ allowedInstruments: new Set(instruments) }),
  });

  test("are all of them unless they are listed", () => {
    expect(judge({}, { producer: aProducer({ allowedInstruments: undefined }) }).ok).toBe(true);
  });

  test("are those listed, by their whole names", () => {
    expect(judge({}, allowing("OIL", "GOLD")).ok).toBe(true);
    expect(judge({}, allowing("GOLD.M", "GOL")).ok).toBe(false);
  });

  test("are none if the list is empty", () => {
    expect(refusalOf(judge({}, allowing()))).toEqual({
      reason: "INSTRUMENT_NOT_ALLOWED",
      message: "This producer may not signal this instrument. Not stored by this request.",
      violations: [{ field: "signal.instrument", description: "is not allowed for this producer" }],
      metadata: {},
      retryAfterMs: undefined,
    });
  });

  test("are no question for a signal that is wrong anyway", () => {
    const signal = uncheckedSignal({ side: "hold" });
    expect(refusalOf(judge({ signal }, allowing("OIL"))).reason).toBe("INVALID_SIGNAL");
    expect(refusalOf(judge({ idempotencyKey: "" }, allowing("OIL"))).reason).toBe("INVALID_SIGNAL");
  });
});
