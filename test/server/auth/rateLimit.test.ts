/** Limits of one and of several processes, by a clock that the test moves. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createRateLimit } from "../../../src/server/auth/rateLimit.ts";
import type { RateLimitStore, TokenGrant, TokenRequest } from "../../../src/store/index.ts";

const BOT = "bot";

/** As `lease_rate_tokens`, of one producer. */
class MemoryTruth implements RateLimitStore {
  readonly requests: TokenRequest[] = [];
  isAway = false;
  /** Answers wait for it. */
  gate: Promise<void> | undefined;
  #bucket: { perSecond: number; tokens: number; atMs: number } | undefined;

  async leaseTokens(request: TokenRequest): Promise<TokenGrant> {
    this.requests.push(request);
    await this.gate;
    if (this.isAway) throw new Error("away");
    const { perSecond, least, most } = request;
    const nowMs = performance.now();
    const before = this.#bucket ?? { perSecond, tokens: perSecond, atMs: nowMs };
    const refilled = before.tokens + (before.perSecond * (nowMs - before.atMs)) / 1_000;
    const tokens = Math.min(refilled, before.perSecond, perSecond);
    const granted = tokens >= least ? Math.min(Math.floor(tokens), most) : 0;
    this.#bucket = { perSecond, tokens: tokens - granted, atMs: nowMs };
    return { granted, remaining: tokens - granted };
  }
}

/** The same chances in each run (Park and Miller, "Random number generators", 1988). */
let seed = 1;
function random(): number {
  seed = (seed * 16_807) % 2_147_483_647;
  return seed / 2_147_483_647;
}

let truth: MemoryTruth;
let failures: unknown[];

beforeEach(() => {
  // By it the library tells the time, too.
  vi.useFakeTimers({ toFake: ["performance"] });
  truth = new MemoryTruth();
  failures = [];
  seed = 1;
});
afterEach(() => void vi.useRealTimers());

const pass = (ms: number) => vi.advanceTimersByTime(ms);

/** One process. */
class Process {
  readonly limits = createRateLimit({
    store: truth,
    monotonicMs: () => performance.now(),
    random,
    onFailure: (error) => failures.push(error),
  });

  /** Sends a signal. @returns how long it is to wait, 0 if it passed, or the other reason. */
  async send(perSecond: number | undefined, producerId = BOT) {
    return answerOf(await this.limits.admit({ producerId, rateLimitPerSecond: perSecond }, false));
  }

  /** Sends a batch, as the server takes it. */
  async sendBatch(perSecond: number | undefined, signals: number) {
    const producer = { producerId: BOT, rateLimitPerSecond: perSecond };
    const first = await this.limits.admit(producer, true);
    return answerOf(first ?? (await this.limits.admitBatch(producer, signals)));
  }

  /** Sends one signal after the other until one does not pass. @returns how many did. */
  async flood(perSecond: number): Promise<number> {
    let passed = 0;
    while ((await this.send(perSecond)) === 0) passed += 1;
    return passed;
  }
}

type Refusal = NonNullable<Awaited<ReturnType<Process["limits"]["admit"]>>>;

function answerOf(refusal: Refusal | undefined): number | string {
  if (refusal === undefined) return 0;
  return refusal.reason === "RATE_LIMITED" ? (refusal.retryAfterMs as number) : refusal.reason;
}

