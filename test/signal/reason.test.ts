import { expect, test } from "vitest";
import { isReason, REASONS } from "../../src/signal/index.ts";

test.each(REASONS)("%s is a reason", (reason) => {
  expect(isReason(reason)).toBe(true);
});

test.each([
  "",
  "toString",
  "constructor",
  "hasOwnProperty",
  "__proto__",
  "invalid_signal",
  "INVALID_SIGNAL ",
  "INVALID_SIGNALS",
  "never",
])("%j is no reason", (text) => {
  expect(isReason(text)).toBe(false);
});
