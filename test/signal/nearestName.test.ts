import { expect, it } from "vitest";
import { didYouMean, nearestName } from "../../src/signal/index.ts";

const KNOWN = ["instrument", "side", "entryPrice", "stopLoss", "takeProfit", "reason", "payload"];

it.each([
  ["entry_price", "entryPrice"],
  ["ENTRY-PRICE", "entryPrice"],
  ["entryprice", "entryPrice"],
  ["stopLos", "stopLoss"],
  ["stpoLoss", "stopLoss"],
  ["takeProfits", "takeProfit"],
  ["sid", "side"],
  ["stop", undefined],
  ["id", undefined],
  ["", undefined],
  ["quantity", undefined],
  ["x".repeat(100_000), undefined],
])("for %s is %s", (name, meant) => {
  expect(nearestName(name, KNOWN)).toBe(meant);
  expect(didYouMean(name, KNOWN)).toBe(meant === undefined ? "" : ` (did you mean ${meant}?)`);
});

it("is the closest one, and the very same before any other", () => {
  expect(nearestName("stoploss", ["stopLost", "stopLoss"])).toBe("stopLoss");
  expect(nearestName("stop_los", ["stopLoops", "stopLoss"])).toBe("stopLoss");
});