describe("one process", () => {
  test.each([1, 3, 10, 250])(
    "lets a second's worth pass at once, and then no more: %i",
    async (limit) => {
      const one = new Process();
      expect(await one.flood(limit)).toBe(limit);
    },
  );

  test.each([1, 3, 7, 10])(
    "says exactly when the next may come, at a limit of %i",
    async (limit) => {
      const one = new Process();
      for (let round = 0; round < 20; round++) {
        expect(await one.flood(limit)).toBeGreaterThanOrEqual(1);
        const waitMs = Number(await one.send(limit));
        expect(waitMs).toBeGreaterThanOrEqual(50);
        expect(waitMs).toBeLessThanOrEqual(Math.max(125, 1_000 / limit) + 1);
        pass(waitMs - 2);
        expect(await one.send(limit)).toBeGreaterThan(0);
        pass(2.001);
      }
    },
  );

  test("refuses a flood without asking the database", async () => {
    const one = new Process();
    await one.flood(100);
    const asked = truth.requests.length;
    for (let request = 0; request < 10_000; request++)
      expect(await one.send(100)).toBeGreaterThan(0);
    expect(truth.requests).toHaveLength(asked);
  });

  test.each([20, 300, 900, 5_000])(
    "asks the database about ten times a second for a producer that sends %i",
    async (rate) => {
      const one = new Process();
      for (let sent = 0; sent < rate * 5; sent++) {
        await one.send(1_000);
        pass(1_000 / rate);
      }
      expect(truth.requests.length).toBeLessThanOrEqual(80);
    },
  );

  test("never asks for a producer without a limit", async () => {
    const one = new Process();
    for (let request = 0; request < 100; request++) {
      expect(await one.send(undefined)).toBe(0);
      expect(await one.sendBatch(undefined, 1_000)).toBe(0);
    }
    expect(truth.requests).toEqual([]);
    expect(one.limits.bucketCount).toBe(0);
  });

  test("has one lease under way, whoever waits for it", async () => {
    const one = new Process();
    const gate = Promise.withResolvers<void>();
    truth.gate = gate.promise;
    const waiting = Array.from({ length: 500 }, () => one.send(100));
    await Promise.resolve();
    expect(truth.requests).toHaveLength(1);
    gate.resolve();
    const answers = await Promise.all(waiting);
    expect(answers.filter((waitMs) => waitMs === 0)).toHaveLength(100);
    expect(truth.requests.length).toBeLessThanOrEqual(15);
  });

  test("refills all the time, and not by the second", async () => {
    const one = new Process();
    await one.flood(10);
    let passed = 0;
    for (let step = 0; step < 50; step++) {
      pass(100);
      const now = await one.flood(10);
      expect(now).toBeLessThanOrEqual(2);
      passed += now;
    }
    expect(passed).toBeGreaterThanOrEqual(49);
  });
});

describe("a batch", () => {
  test("passes whole, and takes a token for each of its signals", async () => {
    const one = new Process();
    expect(await one.sendBatch(100, 60)).toBe(0);
    expect(await one.sendBatch(100, 40)).toBe(0);
    expect(await one.send(100)).toBeGreaterThan(0);
  });

  test("takes nothing if it does not pass, and passes after the wait that it was told", async () => {
    const one = new Process();
    expect(await one.sendBatch(100, 60)).toBe(0);
    expect(await one.sendBatch(100, 60)).toBe(200);
    expect(await one.sendBatch(100, 60)).toBe(200);
    pass(199);
    expect(await one.sendBatch(100, 60)).toBeGreaterThan(0);
    pass(1.001);
    expect(await one.sendBatch(100, 60)).toBe(0);
  });

  test("passes after its wait also if what was leased was lost meanwhile", async () => {
    for (let idleMs = 0; idleMs < 1_000; idleMs += 90) {
      truth = new MemoryTruth();
      const one = new Process();
      // At this pace, some are leased ahead.
      for (let sent = 0; sent < 60; sent++) await one.send(100);
      pass(idleMs);
      const waitMs = Number(await one.sendBatch(100, 100));
      pass(waitMs + 0.001);
      if (waitMs > 0) expect(await one.sendBatch(100, 100)).toBe(0);
    }
  });

  test("that finds not even one token is told when one like the last passes", async () => {
    const one = new Process();
    await one.flood(100);
    const waitMs = Number(await one.sendBatch(100, 80));
    expect(waitMs).toBe(1_000);
    pass(waitMs + 0.001);
    expect(await one.sendBatch(100, 80)).toBe(0);
    await one.flood(100);
    expect(await one.sendBatch(100, 80)).toBe(800);
    pass(800.001);
    expect(await one.sendBatch(100, 80)).toBe(0);
  });

  test("that is bigger than the bucket is refused for good, and takes nothing", async () => {
    const one = new Process();
    const producer = { producerId: BOT, rateLimitPerSecond: 3 };
    for (let repeat = 0; repeat < 10; repeat++) {
      expect(await one.limits.admit(producer, true)).toBeUndefined();
      expect(await one.limits.admitBatch(producer, 4)).toMatchObject({
        reason: "INVALID_SIGNAL",
        message:
          "The batch must hold at most 3 requests, since this producer may send 3 signals a second, not 4. Not stored by this request.",
        violations: [
          {
            field: "requests",
            description:
              "must hold at most 3 requests, since this producer may send 3 signals a second",
          },
        ],
      });
    }
    expect(await one.sendBatch(3, 3)).toBe(0);
  });
});

