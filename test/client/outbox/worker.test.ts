import { describe, expect, it } from "vitest";
import { type IngestItemResult, SignalError, type SignalInput } from "../../../src/client/index.ts";
import { fixRequest } from "../../../src/client/outbox/entry.ts";
import {
  Bench,
  failWith,
  HELD_DELAY_MS,
  MS,
  refused,
  START_MS,
  settled,
  storeAll,
  stored,
} from "./workerBench.ts";

const keys = (count: number) => Array.from({ length: count }, (_, index) => `k${index}`);

describe("a worker with nothing in the way", () => {
  it("sends a lone signal at once, by itself, in one attempt", async () => {
    const bench = new Bench();
    await bench.deliver(["a"]);
    expect(bench.calls).toMatchObject([
      { keys: ["a"], isBatch: false, options: { retry: false, timeoutMs: 30_000 }, atMs: 0 },
    ]);
    await bench.time.advance(100);
    expect(bench.queue.entries).toEqual([]);
    expect(bench.worker.state).toBe("idle");
  });

  it("sends a backlog in order and in batches, one request at a time", async () => {
    const bench = new Bench({ maxBatchSize: 4 });
    let inFlight = 0;
    bench.answer = async (call) => {
      inFlight += 1;
      expect(inFlight).toBe(1);
      await settled();
      inFlight -= 1;
      return storeAll(call);
    };
    await bench.deliver(keys(10));
    for (let turn = 0; turn < 20; turn++) await bench.time.advance(100);
    expect(bench.sentKeys).toEqual(["k0,k1,k2,k3", "k4,k5,k6,k7", "k8,k9"]);
    expect(bench.queue.entries).toEqual([]);
  });

  it.each([
    ["while the next is under way, and reads what follows", 10_000, ["2,0", "3,1", "4,2"]],
    ["before the next if that may not take long", 9_999, ["1,0", "2,1", "3,2"]],
  ])("writes what a request delivered %s", async (_when, timeoutMs, readsAndWrites) => {
    const bench = new Bench({ timeoutMs });
    const underWay: string[] = [];
    bench.answer = async (call) => {
      await settled();
      underWay.push(`${bench.queue.readCount},${bench.queue.settleCount}`);
      return storeAll(call);
    };
    await bench.deliver(keys(300));
    for (let turn = 0; turn < 8; turn++) await bench.time.advance(100);
    expect(underWay).toEqual(readsAndWrites);
    expect(bench.queue.entries).toEqual([]);
  });

  it("writes down many deliveries at once while more come", async () => {
    const bench = new Bench();
    for (let n = 0; n < 50; n++) {
      await bench.deliver([`k${n}`]);
      await bench.time.advance(1);
    }
    expect(bench.calls).toHaveLength(50);
    expect(bench.queue.settleCount).toBeLessThan(5);
    await bench.time.advance(100);
    expect(bench.queue.entries).toEqual([]);
  });
});

describe("a signal that comes as the worker becomes idle", () => {
  it("is delivered after the last of a backlog, though nothing was there to be read ahead", async () => {
    const bench = new Bench({ maxBatchSize: 4 });
    const gate = Promise.withResolvers<void>();
    bench.answer = (call) => gate.promise.then(() => storeAll(call));
    await bench.deliver(keys(4));
    await bench.deliver(["b"]);
    gate.resolve();
    await settled();
    expect(bench.sentKeys).toEqual(["k0,k1,k2,k3", "b"]);
  });

  it.each(Array.from({ length: 12 }, (_, ticks) => ticks))(
    "is delivered, %i turns after the last was written",
    async (ticks) => {
      const bench = new Bench();
      let isFirst = true;
      bench.queue.settled = async () => {
        if (!isFirst) return;
        isFirst = false;
        for (let tick = 0; tick < ticks; tick++) await null;
        bench.queue.add(["b"]);
        bench.worker.wake();
      };
      await bench.deliver(["a"]);
      await bench.time.advance(100);
      expect(bench.sentKeys).toEqual(["a", "b"]);
      expect(bench.queue.entries).toEqual([]);
    },
  );
});

