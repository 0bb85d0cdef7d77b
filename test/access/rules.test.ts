import { describe, expect, test } from "vitest";
import {
  graceViolations,
  isWithin,
  producerIdViolations,
  seesProducer,
  settingsViolations,
  tokenViolations,
} from "../../src/access/index.ts";

const fields = (violations: readonly { readonly field: string }[]) =>
  violations.map(({ field }) => field);

describe("settings of a producer", () => {
  test("that are right, or left out, have no fault", () => {
    expect(settingsViolations({})).toEqual([]);
    const settings = {
      displayName: "Gold scalper № 7",
      rateLimitPerSecond: 1_000_000,
      allowedInstruments: ["GOLD", "EUR_USD", "BTC-PERP.1"],
    };
    expect(settingsViolations(settings)).toEqual([]);
    expect(settingsViolations({ displayName: "😀".repeat(100) })).toEqual([]);
  });

  test("name every wrong field at once, as it is called in its message", () => {
    const settings = {
      displayName: "two\nlines",
      rateLimitPerSecond: -1,
      allowedInstruments: ["GOLD", "gold"],
    };
    expect(fields(settingsViolations(settings, "producer."))).toEqual([
      "producer.display_name",
      "producer.rate_limit_per_second",
      "producer.allowed_instruments",
    ]);
  });

  test.each([
    [{ displayName: "x".repeat(101) }, "display_name"],
    [{ displayName: "\u001b[31mred" }, "display_name"],
    [{ displayName: "\ud800" }, "display_name"],
    [{ rateLimitPerSecond: 1_000_001 }, "rate_limit_per_second"],
    [{ rateLimitPerSecond: 0.5 }, "rate_limit_per_second"],
    [{ allowedInstruments: [""] }, "allowed_instruments"],
    [{ allowedInstruments: Array<string>(1_001).fill("GOLD") }, "allowed_instruments"],
  ])("%j is refused", (settings, field) => {
    expect(fields(settingsViolations(settings))).toEqual([field]);
  });
});

test("a producer's id has the form that is signed", () => {
  expect(producerIdViolations("bot-1")).toEqual([]);
  expect(fields(producerIdViolations("-bot"))).toEqual(["producer_id"]);
});

test.each([0, 1, 86_400, 604_800])("a grace period of %i s is right", (seconds) => {
  expect(graceViolations(seconds)).toEqual([]);
});

test.each([-1, 604_801, 1.5, Number.NaN])("a grace period of %d s is refused", (seconds) => {
  expect(fields(graceViolations(seconds))).toEqual(["grace_seconds"]);
});

describe("a token", () => {
  const now = 1_000n;
  const right = { name: "desk", scopes: ["read"], producerIds: [], expireTime: undefined } as const;

  test("that is right has no fault", () => {
    expect(tokenViolations(right, now)).toEqual([]);
    const full = {
      name: "Ann Müller",
      scopes: ["read", "review", "admin"],
      producerIds: ["a", "b"],
      expireTime: 1_001n,
    } as const;
    expect(tokenViolations(full, now)).toEqual([]);
  });

  test("names every wrong field at once", () => {
    const wrong = { name: " ", scopes: [], producerIds: ["a", "?", "!"], expireTime: 1_000n };
    expect(fields(tokenViolations(wrong, now))).toEqual([
      "name",
      "scopes",
      "producer_ids",
      "expire_time",
    ]);
  });

  test.each([
    [{ ...right, name: "" }, "name"],
    [{ ...right, name: "x".repeat(101) }, "name"],
    [{ ...right, name: "a\u2028b" }, "name"],
    [{ ...right, name: "a\u202eb" }, "name"],
    [{ ...right, name: "a\u2066b" }, "name"],
    [{ ...right, scopes: ["read", undefined] as const }, "scopes"],
    [{ ...right, producerIds: Array.from({ length: 101 }, (_, i) => `p${i}`) }, "producer_ids"],
  ])("%j is refused", (token, field) => {
    expect(fields(tokenViolations(token, now))).toEqual([field]);
  });
});

describe("what a token sees", () => {
  const all = { scopes: ["admin"], producerIds: undefined } as const;
  const some = { scopes: ["admin"], producerIds: ["a", "b"] } as const;
  const one = { scopes: ["read"], producerIds: ["a"] } as const;
  const other = { scopes: ["read"], producerIds: ["a", "c"] } as const;

  test("are the producers of its list, or all", () => {
    expect(seesProducer(all, "x")).toBe(true);
    expect(seesProducer(some, "b")).toBe(true);
    expect(seesProducer(some, "x")).toBe(false);
  });

  test("are tokens whose lists are inside its own", () => {
    expect(isWithin(one, some)).toBe(true);
    expect(isWithin(some, some)).toBe(true);
    expect(isWithin(other, some)).toBe(false);
    expect(isWithin(all, some)).toBe(false);
    expect(isWithin(all, all)).toBe(true);
    expect(isWithin(some, all)).toBe(true);
  });
});
