import { describe, expect, test } from "vitest";
import { createAllowances } from "../../../src/server/http/allowance.ts";

function setUp() {
  const clock = { nowMs: 0 };
  const allowances = createAllowances(() => clock.nowMs);
  /** On which nobody has proven who they are. */
  const allowanceOf = (address: string) => allowances(address, () => false);
  return { clock, allowances, allowanceOf };
}

/** How often it may be done before it is refused, up to a limit. */
function countAllowed(take: () => boolean, max = 100_000): number {
  let count = 0;
  while (count < max && take()) count += 1;
  return count;
}

describe("a connection", () => {
  test("has 500 requests and 100 resets, and some more each second", () => {
    const { clock, allowanceOf } = setUp();
    const connection = allowanceOf("a");
    expect(countAllowed(() => connection.takeRequest())).toBe(500);
    expect(countAllowed(() => connection.takeReset())).toBe(100);
    clock.nowMs += 1_000;
    expect(countAllowed(() => connection.takeRequest())).toBe(100);
    expect(countAllowed(() => connection.takeReset())).toBe(10);
    clock.nowMs += 3_600_000;
    expect(countAllowed(() => connection.takeReset())).toBe(100);
  });

  test("has no limit here while the proof of a producer holds that was given on it", () => {
    const { allowances } = setUp();
    let isProven = false;
    const connection = allowances("a", () => isProven);
    connection.takeRequest();
    isProven = true;
    expect(countAllowed(() => connection.takeRequest())).toBe(100_000);
    expect(countAllowed(() => connection.takeReset())).toBe(100_000);
    isProven = false;
    expect(countAllowed(() => connection.takeRequest())).toBe(499);
    expect(countAllowed(() => connection.takeReset())).toBe(100);
  });
});

describe("an address", () => {
  test("that has used up its share has a few for each new connection", () => {
    const { allowanceOf } = setUp();
    const total = Array.from({ length: 10 }, () => {
      const connection = allowanceOf("a");
      return countAllowed(() => connection.takeReset());
    });
    expect(total).toEqual(Array(10).fill(100));
    const late = allowanceOf("a");
    expect(late.isScarce()).toBe(true);
    expect(countAllowed(() => late.takeReset())).toBe(8);
    for (let index = 0; index < 4; index++) {
      const connection = allowanceOf("a");
      countAllowed(() => connection.takeRequest());
    }
    const next = allowanceOf("a");
    expect(countAllowed(() => next.takeRequest())).toBe(128);
  });

  test("does not burden another one, and gets its share back with time", () => {
    const { clock, allowanceOf } = setUp();
    for (let index = 0; index < 20; index++) {
      const connection = allowanceOf("a");
      countAllowed(() => connection.takeReset());
    }
    const other = allowanceOf("b");
    expect(other.isScarce()).toBe(false);
    expect(countAllowed(() => other.takeReset())).toBe(100);
    clock.nowMs += 20_000;
    const later = allowanceOf("a");
    expect(later.isScarce()).toBe(false);
    expect(countAllowed(() => later.takeReset())).toBe(100);
  });

  test("gets back what a connection took that proves itself", () => {
    const { allowanceOf } = setUp();
    for (let index = 0; index < 100; index++) {
      const connection = allowanceOf("a");
      expect(countAllowed(() => connection.takeRequest(), 100)).toBe(100);
      connection.giveBack();
      connection.giveBack();
    }
    expect(allowanceOf("a").isScarce()).toBe(false);
  });

  test("may fail to prove itself 20 times, and once more each second", () => {
    const { clock, allowanceOf } = setUp();
    const first = allowanceOf("a");
    const second = allowanceOf("a");
    const isAllowed = () => first.takeFailure() === undefined;
    expect(second.takeFailure()).toBeUndefined();
    expect(countAllowed(isAllowed)).toBe(19);
    expect(second.takeFailure()).toBe(1_000);
    expect(allowanceOf("b").takeFailure()).toBeUndefined();
    clock.nowMs += 400;
    expect(second.takeFailure()).toBe(600);
    clock.nowMs += 600;
    expect(second.takeFailure()).toBeUndefined();
    expect(first.takeFailure()).toBe(1_000);
    clock.nowMs += 3_600_000;
    expect(countAllowed(isAllowed)).toBe(20);
  });

  test("has no more failures for what is proven on its connections", () => {
    const { allowanceOf } = setUp();
    const connection = allowanceOf("a");
    connection.giveBack();
    expect(countAllowed(() => connection.takeFailure() === undefined)).toBe(20);
    connection.giveBack();
    expect(allowanceOf("a").takeFailure()).toBe(1_000);
  });

  test("is remembered among the last 4,096 only", () => {
    const { allowanceOf } = setUp();
    for (let index = 0; index < 20; index++) {
      const connection = allowanceOf("first");
      countAllowed(() => connection.takeReset());
    }
    countAllowed(() => allowanceOf("first").takeFailure() === undefined);
    for (let index = 0; index < 4_095; index++) allowanceOf(`${index}`);
    expect(allowanceOf("first").isScarce()).toBe(true);
    expect(allowanceOf("first").takeFailure()).toBe(1_000);
    for (let index = 0; index < 4_096; index++) allowanceOf(`${index}`);
    expect(allowanceOf("first").isScarce()).toBe(false);
    expect(allowanceOf("first").takeFailure()).toBeUndefined();
  });
});