describe("a failure that passes", () => {
  it("is waited for by the schedule, and order is kept", async () => {
    const bench = new Bench();
    bench.answer = failWith("STORE_UNAVAILABLE");
    await bench.deliver(["a"]);
    await bench.deliver(["b"]);
    await bench.time.advance(200_000);
    expect(bench.calls.map(({ atMs }) => atMs)).toEqual([
      0, 5_000, 15_000, 35_000, 75_000, 155_000,
    ]);
    expect(bench.sentKeys).toEqual(["a", "a,b", "a,b", "a,b", "a,b", "a,b"]);
    expect(bench.worker.state).toBe("waiting");
    bench.answer = storeAll;
    await bench.time.advance(80_000);
    expect(bench.sentKeys.at(-1)).toBe("a,b");
    expect(bench.queue.entries).toEqual([]);
    expect(bench.worker.lastError).toBeUndefined();
  });

  it("is told as what it was, and by its cause if nothing was sent for it", async () => {
    const bench = new Bench();
    const cause = new SignalError("CANCELLED", "The stream was reset.");
    bench.answer = failWith("UNREACHABLE", { cause });
    await bench.deliver(["a"]);
    expect(bench.worker.lastError?.reason).toBe("UNREACHABLE");
    bench.answer = failWith("CIRCUIT_OPEN", { cause });
    await bench.time.advance(60_000);
    expect(bench.worker.lastError).toBe(cause);
  });

  it.each([
    ["of one signal", "k5"],
    ["of all signals", ""],
  ])("%s keeps what was read ahead back, and the order", async (_whose, failing) => {
    const bench = new Bench({ maxBatchSize: 4 });
    const isFailing = (key: string | undefined) => failing === "" || key === failing;
    bench.answer = (call) => {
      if (bench.calls.length !== 2) return storeAll(call);
      return call.keys.map((key) => (isFailing(key) ? refused(key, "OVERLOADED") : stored(key)));
    };
    await bench.deliver(keys(12));
    await bench.time.advance(60_000);
    expect(bench.sentKeys).toEqual([
      "k0,k1,k2,k3",
      "k4,k5,k6,k7",
      ...(failing === "" ? ["k4,k5,k6,k7", "k8,k9,k10,k11"] : ["k5,k8,k9,k10", "k11"]),
    ]);
    expect(bench.queue.entries).toEqual([]);
  });

  it.each(["INVALID_RESPONSE", "UNREACHABLE", "DEADLINE_EXCEEDED", "INTERNAL"] as const)(
    "by %s of a batch that may be too big for what stands between is tried with a smaller one",
    async (reason) => {
      const bench = new Bench();
      bench.answer = (call) => (call.keys.length > 2 ? failWith(reason)(call) : storeAll(call));
      await bench.deliver(keys(10));
      await bench.time.advance(300_000);
      expect(bench.queue.entries).toEqual([]);
      expect(bench.calls.slice(0, 4).map(({ keys }) => keys.length)).toEqual([10, 5, 3, 2]);
      const delivered = bench.calls.filter(({ keys }) => keys.length <= 2);
      expect(delivered.flatMap(({ keys }) => keys)).toEqual(keys(10));
    },
  );

  it("that is over lets batches grow again, each to twice the size", async () => {
    const bench = new Bench();
    bench.answer = (call) =>
      bench.time.nowMs < START_MS + 300_000 ? failWith("UNREACHABLE")(call) : storeAll(call);
    await bench.deliver(keys(300));
    await bench.time.advance(1_000_000);
    const delivered = bench.calls.filter(({ atMs }) => atMs >= 300_000);
    expect(delivered.map(({ keys }) => keys.length)).toEqual([1, 2, 4, 8, 16, 32, 64, 100, 73]);
  });

  it("of one signal does not keep what was delivered beside it from being written", async () => {
    const bench = new Bench();
    bench.answer = ({ keys }) =>
      keys.map((key) => (key === "k1" ? refused(key, "OVERLOADED") : stored(key)));
    await bench.deliver(keys(3));
    expect(bench.time.nowMs).toBe(START_MS);
    expect(bench.queue.entries.map(({ idempotencyKey }) => idempotencyKey)).toEqual(["k1"]);
  });

  it("ends after giveUpAfterMs in a dead letter", async () => {
    const bench = new Bench({ giveUpAfterMs: 60_000 });
    bench.answer = failWith("OVERLOADED");
    await bench.deliver(["a"]);
    await bench.time.advance(60_000);
    expect(bench.deadKeys).toEqual([]);
    await bench.time.advance(5_001);
    expect(bench.events.at(-1)).toEqual(["died", "a", "GIVEN_UP"]);
    expect(bench.queue.dead[0]?.death?.message).toContain("OVERLOADED");
    expect(bench.worker.state).toBe("idle");
  });
});

