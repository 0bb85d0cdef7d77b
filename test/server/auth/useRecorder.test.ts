import { beforeEach, expect, test } from "vitest";
import { createUseRecorder, type UseRecorder } from "../../../src/server/auth/useRecorder.ts";
import { ManualTimers } from "../../ingest/manualTimers.ts";
import { ManualClock } from "../../ingest/memoryStore.ts";

const MINUTE_MS = 60_000;

interface Written {
  readonly producerIds: readonly string[];
  readonly secretIds: readonly string[];
  readonly tokenIds: readonly string[];
}

let timers: ManualTimers;
let written: Written[];
let timeouts: number[];
let lines: string[];
let isAway: boolean;
let recorder: UseRecorder;

beforeEach(() => {
  timers = new ManualTimers(new ManualClock(0n));
  written = [];
  timeouts = [];
  lines = [];
  isAway = false;
  recorder = createUseRecorder({
    store: {
      async recordUse({ producerIds, secretIds, tokenIds }, timeoutMs) {
        timeouts.push(timeoutMs);
        if (isAway) throw new Error("away");
        const ids = { producerIds: [...producerIds], secretIds: [...secretIds] };
        written.push({ ...ids, tokenIds: [...tokenIds] });
      },
    },
    timers,
    random: () => 0.999,
    log: {
      warn: (_: unknown, line: string) => void lines.push(line),
      info: (line: string) => void lines.push(line),
    } as never,
  });
});

test("writes each name once, however often it was seen, within some seconds", async () => {
  for (let i = 0; i < 1_000; i++) recorder.seenProducer("bot", i % 2 === 0 ? "old" : "new");
  recorder.seenProducer("other", "its-own");
  recorder.seenToken("token");
  recorder.seenToken("token");
  expect(written).toEqual([]);
  await timers.advanceMs(15_000);
  expect(written).toEqual([
    {
      producerIds: ["bot", "other"],
      secretIds: ["old", "new", "its-own"],
      tokenIds: ["token"],
    },
  ]);
});

test("asks nothing of the database while nobody was there", async () => {
  await timers.advanceMs(10 * MINUTE_MS);
  expect(timeouts).toEqual([]);
  recorder.seenToken("token");
  await timers.advanceMs(MINUTE_MS);
  await timers.advanceMs(MINUTE_MS);
  expect(written).toHaveLength(1);
});

test("writes later what could not be written, and tells of that once", async () => {
  isAway = true;
  recorder.seenProducer("bot", "secret");
  recorder.seenToken("token");
  await timers.advanceMs(10 * MINUTE_MS);
  expect(timeouts.length).toBeGreaterThan(10);
  expect(lines).toEqual(["who was there lately could not be written"]);
  isAway = false;
  recorder.seenProducer("bot", "newer");
  await timers.advanceMs(15_000);
  expect(written).toEqual([
    { producerIds: ["bot"], secretIds: ["secret", "newer"], tokenIds: ["token"] },
  ]);
  expect(lines[1]).toBe("who was there lately is written again");
  await timers.advanceMs(MINUTE_MS);
  expect(written).toHaveLength(1);
});

test("keeps no more names than it can hold, also while they cannot be written", async () => {
  isAway = true;
  for (let i = 0; i < 50_000; i++) {
    recorder.seenProducer("bot", `secret-${i}`);
    recorder.seenToken(`token-${i}`);
    if (i === 25_000) await timers.advanceMs(MINUTE_MS);
  }
  isAway = false;
  await timers.advanceMs(MINUTE_MS);
  expect(written[0]?.secretIds).toHaveLength(20_000);
  expect(written[0]?.tokenIds).toHaveLength(20_000);
});

test("writes what is left at its end, and nothing after it", async () => {
  recorder.seenProducer("bot", "secret");
  await recorder.close();
  expect(written).toHaveLength(1);
  expect(timeouts).toEqual([1_000]);
  recorder.seenToken("token");
  await timers.advanceMs(10 * MINUTE_MS);
  expect(written).toHaveLength(1);
  expect(timers.waitingCount).toBe(0);
});

test("ends though nothing can be written", async () => {
  isAway = true;
  recorder.seenProducer("bot", "secret");
  await recorder.close();
  expect(lines).toHaveLength(1);
});
