/** The rules of the payload: what JSON, protobuf and jsonb can all carry unchanged. */
import { describe, expect, test } from "vitest";
import { DEFAULT_PAYLOAD_MAX_BYTES } from "../../src/signal/index.ts";
import { nested, payloadOfBytes, validSignal } from "../support/signals.ts";
import { verdictOn, violationsOf } from "./judge.ts";

const OBJECT_RULE = "must be a JSON object";
const DEPTH_RULE = "must be at most 16 levels deep";
const NUMBER_RULE = "must hold finite numbers only";
const TEXT_RULE = "must hold no NUL character and no unpaired surrogate";
const VALUES_RULE = "must hold at most 8000 values";
const VALUE_RULE = "must hold JSON values only";

/** Far below what a walk would take that branches at each level, far above any bounded one. */
const PROMPT_MS = 20_000;

function expectRefused(payload: unknown, description: string): void {
  expect(verdictOn({ payload })).toEqual({
    valid: false,
    reason: "INVALID_SIGNAL",
    violations: [{ field: "payload", description }],
  });
}

describe("a payload", () => {
  test.each<readonly [string, string]>([
    ["an empty object", "{}"],
    ["every kind of value", '{"a":null,"b":true,"c":-1.5e-7,"d":"text","e":[1,[]],"f":{}}'],
    ["the names that every object has", '{"__proto__":{"x":1},"constructor":1,"toString":null}'],
    ["a text under the name toJSON", '{"toJSON":"text"}'],
    ["an empty key", '{"":1}'],
    ["the extremes of numbers", '{"a":[1e308,-1e308,5e-324,-0,9007199254740993]}'],
    ["control characters other than NUL", '{"\\u0001":"\\u001f\\u007f\\u0085"}'],
    ["paired surrogates", '{"\\ud83d\\udcc8":"\\udbff\\udfff"}'],
  ])("may be %s, and is taken as it is", (_, json) => {
    const payload = JSON.parse(json);
    expect(verdictOn({ payload })).toEqual({ valid: true, signal: validSignal({ payload }) });
    expect(JSON.stringify(verdictOn({ payload }), textOfBigint)).toContain(
      `"payload":${JSON.stringify(payload)}`,
    );
  });

  test("may be absent", () => {
    expect(verdictOn({ payload: undefined })).toMatchObject({ valid: true });
  });

  test("may be made without a prototype", () => {
    expect(violationsOf({ payload: Object.assign(Object.create(null), { a: 1 }) })).toEqual({});
  });

  test("may hold the same object twice", () => {
    const shared = { a: 1 };
    expect(violationsOf({ payload: { first: shared, second: [shared, shared] } })).toEqual({});
  });

  test.each<readonly [string, unknown]>([
    ["null", null],
    ["a list", []],
    ["a list of objects", [{ a: 1 }]],
    ["text", '{"a":1}'],
    ["a number", 1],
    ["a truth value", false],
    ["a bigint", 1n],
    ["a symbol", Symbol("a")],
    ["a function", () => ({})],
    ["a Date", new Date(0)],
    ["a Map", new Map([["a", 1]])],
    ["bytes", new Uint8Array(2)],
    ["an instance of a class", new (class Payload {})()],
    ["an object that inherits", Object.create({ a: 1 })],
    ["an object whose prototype is null's child", Object.create(Object.create(null))],
  ])("may not be %s", (_, payload) => {
    expectRefused(payload, OBJECT_RULE);
  });

  test.each<readonly [string, unknown]>([
    ["undefined", undefined],
    ["a bigint", 1n],
    ["a symbol", Symbol("a")],
    ["a function", () => 1],
    ["a Date", new Date(0)],
    ["a Map", new Map()],
    ["a Set", new Set()],
    ["a regular expression", /a/],
    ["bytes", Buffer.from("a")],
    ["a Number object", Object(1)],
    ["a String object", Object("a")],
    ["an instance of a class", new (class Value {})()],
    ["an object that inherits", Object.create({ a: 1 })],
  ])("may not hold %s, at any depth", (_, value) => {
    expectRefused({ a: value }, VALUE_RULE);
    expectRefused({ a: [1, value] }, VALUE_RULE);
    expectRefused(nested(15, [value] as never), VALUE_RULE);
  });

  test("may not hold a list with a gap, which JSON would fill", () => {
    expectRefused({ a: new Array(3) }, VALUE_RULE);
  });

  test("may not say by itself what JSON it becomes", () => {
    expectRefused({ toJSON: () => ({ a: 1 }) }, VALUE_RULE);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    "may not hold %s",
    (value) => {
      expectRefused({ a: value }, NUMBER_RULE);
      expectRefused({ a: { b: [value] } }, NUMBER_RULE);
    },
  );

  test.each<readonly [string, string]>([
    ["NUL", "\0"],
    ["NUL within text", "a\0b"],
    ["a high surrogate alone", "\ud83d"],
    ["a low surrogate alone", "\udcc8"],
    ["surrogates in the wrong order", "\udcc8\ud83d"],
    ["an unpaired surrogate after a pair", "\u{1f4c8}\ud83d"],
  ])("may hold %s neither in a text nor in a key", (_, text) => {
    expectRefused({ a: text }, TEXT_RULE);
    expectRefused({ [text]: 1 }, TEXT_RULE);
    expectRefused({ a: [{ [text]: null }] }, TEXT_RULE);
    expectRefused({ a: [[text]] }, TEXT_RULE);
  });
});

describe("the number of values in a payload", () => {
  test("may be 8,000, of every kind, the payload itself not counted", () => {
    const values: unknown[] = [{}, [], [1], { a: 1 }, "text", 0, true, null];
    // The list is a value as well, and so are two that are in others.
    while (values.length < 8_000 - 3) values.push(values.length % 2 === 0 ? null : 1);
    expect(violationsOf({ payload: { a: values } })).toEqual({});
    expectRefused({ a: [...values, 1] }, VALUES_RULE);
    expectRefused({ a: values, b: null }, VALUES_RULE);
  });

  test.each<readonly [string, unknown]>([
    ["a million numbers", { a: new Array(1_000_000).fill(1) }],
    ["a million empty objects", { a: Array.from({ length: 1_000_000 }, () => ({})) }],
    ["100,000 keys", Object.fromEntries(Array.from({ length: 100_000 }, (_, key) => [key, 1]))],
  ])("may not be that of %s, which is told promptly", (_, payload) => {
    const start = performance.now();
    expectRefused(payload, VALUES_RULE);
    expect(performance.now() - start).toBeLessThan(PROMPT_MS);
  });
});

describe("the depth of a payload", () => {
  test("may be 16, of objects and lists alike, around a value", () => {
    expect(violationsOf({ payload: nested(16, "value") })).toEqual({});
    expect(violationsOf({ payload: objects(16) })).toEqual({});
    expect(violationsOf({ payload: { a: lists(15) } })).toEqual({});
  });

  test("may not be 17", () => {
    expectRefused(nested(17), DEPTH_RULE);
    expectRefused(objects(17), DEPTH_RULE);
    expectRefused({ a: lists(16) }, DEPTH_RULE);
    expectRefused({ a: 1, b: [2, objects(15)] }, DEPTH_RULE);
  });

  test.each([10_000, 1_000_000])("of %i is refused without exhausting the stack", (depth) => {
    expectRefused(objects(depth), DEPTH_RULE);
    expectRefused({ a: lists(depth) }, DEPTH_RULE);
  });

  test("is endless in a payload that holds itself, which is refused", () => {
    const payload: Record<string, unknown> = { a: 1 };
    payload.self = payload;
    expectRefused(payload, DEPTH_RULE);
    const list: unknown[] = [];
    list.push(list);
    expectRefused({ list }, DEPTH_RULE);
  });

  test("is refused promptly also where a payload holds itself many times", () => {
    const parent: Record<string, unknown> = {};
    for (let child = 0; child < 50; child++) parent[`child${child}`] = { parent };
    const start = performance.now();
    expectRefused(parent, DEPTH_RULE);
    expect(performance.now() - start).toBeLessThan(PROMPT_MS);
  });
});

describe("the size of a payload", () => {
  const tooLarge = (bytes: number) => ({
    valid: false,
    reason: "PAYLOAD_TOO_LARGE",
    violations: [
      { field: "payload", description: `must be at most ${bytes} bytes as compact UTF-8 JSON` },
    ],
  });

  test.each<readonly [string, string]>([
    ["one byte each", ""],
    ["two bytes each", "ü".repeat(1_000)],
    ["three bytes each", "€".repeat(1_000)],
    ["four bytes each", "\u{1f4c8}".repeat(1_000)],
    ["six bytes each, since JSON escapes them", "\u0001".repeat(1_000)],
    ["two bytes each, since JSON escapes them", '"\\\n'.repeat(1_000)],
  ])("may be just the limit, with characters of %s", (_, text) => {
    const limit = DEFAULT_PAYLOAD_MAX_BYTES;
    const payload = payloadOfBytes(limit, text);
    expect(Buffer.byteLength(JSON.stringify(payload))).toBe(limit);
    expect(violationsOf({ payload })).toEqual({});
    expect(verdictOn({ payload: payloadOfBytes(limit + 1, text) })).toEqual(tooLarge(limit));
  });

  test("is that of the keys, too", () => {
    const payload = { ["ü".repeat(10)]: 1 };
    expect(violationsOf({ payload }, 26)).toEqual({});
    expect(verdictOn({ payload }, 25)).toEqual(tooLarge(25));
  });

  test.each(["{}", '{"a":[]}', '{"a":[1,2,[3]]}', '{"a":"b","c":{"":null}}', '{"a":true}'])(
    "is exact for %s",
    (json) => {
      const payload: unknown = JSON.parse(json);
      expect(violationsOf({ payload }, json.length)).toEqual({});
      expect(verdictOn({ payload }, json.length - 1)).toEqual(tooLarge(json.length - 1));
    },
  );

  test.each<readonly [string, unknown]>([
    ["a text of 4 MiB", { a: "x".repeat(4 << 20) }],
    ["a key of 4 MiB", { ["x".repeat(4 << 20)]: 1 }],
    ["1,000 long texts", { a: new Array(1_000).fill("x".repeat(1_000)) }],
  ])("of %s is refused promptly", (_, payload) => {
    const start = performance.now();
    expect(verdictOn({ payload })).toEqual(tooLarge(DEFAULT_PAYLOAD_MAX_BYTES));
    expect(performance.now() - start).toBeLessThan(PROMPT_MS);
  });

  test.each<readonly [string, (inner: unknown) => unknown]>([
    ["objects", (inner) => Object.fromEntries(Array.from("abcdefghij", (key) => [key, inner]))],
    ["lists", (inner) => new Array(10).fill(inner)],
  ])("is told promptly where few %s stand for many", (_, tenfold) => {
    let value: unknown = {};
    for (let level = 0; level < 14; level++) value = tenfold(value);
    const start = performance.now();
    expectRefused({ value }, VALUES_RULE);
    expect(verdictOn({ payload: { value } }, 1_000)).toEqual(tooLarge(1_000));
    expect(performance.now() - start).toBeLessThan(PROMPT_MS);
  });

  test("of texts that would not fit into memory is told without writing them out", () => {
    const text = "x".repeat(1 << 20);
    expect(verdictOn({ payload: { a: new Array(1_000).fill(text) } })).toEqual(
      tooLarge(DEFAULT_PAYLOAD_MAX_BYTES),
    );
  });

  test("at its limit hides no fault in the last of its values", () => {
    const limit = 10_000;
    const zeros = new Array<number>((limit - Buffer.byteLength('{"a":[]}')) / 2 - 2).fill(0);
    expect(violationsOf({ payload: { a: [...zeros, ""] } }, limit)).toEqual({});
    expect(violationsOf({ payload: { a: [...zeros, "\0"] } }, limit)).toEqual({
      payload: TEXT_RULE,
    });
  });

  test("beyond the limit is no excuse for another fault within", () => {
    const pad = "x".repeat(DEFAULT_PAYLOAD_MAX_BYTES);
    expectRefused({ pad, a: "\0" }, TEXT_RULE);
    expectRefused({ pad, a: Number.NaN }, NUMBER_RULE);
    expectRefused({ pad, a: objects(16) }, DEPTH_RULE);
  });
});

/** JSON has no bigint; the test compares the payload only. */
function textOfBigint(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}

function objects(depth: number): Record<string, unknown> {
  let value: Record<string, unknown> = {};
  for (let level = 1; level < depth; level++) value = { a: value };
  return value;
}

function lists(depth: number): unknown[] {
  let value: unknown[] = [];
  for (let level = 1; level < depth; level++) value = [value];
  return value;
}
