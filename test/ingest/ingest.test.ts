import { inspect } from "node:util";
import { beforeEach, describe, expect, test, vi } from "vitest";
import {
  createBatcher,
  createIngest,
  type Ingest,
  type IngestResult,
  type Origin,
  type SignalStore,
  StoreUnavailableError,
  type Submission,
} from "../../src/ingest/index.ts";
import { DEFAULT_PAYLOAD_MAX_BYTES, ok, refuse, refused } from "../../src/signal/index.ts";
import { SIGNAL_TIME, uncheckedSignal } from "../support/signals.ts";
import { ManualTimers } from "./manualTimers.ts";
import { ManualClock, MemoryStore } from "./memoryStore.ts";
import { anOrigin, aProducer, aSubmission } from "./submission.ts";

const STORE_TIMEOUT_MS = 2_000;
const MAX_BATCH_SIZE = 256;
const invalid = uncheckedSignal({ instrument: "gold" });
const expired = uncheckedSignal({ signalTime: SIGNAL_TIME - 2n, expireTime: SIGNAL_TIME });

let clock: ManualClock;
let timers: ManualTimers;
let store: MemoryStore;
const onStoreFailure = vi.fn<(error: unknown) => void>();

beforeEach(() => {
  clock = new ManualClock(SIGNAL_TIME);
  timers = new ManualTimers(clock);
  store = new MemoryStore();
  onStoreFailure.mockReset();
});

function ingestInto(target: SignalStore): Ingest {
  let ids = 0;
  const batcher = createBatcher({
    store: target,
    clock,
    // What is sent soon is sent at once here: nothing else arrives meanwhile.
    timers: { after: (ms, callback) => timers.after(ms, callback), soon: queueMicrotask },
    maxBatchSize: MAX_BATCH_SIZE,
    maxBatchesInFlight: 2,
    maxQueued: 2_000,
    storeTimeoutMs: STORE_TIMEOUT_MS,
    onStoreFailure,
  });
  return createIngest({
    batcher,
    payloadMaxBytes: DEFAULT_PAYLOAD_MAX_BYTES,
    newSignalId: () => `id-${++ids}`,
  });
}

/** Ingests as a caller would that has `patienceMs` left. */
function ingest(
  submissions: readonly Partial<Submission>[],
  { patienceMs = 10_000, origin = anOrigin() }: { patienceMs?: number; origin?: Origin } = {},
): Promise<IngestResult[]> {
  const deadlineMs = clock.monotonicMs() + patienceMs;
  return ingestInto(store)(
    submissions.map((parts) => ok(aSubmission(parts))),
    origin,
    deadlineMs,
  );
}

function refusedFor(reason: string) {
  return { kind: "refused", refusal: { reason }, receiveTime: SIGNAL_TIME };
}

describe("a signal", () => {
  test("is stored, and answered with what the store says", async () => {
    const results = await ingest([{}]);
    expect(results).toEqual([
      {
        kind: "stored",
        signalId: "id-1",
        status: "received",
        receiveTime: SIGNAL_TIME,
        duplicate: false,
      },
    ]);
    expect(store.stored).toHaveLength(1);
  });

  test("past its expire time is refused with the field named", async () => {
    const violations = [{ field: "signal.expire_time", description: "is in the past" }];
    expect(await ingest([{ signal: expired }])).toMatchObject([
      { ...refusedFor("SIGNAL_EXPIRED"), refusal: { violations } },
    ]);
    expect(store.stored).toEqual([]);
  });

  test("that is wrong never reaches the store", async () => {
    expect(await ingest([{ signal: invalid }, { signal: undefined }])).toMatchObject([
      refusedFor("INVALID_SIGNAL"),
      refusedFor("INVALID_SIGNAL"),
    ]);
    expect(store.calls).toEqual([]);
  });
});

describe("validate_only", () => {
  test("tells that a signal is valid, with the status it would have, and stores nothing", async () => {
    const origin = anOrigin({ producer: aProducer({ requireApproval: true }) });
    expect(await ingest([{ validateOnly: true }], { origin })).toEqual([
      { kind: "valid", status: "pending_approval", receiveTime: SIGNAL_TIME },
    ]);
    expect(store.calls).toEqual([]);
  });

  test.each<readonly [string, bigint, string]>([
    ["a nanosecond after receipt", SIGNAL_TIME + 1n, "valid"],
    ["at the moment of receipt", SIGNAL_TIME, "refused"],
    ["a nanosecond before receipt", SIGNAL_TIME - 1n, "refused"],
  ])("judges a signal that expires %s as the store would", async (_, expireTime, kind) => {
    const signal = uncheckedSignal({ signalTime: SIGNAL_TIME - 2n, expireTime });
    const [verdict] = await ingest([{ signal, validateOnly: true }]);
    const [outcome] = await ingest([{ signal }]);
    expect(verdict?.kind).toBe(kind);
    expect(outcome?.kind).toBe(kind === "valid" ? "stored" : "refused");
  });

  test("tells what is wrong as it would without", async () => {
    const [verdict] = await ingest([{ signal: expired, validateOnly: true }]);
    expect(verdict).toMatchObject(refusedFor("SIGNAL_EXPIRED"));
    expect(await ingest([{ signal: expired }])).toEqual([verdict]);
    expect(await ingest([{ signal: invalid, validateOnly: true }])).toMatchObject([
      refusedFor("INVALID_SIGNAL"),
    ]);
  });

  test("needs no store, so neither its failure nor the deadline matters", async () => {
    store.beforeStoring = () => expect.fail("the store was called");
    expect(await ingest([{ validateOnly: true }], { patienceMs: 0 })).toMatchObject([
      { kind: "valid" },
    ]);
  });
});