describe("a proxy that asks to be left alone for days", () => {
  const ask = failWith("UNREACHABLE", { retryAfterMs: 864_000_000 });

  it("keeps nobody from hearing in time of what comes too late meanwhile", async () => {
    const bench = new Bench({ giveUpAfterMs: 90_000 });
    bench.answer = ask;
    const expireTime = BigInt(START_MS + 30_000) * MS;
    await bench.deliver(["old"]);
    bench.queue.add(["late"], { expireTime });
    bench.queue.add(keys(2_500));
    bench.queue.add(["last"], { expireTime });
    bench.worker.wake();
    // The last of 2,502 is in the third part that is looked at.
    await bench.time.advance(30_000 + 15_001);
    expect(bench.events.slice(1).sort()).toEqual([
      ["died", "last", "SIGNAL_EXPIRED"],
      ["died", "late", "SIGNAL_EXPIRED"],
    ]);
    await bench.time.advance(90_000 + 15_001 - 45_001);
    expect(bench.deadKeys).toHaveLength(2_503);
    expect(bench.calls).toHaveLength(1);
    await bench.time.advance(1);
    expect(bench.worker.state).toBe("idle");
  });
});

describe("a failure that only a person can fix", () => {
  it("holds everything, sets nothing aside, and is told once", async () => {
    const bench = new Bench();
    bench.answer = failWith("UNAUTHENTICATED");
    await bench.deliver(keys(500));
    await bench.time.advance(600_000);
    expect(bench.calls.map(({ atMs }) => atMs)).toEqual(
      Array.from({ length: 11 }, (_, n) => n * HELD_DELAY_MS),
    );
    expect(bench.queue.dead).toEqual([]);
    expect(bench.queue.entries).toHaveLength(500);
    expect(bench.events).toEqual([["held", "UNAUTHENTICATED"]]);
    expect(bench.worker.state).toBe("held");

    bench.answer = storeAll;
    await bench.time.advance(HELD_DELAY_MS);
    await bench.time.advance(100);
    expect(bench.queue.entries).toEqual([]);
    expect(bench.events).toContainEqual(["released"]);
    expect(bench.worker.state).toBe("idle");
  });

  it("is what a client that is switched off is like: all signals stay", async () => {
    const bench = new Bench();
    bench.answer = ({ keys }) =>
      keys.map((key) => ({ ...stored(key), outcome: "disabled" }) as unknown as IngestItemResult);
    await bench.deliver(["a"]);
    await bench.deliver(["b"]);
    await bench.time.advance(120_000);
    expect(bench.queue.entries).toHaveLength(2);
    expect(bench.worker.state).toBe("held");
    expect(bench.worker.lastError?.message).toContain("switched off");
  });
});

describe("a refusal for good", () => {
  it("of one signal in a batch concerns that one only", async () => {
    const bench = new Bench();
    bench.answer = ({ keys }) =>
      keys.map((key) => (key === "k1" ? refused(key, "INSTRUMENT_NOT_ALLOWED") : stored(key)));
    await bench.deliver(keys(3));
    await bench.time.advance(100);
    expect(bench.deadKeys).toEqual(["k1"]);
    expect(bench.queue.dead[0]?.death).toMatchObject({
      reason: "INSTRUMENT_NOT_ALLOWED",
      violations: [{ field: "signal.entry_price", description: "is wrong" }],
    });
    expect(bench.queue.entries).toEqual([]);
    expect(bench.calls).toHaveLength(1);
  });

  it("of a whole batch comes before what was read ahead", async () => {
    const bench = new Bench({ maxBatchSize: 4 });
    bench.answer = (call) =>
      call.keys.includes("k1") ? failWith("BODY_TOO_LARGE")(call) : storeAll(call);
    await bench.deliver(keys(8));
    await bench.time.advance(100);
    const sent = ["k0,k1,k2,k3", "k0,k1", "k0", "k1,k2", "k1", "k2,k3", "k4,k5,k6,k7"];
    expect(bench.sentKeys).toEqual(sent);
    expect(bench.deadKeys).toEqual(["k1"]);
  });

  it("that names places concerns those only, and the others go at once", async () => {
    const bench = new Bench();
    const violations = [{ field: "requests[2].signal.signal_time", description: "is ahead" }];
    bench.answer = (call) =>
      call.keys.includes("k2") ? failWith("INVALID_SIGNAL", { violations })(call) : storeAll(call);
    await bench.deliver(keys(4));
    await bench.time.advance(100);
    expect(bench.sentKeys).toEqual(["k0,k1,k2,k3", "k0,k1,k3"]);
    expect(bench.queue.dead[0]?.death?.violations).toEqual([
      { field: "signal.signal_time", description: "is ahead" },
    ]);
    expect(bench.calls.at(-1)?.atMs).toBe(0);
  });

  it("that names a place that was not sent concerns all, and makes no endless loop", async () => {
    const bench = new Bench();
    const violations = [{ field: "requests[7].signal.side", description: "is wrong" }];
    bench.answer = (call) => {
      if (bench.calls.length > 20) throw new Error("endless");
      return failWith("INVALID_SIGNAL", { violations })(call);
    };
    await bench.deliver(keys(2));
    await bench.time.advance(100);
    expect(bench.deadKeys).toEqual(["k0", "k1"]);
    expect(bench.calls).toHaveLength(3);
  });

  it("is what a fault of the server becomes that hits one signal again and again", async () => {
    const bench = new Bench();
    bench.answer = ({ keys }) =>
      keys.map((key) => (key === "bad" ? refused(key, "INTERNAL") : stored(key)));
    await bench.deliver(["bad"]);
    for (let n = 0; n < 10; n++) {
      await bench.deliver([`k${n}`]);
      await bench.time.advance(300_000);
    }
    expect(bench.deadKeys).toEqual(["bad"]);
    expect(bench.queue.entries).toEqual([]);
  });
});

