import { PassThrough } from "node:stream";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readBody } from "../../src/server/body.ts";
import { createBodyBudget } from "../../src/server/bodyBudget.ts";

const UNLIMITED = createBodyBudget(Number.POSITIVE_INFINITY);

function limits(overrides: Partial<Parameters<typeof readBody>[1]> = {}) {
  return {
    contentLength: undefined,
    maxBytes: 1_000,
    timeoutMs: 5_000,
    reservation: UNLIMITED.reserve(),
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

  test("is shared, and gets back what was taken", async () => {
    const budget = createBodyBudget(100);
    {
      using first = budget.reserve();
      expect(first.take(60)).toBe(true);
      {
        using second = budget.reserve();
        expect(second.take(41)).toBe(false);
        expect(second.take(40)).toBe(true);
        expect(first.take(1)).toBe(false);
      }
      expect(first.take(40)).toBe(true);
    }
    using third = budget.reserve();
    expect(third.take(100)).toBe(true);
    third[Symbol.dispose]();
    third[Symbol.dispose]();
    using fourth = budget.reserve();
    expect(fourth.take(101)).toBe(false);
  });

  test("that is used up refuses a body, and stops reading it", async () => {
    const budget = createBodyBudget(10);
    const stream = new PassThrough();
    using reservation = budget.reserve();
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