describe("a batch", () => {
  test("of all outcomes is answered one by one, in its order", async () => {
    await ingest([{ idempotencyKey: "known" }]);
    const reused = { idempotencyKey: "known", signal: uncheckedSignal({ comment: "other" }) };
    const results = await ingest([
      { signal: invalid, idempotencyKey: "a" },
      { idempotencyKey: "b" },
      { idempotencyKey: "known" },
      { idempotencyKey: "c", validateOnly: true },
      reused,
      { signal: expired, idempotencyKey: "d" },
      { signal: undefined },
      { idempotencyKey: "b" },
      { idempotencyKey: "e" },
    ]);
    expect(results).toMatchObject([
      refusedFor("INVALID_SIGNAL"),
      { kind: "stored", duplicate: false },
      { kind: "stored", duplicate: true },
      { kind: "valid" },
      refusedFor("IDEMPOTENCY_KEY_REUSED"),
      refusedFor("SIGNAL_EXPIRED"),
      refusedFor("INVALID_SIGNAL"),
      { kind: "stored", duplicate: true },
      { kind: "stored", duplicate: false },
    ]);
    expect(store.stored.map((one) => one.idempotencyKey)).toEqual(["known", "b", "e"]);
    expect(results[7]).toEqual({ ...results[1], duplicate: true });
  });

  test("goes to the store in one call, each signal with its place in the request", async () => {
    await ingest([
      { idempotencyKey: "a" },
      { signal: invalid },
      { idempotencyKey: "b" },
      { validateOnly: true },
      { idempotencyKey: "c" },
    ]);
    const [call, ...more] = store.calls;
    expect(more).toEqual([]);
    expect(call?.candidates.map((one) => [one.idempotencyKey, one.requestItem])).toEqual([
      ["a", 0],
      ["b", 2],
      ["c", 4],
    ]);
  });

  test("of 1,000 is answered a thousand times, in order", async () => {
    const batch = Array.from({ length: 1_000 }, (_, item) => ({
      idempotencyKey: `key-${item}`,
      ...(item % 3 === 0 && { signal: invalid }),
    }));
    const results = await ingest(batch);
    const kinds = batch.map((_, item) => (item % 3 === 0 ? "refused" : "stored"));
    expect(results.map((result) => result.kind)).toEqual(kinds);
    expect(new Set(store.stored.map((one) => one.signalId)).size).toBe(666);
    expect(store.calls.map((call) => call.candidates.length)).toEqual([666]);
  });
});

test.each([0, -1, -60_000])(
  "a deadline of the caller that is over (%i ms left) leaves the store uncalled",
  async (patienceMs) => {
    const results = await ingest([{ signal: invalid }, {}], { patienceMs });
    expect(results).toMatchObject([refusedFor("INVALID_SIGNAL"), refusedFor("DEADLINE_EXCEEDED")]);
    expect(store.calls).toEqual([]);
    expect(onStoreFailure).not.toHaveBeenCalled();
  },
);

test("a store that fails refuses all that it was given, and nothing else", async () => {
  store.beforeStoring = () => {
    throw new StoreUnavailableError("the sentinel of the message", {
      cause: new Error("the sentinel of the cause"),
    });
  };
  const results = await ingest([
    { idempotencyKey: "a" },
    { signal: invalid },
    { validateOnly: true },
    { idempotencyKey: "b" },
  ]);
  const unavailable = {
    ...refusedFor("STORE_UNAVAILABLE"),
    refusal: { violations: [], metadata: {}, retryAfterMs: 1_000 },
  };
  expect(results).toMatchObject([
    unavailable,
    refusedFor("INVALID_SIGNAL"),
    { kind: "valid" },
    unavailable,
  ]);
  expect(inspect(results, { depth: null })).not.toContain("sentinel");
});

describe("an item that an edge could not read", () => {
  const tooLarge = refused(refuse("BODY_TOO_LARGE", "It is too large."));

  test("is refused by itself, in its place", async () => {
    const items = [tooLarge, ok(aSubmission()), tooLarge];
    const results = await ingestInto(store)(items, anOrigin(), clock.monotonicMs() + 10_000);
    expect(results).toMatchObject([
      refusedFor("BODY_TOO_LARGE"),
      { kind: "stored" },
      refusedFor("BODY_TOO_LARGE"),
    ]);
    expect(store.stored).toMatchObject([{ requestItem: 1 }]);
  });

  test.each(["MALFORMED_BODY", "DEADLINE_EXCEEDED"] as const)(
    "for %s refuses the whole request, and what is behind it is not asked for",
    async (reason) => {
      let asked = 0;
      async function* items() {
        asked += 1;
        yield ok(aSubmission());
        asked += 1;
        yield refused(refuse(reason, "It is of no use."));
        asked += 1;
      }
      const results = await ingestInto(store)(items(), anOrigin(), clock.monotonicMs() + 10_000);
      expect(results).toMatchObject([refusedFor(reason)]);
      expect(results).toHaveLength(1);
      expect([asked, store.stored]).toEqual([2, []]);
    },
  );
});