describe("several processes", () => {
  /** Floods some of four processes every few milliseconds. @returns how many signals passed. */
  async function floodFor(seconds: number, limit: number, flooded: number): Promise<number> {
    const processes = Array.from({ length: 4 }, () => new Process());
    let passed = 0;
    for (let turn = 0; turn < seconds * 250; turn++) {
      for (const process of processes.slice(0, flooded)) passed += await process.flood(limit);
      pass(4);
    }
    return passed;
  }

  test.each([
    [2, 4],
    [10, 4],
    [50, 4],
    [1_000, 4],
    [10, 1],
    [50, 1],
    [1_000, 1],
  ])("keep to a limit of %i together, with load on %i of four", async (limit, flooded) => {
    const passed = await floodFor(10, limit, flooded);
    expect(passed).toBeLessThanOrEqual(limit * 11);
    expect(passed).toBeGreaterThanOrEqual(limit * 11 * 0.9);
  });

  test("lose what they leased and did not spend, so that it makes no greater burst", async () => {
    const processes = Array.from({ length: 4 }, () => new Process());
    for (const one of processes) {
      // So fast that each leases ahead.
      for (let sent = 0; sent < 20; sent++) await one.send(1_000);
      pass(50);
    }
    pass(1_100);
    let passed = 0;
    for (const one of processes) passed += await one.flood(1_000);
    expect(passed).toBe(1_000);
  });

  test("all get something at a low limit", async () => {
    const counted = [new Process(), new Process()].map((process) => ({ process, passed: 0 }));
    for (let turn = 0; turn < 3_000; turn++) {
      for (const one of counted) one.passed += await one.process.flood(10);
      pass(10);
    }
    for (const { passed } of counted) expect(passed).toBeGreaterThan(30);
  });
});

describe("another limit", () => {
  test("holds at once if it is lower, also for what was leased", async () => {
    const one = new Process();
    for (let sent = 0; sent < 550; sent++) expect(await one.send(1_000)).toBe(0);
    expect(await one.flood(10)).toBe(10);
  });

  test("gives no burst if it is higher", async () => {
    const one = new Process();
    expect(await one.flood(10)).toBe(10);
    expect(await one.flood(1_000)).toBe(0);
    pass(150);
    // The truth is told of the new limit, by which it is refilled from then on.
    expect(await one.flood(1_000)).toBeLessThanOrEqual(2);
    pass(150);
    expect(await one.flood(1_000)).toBe(150);
  });

  test("gives a bucket that rested no more than it held", async () => {
    const one = new Process();
    await one.send(10);
    pass(5_000);
    expect(await one.flood(1_000)).toBe(10);
  });

  test("and none at all lets everything pass", async () => {
    const one = new Process();
    await one.flood(1);
    expect(await one.sendBatch(undefined, 1_000)).toBe(0);
  });
});

describe("without the database", () => {
  test("what is leased is all that passes", async () => {
    const one = new Process();
    for (let sent = 0; sent < 150; sent++) expect(await one.send(1_000)).toBe(0);
    truth.isAway = true;
    let passed = 0;
    while ((await one.send(1_000)) === 0) passed += 1;
    expect(passed).toBeLessThanOrEqual(100);
    for (let request = 0; request < 100; request++) {
      pass(10);
      expect(await one.send(1_000)).toBe("STORE_UNAVAILABLE");
    }
  });

  test("producers are told so, and that nothing is stored", async () => {
    const one = new Process();
    truth.isAway = true;
    const refusal = await one.limits.admit({ producerId: BOT, rateLimitPerSecond: 5 }, false);
    expect(refusal?.message).toMatch(/known whether .* Not stored by this request\.$/);
    expect(failures).toHaveLength(1);
  });

  test("it is asked again ten times a second, and service resumes by itself", async () => {
    const one = new Process();
    truth.isAway = true;
    for (let ms = 0; ms < 1_000; ms++) {
      expect(await one.send(1_000)).toBe("STORE_UNAVAILABLE");
      pass(1);
    }
    expect(truth.requests).toHaveLength(10);
    expect(failures).toHaveLength(10);
    truth.isAway = false;
    pass(100);
    expect(await one.send(1_000)).toBe(0);
  });

  test("a batch gives back what it took", async () => {
    const one = new Process();
    expect(await one.sendBatch(100, 50)).toBe(0);
    expect(await one.send(100)).toBe(0);
    truth.isAway = true;
    expect(await one.sendBatch(100, 49)).toBe("STORE_UNAVAILABLE");
    truth.isAway = false;
    pass(100);
    expect(await one.sendBatch(100, 58)).toBe(0);
  });
});

test("buckets of producers that rest are forgotten", async () => {
  const one = new Process();
  for (let producer = 0; producer < 1_000; producer++) {
    await one.send(5, `bot-${producer}`);
    pass(1_000);
  }
  expect(one.limits.bucketCount).toBeLessThanOrEqual(25);
});