describe("a signal that expires", () => {
  const at = (ms: number) => new Date(START_MS + ms);

  it("is never sent late, and is told as expired", async () => {
    const bench = new Bench();
    bench.answer = failWith("UNREACHABLE");
    await bench.deliver(["a"], { expireTime: at(4_000) });
    await bench.deliver(["b"], { expireTime: at(86_000_000) });
    bench.answer = storeAll;
    await bench.time.advance(60_000);
    expect(bench.events).toContainEqual(["died", "a", "SIGNAL_EXPIRED"]);
    for (const { keys, atMs } of bench.calls)
      if (keys.includes("a")) expect(atMs).toBeLessThan(4_000);
    expect(bench.sentKeys.at(-1)).toBe("b");
  });

  it("is tried again several times, however long the schedule has become", async () => {
    const bench = new Bench();
    bench.answer = failWith("UNREACHABLE");
    await bench.deliver(["old"]);
    await bench.time.advance(156_000);
    const before = bench.calls.length;
    // The next attempt would be at 235 s.
    await bench.deliver(["new"], { expireTime: at(156_000 + 60_000) });
    await bench.time.advance(60_000);
    expect(bench.calls.slice(before).map(({ atMs }) => atMs - 156_000)).toEqual([
      30_000, 45_000, 52_500, 57_500,
    ]);
    await bench.time.advance(5_000);
    expect(bench.events).toContainEqual(["died", "new", "SIGNAL_EXPIRED"]);
  });

  it("is tried again in time though the server asked for a moment", async () => {
    const bench = new Bench();
    bench.answer = failWith("OVERLOADED", { retryAfterMs: 7_000 });
    await bench.deliver(["a"]);
    await bench.time.advance(100_000);
    const before = bench.calls.length;
    // The next attempt is due at 157 s.
    await bench.deliver(["b"], { expireTime: at(140_000) });
    await bench.time.advance(39_999);
    expect(bench.calls.slice(before).map(({ atMs }) => atMs)).toEqual([120_000, 130_000, 137_000]);
  });

  it.each([-300_000, 700_000])("waits as long when the clock is set by %i ms", async (setMs) => {
    const bench = new Bench();
    bench.answer = failWith("STORE_UNAVAILABLE");
    await bench.deliver(["a"]);
    await bench.time.advance(80_000);
    const before = bench.calls.length;
    // The next attempt is due at 155 s.
    bench.time.setMs = setMs;
    await bench.deliver(["b"], { expireTime: at(80_000 + setMs + 600_000) });
    await bench.time.advance(74_999);
    expect(bench.calls).toHaveLength(before);
    await bench.time.advance(1);
    expect(bench.calls).toHaveLength(before + 1);
  });

  it.each([
    ["the server asked for", "RATE_LIMITED", { retryAfterMs: 60_000 }],
    ["only a person can end", "UNAUTHENTICATED", {}],
  ] as const)("shortens no wait that %s", async (_what, reason, details) => {
    const bench = new Bench();
    bench.answer = failWith(reason, details);
    await bench.deliver(["a"], { expireTime: at(50_000) });
    await bench.deliver(["b"], { expireTime: at(20_000) });
    await bench.time.advance(59_999);
    expect(bench.calls).toHaveLength(1);
  });

  it("shortens no wait when it is gone", async () => {
    const bench = new Bench();
    bench.answer = failWith("STORE_UNAVAILABLE");
    await bench.deliver(["a"], { expireTime: at(20_000) });
    await bench.deliver(["b"]);
    await bench.time.advance(500_000);
    expect(bench.deadKeys).toEqual(["a"]);
    const waits = bench.events.filter(([kind]) => kind === "waiting").map(([, , delay]) => delay);
    expect(waits.slice(-3)).toEqual([80_000, 80_000, 80_000]);
  });

  it("leaves no long wait behind for those that come after it", async () => {
    const bench = new Bench();
    bench.answer = failWith("STORE_UNAVAILABLE");
    await bench.deliver(["a"], { expireTime: at(300_000) });
    await bench.time.advance(310_000);
    expect(bench.deadKeys).toEqual(["a"]);
    const before = bench.calls.length;
    await bench.deliver(["b"]);
    await bench.time.advance(5_000);
    expect(bench.calls.slice(before).map(({ atMs }) => atMs - 310_000)).toEqual([0, 5_000]);
  });

  it("bounds the time of its attempt, alone if it is soon", async () => {
    const bench = new Bench();
    bench.queue.add(["later"], { expireTime: at(20_000) });
    bench.queue.add(["soon"], { expireTime: at(1_234) });
    bench.queue.add(["never"]);
    bench.worker.wake();
    await settled();
    expect(bench.calls.map(({ keys, options }) => [keys.join(), options.timeoutMs])).toEqual([
      ["later", 20_000],
      ["soon", 1_234],
      ["never", 30_000],
    ]);
  });
});

