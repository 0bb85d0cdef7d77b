import { expect, test } from "vitest";
import { isReason } from "../../src/signal/index.ts";

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
