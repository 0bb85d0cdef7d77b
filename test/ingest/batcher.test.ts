import { inspect } from "node:util";
import { beforeEach, describe, expect, test, vi } from "vitest";
import {
  type Batcher,
  createBatcher,
  type SignalCandidate,
  SignalRejectedError,
  type SignalStore,
  StoreUnavailableError,
} from "../../src/ingest/index.ts";
import { SIGNAL_TIME } from "../support/signals.ts";
import { aCandidate, candidates } from "./candidates.ts";
import { HeldStore, POISON } from "./heldStore.ts";
import { ManualTimers, settled } from "./manualTimers.ts";
import { ManualClock } from "./memoryStore.ts";

const MAX_BATCH_SIZE = 8;
const MAX_BATCHES_IN_FLIGHT = 2;
const MAX_QUEUED = 20;
const STORE_TIMEOUT_MS = 2_000;
const PATIENT_MS = 60_000;

let clock: ManualClock;
let timers: ManualTimers;
let store: HeldStore;
let batcher: Batcher;
const onStoreFailure = vi.fn<(error: unknown) => void>();

beforeEach(() => {
  clock = new ManualClock(SIGNAL_TIME);
  timers = new ManualTimers(clock);
  store = new HeldStore();
  onStoreFailure.mockReset();
  batcher = batcherOf(store);
});

function batcherOf(target: SignalStore): Batcher {
  return createBatcher({
    store: target,
    clock,
    timers,
    maxBatchSize: MAX_BATCH_SIZE,
    maxBatchesInFlight: MAX_BATCHES_IN_FLIGHT,
    maxQueued: MAX_QUEUED,
    storeTimeoutMs: STORE_TIMEOUT_MS,
    onStoreFailure,
  });
}

/** A call, and its answer as soon as it has one. */
function call(signals: readonly SignalCandidate[], patienceMs = PATIENT_MS) {
  const made = {
    answer: undefined as unknown,
    outcomes: batcher.store(signals, clock.monotonicMs() + patienceMs),
  };
  void made.outcomes.then((outcomes) => {
    made.answer = outcomes;
  });
  return made;
}

/** Fills every place in flight with a lone signal. */
async function occupy() {
  const calls = [];
  for (let place = 0; place < MAX_BATCHES_IN_FLIGHT; place++) {
    calls.push(call(candidates(1)));
    await timers.turn();
  }
  expect(store.inFlight).toHaveLength(MAX_BATCHES_IN_FLIGHT);
  return calls;
}

function stored({ signalId }: SignalCandidate) {
  return { kind: "stored", signalId, status: "received", receiveTime: SIGNAL_TIME };
}

function refused(reason: string) {
  return { kind: "refused", refusal: expect.objectContaining({ reason }) };
}

function batchSizes(): number[] {
  return store.batches.map((batch) => batch.candidates.length);
}

test("a call without signals is answered with nothing, also by a closed batcher", async () => {
  expect(await batcher.store([], 0)).toEqual([]);
  await batcher.close();
  expect(await batcher.store([], 0)).toEqual([]);
  expect(store.batches).toEqual([]);
});

describe("a burst", () => {
  test("is cut into capped batches, no more in flight than allowed, first in, first out", async () => {
    const signals = candidates(MAX_QUEUED);
    for (const signal of signals) call([signal]);
    await timers.turn();
    expect(batchSizes()).toEqual([8, 8]);
    // The later batch ends first, and makes room all the same.
    await store.inFlight[1]?.answer();
    expect(batchSizes()).toEqual([8, 8, 4]);
    expect(store.inFlight).toHaveLength(2);
    expect(store.batches.flatMap((batch) => batch.candidates)).toEqual(signals);
  });
});

describe("a full queue", () => {
  test("refuses at once, as a whole call, and says when to come again", async () => {
    await occupy();
    call(candidates(MAX_QUEUED - 1));
    const two = call(candidates(2));
    await settled();
    expect(two.answer).toEqual([
      {
        kind: "refused",
        refusal: {
          reason: "OVERLOADED",
          message:
            "The server has more signals waiting than it can store in time. Send the signal again under the same idempotency key. Not stored by this request.",
          violations: [],
          metadata: {},
          retryAfterMs: 1_000,
        },
      },
      refused("OVERLOADED"),
    ]);
    const one = call(candidates(1));
    await settled();
    expect(one.answer).toBeUndefined();
  });
});

describe("a deadline", () => {
  test("in the queue is kept although its timer is late", async () => {
    await occupy();
    const hasty = call(candidates(1), 500);
    // The process was busy: the time has passed, but no timer has fired.
    clock.advanceMs(500);
    await store.answerNext();
    expect(hasty.answer).toEqual([refused("DEADLINE_EXCEEDED")]);
    expect(batchSizes()).toEqual([1, 1]);
  });

  test("goes by the monotonic clock, whatever the wall clock does", async () => {
    const wallClock = vi.spyOn(clock, "now");
    call(candidates(1), 500);
    await timers.turn();
    await store.answerNext();
    expect(wallClock).not.toHaveBeenCalled();
  });
});

describe("a slow store", () => {
  test("is believed late too, if nobody has given up: what is on disk is acknowledged", async () => {
    const [signal] = candidates(1) as [SignalCandidate];
    const patient = call([signal], 500);
    await timers.turn();
    clock.advanceMs(10_000);
    await store.answerNext();
    expect(patient.answer).toEqual([stored(signal)]);
  });

  test("that never answers is told of as one that is not available", async () => {
    await occupy();
    await timers.advanceMs(STORE_TIMEOUT_MS + 1_000);
    const told = [expect.any(StoreUnavailableError)];
    expect(onStoreFailure.mock.calls).toEqual([told, told]);
  });
});