it("sends batches that are bigger than the producer's limit in parts, and gives none up", async () => {
  const bench = new Bench({ maxBatchSize: 16 });
  bench.answer = (call) => {
    if (call.keys.length <= 3) return storeAll(call);
    const violations = [{ field: "requests", description: "must hold at most 3 requests" }];
    return failWith("INVALID_SIGNAL", { violations })(call);
  };
  await bench.deliver(keys(20));
  for (let turn = 0; turn < 40; turn++) await bench.time.advance(100);
  expect(bench.queue.entries).toEqual([]);
  expect(bench.deadKeys).toEqual([]);
  const delivered = bench.calls.filter(({ keys }) => keys.length <= 3);
  expect(delivered.flatMap(({ keys }) => keys)).toEqual(keys(20));
  expect(bench.calls.length).toBeLessThan(30);
});

it("is not stopped by a file that cannot be read for a while", async () => {
  const bench = new Bench({ maxBatchSize: 4 });
  bench.answer = async (call) => {
    await settled();
    return storeAll(call);
  };
  bench.queue.readFailures = [2, 3];
  await bench.deliver(keys(12));
  for (let turn = 0; turn < 10; turn++) await bench.time.advance(1_000);
  expect(bench.sentKeys).toEqual(["k0,k1,k2,k3", "k4,k5,k6,k7", "k8,k9,k10,k11"]);
  expect(bench.calls.map(({ atMs }) => atMs)).toEqual([0, 5_000, 5_000]);
  expect(bench.events.filter(([kind]) => kind === "failed")).toHaveLength(2);
  expect(bench.queue.entries).toEqual([]);
});

describe("a disk that cannot be written", () => {
  it("does not stop delivery, and nothing is sent twice", async () => {
    const bench = new Bench();
    bench.queue.settleFailure = new Error("the disk is full");
    await bench.deliver(["a"]);
    await bench.deliver(["b"]);
    await bench.time.advance(60_000);
    await bench.deliver(["c"]);
    expect(bench.sentKeys).toEqual(["a", "b", "c"]);
    bench.queue.settleFailure = undefined;
    await bench.time.advance(60_000);
    expect(bench.queue.entries).toEqual([]);
    expect(bench.sentKeys).toEqual(["a", "b", "c"]);
    expect(bench.worker.state).toBe("idle");
  });

  it("keeps a dead letter from being told before it is one, and then it is told once", async () => {
    const bench = new Bench();
    bench.queue.settleFailure = new Error("the disk is full");
    bench.answer = ({ keys }) => keys.map((key) => refused(key, "INSTRUMENT_NOT_ALLOWED"));
    await bench.deliver(["a"]);
    await bench.time.advance(60_000);
    expect(bench.events.map(([kind]) => kind)).not.toContain("died");
    bench.queue.settleFailure = undefined;
    await bench.time.advance(60_000);
    expect(bench.events.filter(([kind]) => kind === "died")).toEqual([
      ["died", "a", "INSTRUMENT_NOT_ALLOWED"],
    ]);
    expect(bench.deadKeys).toEqual(["a"]);
    expect(bench.sentKeys).toEqual(["a"]);
  });
});

