import { expect, test } from "vitest";
import { createReplaceDelays } from "../../../src/server/workers/workers.ts";

const BRIEFLY_MS = 59_999;
const STEADILY_MS = 60_000;

test("the wait doubles for workers that die one after the other, up to a limit", () => {
  const replaceDelay = createReplaceDelays(() => 0);
  const delays = Array.from({ length: 10 }, () => replaceDelay(BRIEFLY_MS));
  expect(delays).toEqual([100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]);
});

test("a worker that lived long is replaced almost at once, whatever was before", () => {
  const replaceDelay = createReplaceDelays(() => 0);
  for (let deaths = 0; deaths < 5; deaths++) replaceDelay(BRIEFLY_MS);
  expect(replaceDelay(STEADILY_MS)).toBe(100);
  expect(replaceDelay(BRIEFLY_MS)).toBe(200);
});

test("chance adds up to a quarter", () => {
  const replaceDelay = createReplaceDelays(() => 1);
  expect([replaceDelay(0), replaceDelay(0)]).toEqual([125, 250]);
});

test("two places wait differently", () => {
  const [first, second] = [createReplaceDelays(), createReplaceDelays()];
  const delays = (replaceDelay: typeof first) => Array.from({ length: 5 }, () => replaceDelay(0));
  expect(delays(first)).not.toEqual(delays(second));
});