describe("a store that fails", () => {
  const unavailable = new StoreUnavailableError("the sentinel of the message", {
    cause: new Error("the sentinel of the cause"),
  });

  test("is told of once a batch; every signal is refused, may be retried, and is not sent again", async () => {
    const calls = [call(candidates(2)), call(candidates(1))];
    await timers.turn();
    await store.inFlight[0]?.fail(unavailable);
    const refusal = {
      reason: "STORE_UNAVAILABLE",
      message:
        "The database does not answer, so it is not known whether the signal is stored. Send it again under the same idempotency key.",
      violations: [],
      metadata: {},
      retryAfterMs: 1_000,
    };
    const outcome = { kind: "refused", refusal };
    expect(calls.map(({ answer }) => answer)).toEqual([[outcome, outcome], [outcome]]);
    expect(onStoreFailure.mock.calls).toEqual([[unavailable]]);
    expect(onStoreFailure.mock.calls[0]?.[0]).toBe(unavailable);
    expect(batchSizes()).toEqual([3]);
  });

  test.each([
    ["an Error", new TypeError("the sentinel")],
    ["a text", "the sentinel"],
    ["nothing", undefined],
    ["null", null],
  ])(
    "by throwing %s is a fault of the server, of which the caller is told no more",
    async (_, thrown) => {
      const faulty = call(candidates(2));
      await timers.turn();
      await store.inFlight[0]?.fail(thrown);
      expect(faulty.answer).toEqual([refused("INTERNAL"), refused("INTERNAL")]);
      expect(inspect(faulty.answer, { depth: null })).not.toContain("sentinel");
      expect(onStoreFailure.mock.calls).toEqual([[thrown]]);
      expect(batchSizes()).toEqual([2]);
    },
  );

  test("by throwing before it returns a promise is a fault of the server", async () => {
    batcher = batcherOf({
      ingest() {
        throw new TypeError("a bug");
      },
    });
    const faulty = call(candidates(1));
    await timers.turn();
    expect(faulty.answer).toEqual([refused("INTERNAL")]);
    expect(timers.waitingCount).toBe(0);
  });

  test.each([
    ["too few", 1],
    ["no", 2],
    ["too many", -1],
  ])(
    "to give the right number of answers, but gives %s, is not believed at all",
    async (_, missing) => {
      const signals = candidates(2);
      const faulty = call(signals);
      await timers.turn();
      const outcomes = [...signals, ...candidates(1)].slice(0, 2 - missing);
      await store.inFlight[0]?.answerWith(
        outcomes.map(({ signalId }) => ({
          kind: "stored",
          signalId,
          status: "received",
          receiveTime: SIGNAL_TIME,
        })),
      );
      expect(faulty.answer).toEqual([refused("INTERNAL"), refused("INTERNAL")]);
      expect(onStoreFailure).toHaveBeenCalledWith(
        new Error(`The store answered ${2 - missing} of 2 signals`),
      );
    },
  );

  test("is used again, also when the log of it fails", async () => {
    onStoreFailure.mockImplementation(() => {
      throw new Error("no log");
    });
    const calls = await occupy();
    await store.inFlight[0]?.fail(unavailable);
    await store.inFlight[0]?.fail(unavailable);
    for (const { answer } of calls) expect(answer).toEqual([refused("STORE_UNAVAILABLE")]);
    const next = call(candidates(1));
    await timers.turn();
    await store.answerNext();
    expect(next.answer).toMatchObject([{ kind: "stored" }]);
  });
});

describe("a signal that cannot be stored", () => {
  test("alone is refused without a second try", async () => {
    const lone = call([aCandidate({ comment: POISON })]);
    await timers.turn();
    await store.answerNext();
    expect(lone.answer).toEqual([
      {
        kind: "refused",
        refusal: {
          reason: "INTERNAL",
          message:
            "The server failed, and it is not known whether the signal is stored. Send it again under the same idempotency key.",
          violations: [],
          metadata: {},
          retryAfterMs: undefined,
        },
      },
    ]);
    expect(batchSizes()).toEqual([1]);
  });

  test("that was a limit of the batch as a whole costs nobody anything", async () => {
    const signals = candidates(4);
    const big = call(signals);
    await timers.turn();
    await store.inFlight[0]?.fail(new SignalRejectedError("too much at once"));
    await store.answerAll();
    expect(big.answer).toEqual(signals.map(stored));
    expect(onStoreFailure).not.toHaveBeenCalled();
  });
});

describe("close", () => {
  /** Closes, and tells whether it is done. */
  function close() {
    const closing = { isClosed: false };
    void batcher.close().then(() => {
      closing.isClosed = true;
    });
    return closing;
  }

  test("does not wait a turn for what has just come", async () => {
    call(candidates(1));
    close();
    expect(batchSizes()).toEqual([1]);
    // The turn that was asked for before finds nothing left to do.
    await timers.turn();
    expect(batchSizes()).toEqual([1]);
  });

  test("is done for both who ask for it", async () => {
    await occupy();
    const closings = [close(), close()];
    await store.answerAll();
    expect(closings).toEqual([{ isClosed: true }, { isClosed: true }]);
    const late = close();
    await settled();
    expect(late.isClosed).toBe(true);
  });
});
