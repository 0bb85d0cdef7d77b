import { PassThrough } from "node:stream";
import fc from "fast-check";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { readBody } from "../../../src/server/http/body.ts";
import { createBodyBudget } from "../../../src/server/http/bodyBudget.ts";

const UNLIMITED = createBodyBudget(Number.POSITIVE_INFINITY, () => 0);

function limits(overrides: Partial<Parameters<typeof readBody>[1]> = {}) {
  return {
    contentLength: undefined,
    maxBytes: 1_000,
    timeoutMs: 5_000,
    reservation: UNLIMITED.reserve("here"),
    ...overrides,
  };
}

test("a body is the same in whatever pieces it comes", async () => {
  const anyPieces = fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 15 });
  await fc.assert(
    fc.asyncProperty(anyPieces, async (pieces) => {
      const stream = new PassThrough();
      const reading = readBody(stream, limits());
      const sent = pieces.map((piece) => Buffer.from(piece));
      for (const piece of sent) stream.write(piece);
      stream.end();
      const read = await reading;
      expect(read.kind === "read" && Buffer.from(read.bytes)).toEqual(Buffer.concat(sent));
      // What was sent is left as it was.
      expect(sent.map((piece) => [...piece])).toEqual(pieces.map((piece) => [...piece]));
    }),
  );
});

test("a body of the greatest size is read, and of one byte more is not", async () => {
  for (const [length, kind] of [
    [1_000, "read"],
    [1_001, "refused"],
  ] as const) {
    const stream = new PassThrough();
    stream.end(Buffer.alloc(length));
    expect(await readBody(stream, limits())).toMatchObject({ kind });
  }
});

test("a body that announces too much is not waited for", async () => {
  const reading = await readBody(new PassThrough(), limits({ contentLength: "1001" }));
  expect(reading).toMatchObject({ kind: "refused", refusal: { reason: "BODY_TOO_LARGE" } });
});

test("a body that does not end in time is refused, and one that breaks off is aborted", async () => {
  const slow = await readBody(new PassThrough(), limits({ timeoutMs: 10 }));
  expect(slow).toMatchObject({ kind: "refused", refusal: { reason: "DEADLINE_EXCEEDED" } });
  const broken = new PassThrough();
  const reading = readBody(broken, limits());
  broken.write("x");
  broken.destroy(new Error("reset"));
  expect(await reading).toEqual({ kind: "aborted" });
  expect(await readBody(broken, limits())).toEqual({ kind: "aborted" });
});

test("a body that comes too slowly is refused, and a slow but steady one is not", async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  /** Sends so many bytes every half second, 6,000 in all. */
  async function readAt(bytes: number): Promise<string> {
    const stream = new PassThrough();
    const reading = readBody(stream, limits({ maxBytes: 6_000, timeoutMs: 600_000 }));
    let outcome = "";
    void reading.then((read) => {
      outcome = read.kind === "refused" ? read.refusal.message : read.kind;
    });
    for (let sent = 0; sent < 6_000 && outcome === ""; sent += bytes) {
      stream.write(Buffer.alloc(Math.min(bytes, 6_000 - sent)));
      await vi.advanceTimersByTimeAsync(500);
    }
    stream.end();
    await vi.advanceTimersByTimeAsync(500);
    return outcome;
  }
  expect(await readAt(103)).toBe("read");
  expect(await readAt(102)).toContain("too slowly: at least 1024 bytes are expected in every 5 s");
});

test("a small piece does not keep the slab that it was read into", async () => {
  const slab = Buffer.alloc(65_536);
  const small = new PassThrough();
  small.end(slab.subarray(0, 1));
  const copied = await readBody(small, limits());
  expect(copied.kind === "read" && copied.bytes.buffer.byteLength).toBe(1);

  const large = new PassThrough();
  large.end(slab.subarray(0, 40_000));
  const kept = await readBody(large, limits({ maxBytes: 65_536 }));
  expect(kept.kind === "read" && kept.bytes.buffer).toBe(slab.buffer);
});

