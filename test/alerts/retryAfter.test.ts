import { expect, it } from "vitest";
import { parseRetryAfter } from "../../src/alerts/index.ts";

const DATE = "Sun, 06 Nov 1994 08:49:37 GMT";

it.each([
  ["0", 0],
  ["120", 120_000],
  ["1.5", 1_500],
  ["0.0001", 1],
  ["864000", 864_000_000],
  ["999999999999999", 999_999_999_999_999_000],
  ["Sun, 06 Nov 1994 08:50:07 GMT", 30_000],
  ["Sunday, 06-Nov-94 08:50:07 GMT", 30_000],
  ["Sun Nov  6 08:50:07 1994", 30_000],
  ["Sun, 06 Nov 1994 08:49:00 GMT", 0],
  ["-1", undefined],
  ["-1.5", undefined],
  ["+5", undefined],
  ["1e3", undefined],
  ["0x10", undefined],
  ["5, 10", undefined],
  ["1.5.2", undefined],
  ["5 s", undefined],
  ["soon", undefined],
  ["", undefined],
  ["2030", 2_030_000],
  ["Sun, 99 Nov 1994 08:49:37 GMT", undefined],
  ["1".repeat(400), undefined],
])("Retry-After: %s is %s ms", (text, delayMs) => {
  expect(parseRetryAfter(new Headers({ "retry-after": text, date: DATE }))).toBe(delayMs);
});

it("is none without the header, and a date is none without the date of the answer", () => {
  expect(parseRetryAfter(new Headers({ date: DATE }))).toBeUndefined();
  expect(parseRetryAfter(new Headers({ "retry-after": DATE }))).toBeUndefined();
  expect(parseRetryAfter(new Headers({ "retry-after": DATE, date: "1.5" }))).toBeUndefined();
});