describe("stopping", () => {
  it("lets the attempt under way end, and starts no other", async () => {
    const bench = new Bench();
    const gate = Promise.withResolvers<void>();
    bench.answer = (call) => gate.promise.then(() => storeAll(call));
    await bench.deliver(["a"]);
    await bench.deliver(["b"]);
    const stopped = bench.worker.stop(5_000);
    await bench.time.advance(1_000);
    gate.resolve();
    await stopped;
    expect(bench.sentKeys).toEqual(["a"]);
    expect(bench.queue.entries.map(({ idempotencyKey }) => idempotencyKey)).toEqual(["b"]);
    expect(bench.worker.state).toBe("closed");
  });

  it("aborts the attempt when its time is over, and leaves the file alone when it ends at last", async () => {
    const bench = new Bench();
    const gate = Promise.withResolvers<void>();
    bench.answer = (call) => gate.promise.then(() => storeAll(call));
    await bench.deliver(["a"]);
    let isStopped = false;
    const stopped = bench.worker.stop(5_000).then(() => {
      isStopped = true;
    });
    await bench.time.advance(4_999);
    expect(bench.calls[0]?.options.signal?.aborted).toBe(false);
    await bench.time.advance(1);
    expect([bench.calls[0]?.options.signal?.aborted, isStopped]).toEqual([true, false]);
    await bench.time.advance(1_000);
    await stopped;
    gate.resolve();
    await bench.time.advance(60_000);
    expect([bench.queue.settleCount, bench.events, bench.worker.state]).toEqual([0, [], "closed"]);
  });

  it("reads nothing ahead afterwards", async () => {
    const bench = new Bench({ maxBatchSize: 1 });
    bench.answer = () => new Promise(() => {});
    bench.queue.add(["a", "b"]);
    bench.worker.wake();
    const stopped = bench.worker.stop(0);
    bench.time.elapse(0);
    bench.time.elapse(1_000);
    await stopped;
    await settled();
    expect([bench.queue.readCount, bench.worker.state]).toEqual([1, "closed"]);
  });

  it("ends a wait at once", async () => {
    const bench = new Bench();
    bench.answer = failWith("OVERLOADED");
    await bench.deliver(["a"]);
    await bench.worker.stop(5_000);
    await bench.time.advance(600_000);
    expect(bench.calls).toHaveLength(1);
  });
});

it.each([
  ["INVALID_SIGNAL", "dead"],
  ["IDEMPOTENCY_KEY_REUSED", "dead"],
  ["SIGNAL_EXPIRED", "dead"],
  ["CLOCK_SKEW", "waiting"],
  ["CIRCUIT_OPEN", "waiting"],
  ["INTERNAL", "waiting"],
  ["UNAUTHENTICATED", "held"],
  ["PRODUCER_DISABLED", "held"],
  ["REFUSED", "held"],
] as const)("after %s, a signal is %s", async (reason, expected) => {
  const bench = new Bench();
  bench.answer = failWith(reason, { retryAfterMs: 1_000 });
  await bench.deliver(["a"]);
  await bench.time.advance(100);
  const isDead = bench.queue.dead.length === 1;
  expect(isDead ? "dead" : bench.worker.state).toBe(expected);
  expect(bench.queue.entries).toHaveLength(isDead ? 0 : 1);
});

it("sends a signal as it was taken, to the nanosecond", async () => {
  const bench = new Bench();
  await bench.deliver(["a"], {
    signalTime: "2025-10-25T14:30:44.123456789Z",
    payload: { b: [1, { c: null }], a: "x" },
    stopLoss: 3_990,
  });
  const [taken] = bench.queue.entries;
  const signal = bench.calls[0]?.signals[0] as SignalInput;
  const sent = fixRequest({ signal, idempotencyKey: "a" }, bench.time.clock.now(), 65_536);
  expect(Buffer.from(sent.bytes)).toEqual(Buffer.from(taken?.request ?? []));
});