describe("a budget", () => {
  test("is charged for the memory that a body keeps, not for its length", async () => {
    async function charged(...pieces: readonly Buffer[]): Promise<number> {
      let total = 0;
      const reservation = {
        take: (bytes: number) => {
          total += bytes;
          return true;
        },
        progress: () => undefined,
        onEvicted: () => undefined,
        [Symbol.dispose]: () => undefined,
      };
      const stream = new PassThrough();
      const reading = readBody(stream, limits({ reservation }));
      for (const piece of pieces) stream.write(piece);
      stream.end();
      await reading;
      return total;
    }
    expect(await charged(Buffer.alloc(900).subarray(0, 500))).toBe(900);
    expect(await charged(Buffer.alloc(900).subarray(0, 400))).toBe(400);
    expect(await charged(Buffer.alloc(100), Buffer.alloc(1))).toBe(200);
    expect(await charged(Buffer.alloc(600), Buffer.alloc(1))).toBe(1_000);
  });

  test("is shared, and gets back what was taken", () => {
    const budget = createBodyBudget(100, () => 0);
    using first = budget.reserve("here");
    first.progress(60);
    expect(first.take(60)).toBe(true);
    {
      using second = budget.reserve("here");
      expect(second.take(40)).toBe(true);
    }
    expect(first.take(40)).toBe(true);
    expect(first.take(1)).toBe(false);
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    using third = budget.reserve("here");
    expect(third.take(101)).toBe(false);
    expect(third.take(100)).toBe(true);
  });

  /** Bodies that have taken all 100 bytes, the names of those that were evicted, and a clock. */
  function fullBudget(bodies: readonly (readonly [string, string, number])[]) {
    const clock = { nowMs: 0 };
    const evicted: string[] = [];
    const budget = createBodyBudget(100, () => clock.nowMs);
    const reservations = bodies.map(([address, name, bytes]) => {
      const reservation = budget.reserve(address);
      reservation.onEvicted(() => evicted.push(name));
      reservation.progress(bytes);
      expect(reservation.take(bytes)).toBe(true);
      return reservation;
    });
    return { budget, clock, evicted, reservations };
  }

  test("that is used up takes from the address that holds most", () => {
    const { budget, evicted } = fullBudget([
      ["small", "only", 30],
      ["large", "1", 30],
      ["large", "2", 40],
    ]);
    using newcomer = budget.reserve("small");
    expect(newcomer.take(10)).toBe(true);
    expect(evicted).toEqual(["1"]);
    expect(newcomer.take(20)).toBe(true);
    expect(evicted).toEqual(["1"]);
  });

  test("that is used up takes from the slowest of an address, then from the oldest", () => {
    const { budget, clock, evicted, reservations } = fullBudget([
      ["a", "steady", 30],
      ["a", "stopped", 30],
      ["a", "stopped later", 40],
    ]);
    for (clock.nowMs = 500; clock.nowMs < 20_000; clock.nowMs += 500) {
      reservations[0]?.progress(1);
      if (clock.nowMs < 10_000) reservations[2]?.progress(2);
    }
    using newcomer = budget.reserve("a");
    newcomer.progress(60);
    expect(newcomer.take(60)).toBe(true);
    expect(evicted).toEqual(["stopped", "stopped later"]);
  });

  test("does not evict a faster body for the slowest", () => {
    const { budget, evicted } = fullBudget([["a", "fast", 100]]);
    using slow = budget.reserve("a");
    slow.progress(1);
    expect(slow.take(1)).toBe(true);
    expect(evicted).toEqual(["fast"]);
    using other = budget.reserve("a");
    other.progress(99);
    expect(other.take(99)).toBe(true);
    expect(slow.take(1)).toBe(false);
  });

  test("evicts a body with the answer that the server is overloaded", async () => {
    const budget = createBodyBudget(10, () => 0);
    const stopped = new PassThrough();
    using reservation = budget.reserve("a");
    const reading = readBody(stopped, limits({ reservation }));
    stopped.write(Buffer.alloc(6));
    await new Promise((resolve) => setImmediate(resolve));
    using other = budget.reserve("b");
    expect(other.take(5)).toBe(true);
    expect(await reading).toMatchObject({ kind: "refused", refusal: { reason: "OVERLOADED" } });
  });

  test("that is used up refuses a body, and stops reading it", async () => {
    const budget = createBodyBudget(10, () => 0);
    const stream = new PassThrough();
    using reservation = budget.reserve("here");
    const reading = readBody(stream, limits({ reservation }));
    stream.write(Buffer.alloc(6));
    stream.write(Buffer.alloc(6));
    expect(await reading).toMatchObject({
      kind: "refused",
      refusal: { reason: "OVERLOADED", retryAfterMs: 1_000 },
    });
    expect(stream.isPaused()).toBe(true);
  });
});
