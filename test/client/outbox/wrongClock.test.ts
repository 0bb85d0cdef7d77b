/**
 * A bot whose clock is two days off, with a real outbox, client and server: nothing fresh is
 * given up, nothing stale is stored, and no signal gets a wrong time.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  createSignalClient,
  type Instant,
  type Outbox,
  type SignalClientOptions,
  type SignalInput,
} from "../../../src/client/index.ts";
import type { Entry } from "../../../src/client/outbox/entry.ts";
import { OutboxClock } from "../../../src/client/outbox/outboxClock.ts";
import { serveFile } from "../../support/serveFile.ts";
import { TEST_PRODUCER_ID, TEST_SECRET } from "../../support/server.ts";
import { openOutbox, outboxPath, RecordingAlerts, SIGNAL, unreachable } from "./support.ts";

const DAY_MS = 86_400_000;
const MS = 1_000_000n;

const served = serveFile();

/** A clock that is off, and can be set. */
function wrongClock(offMs: number) {
  const clock = { offMs, now: (): Instant => BigInt(Date.now() + clock.offMs) * MS };
  return clock;
}

function clientWith(clock: { now(): Instant }, others: Pick<SignalClientOptions, "logger"> = {}) {
  const identity = {
    serverUrl: served.server.url,
    producerId: TEST_PRODUCER_ID,
    secret: TEST_SECRET,
  };
  const client = createSignalClient({ ...identity, clock, ...others, circuitBreaker: false });
  onTestFinished(() => client.close());
  return client;
}

/** The keys and times of the signals that the server has under such keys. */
async function storedUnder(prefix: string): Promise<Map<string, number>> {
  const rows = await served.sql<{ key: string; ms: number }[]>`
    SELECT idempotency_key AS key, (extract(epoch FROM signal_time) * 1000)::float8 AS ms
    FROM signals WHERE starts_with(idempotency_key, ${prefix})`;
  return new Map(rows.map(({ key, ms }) => [key, ms]));
}

describe.each([
  ["slow", -2 * DAY_MS],
  ["fast", 2 * DAY_MS],
])("a clock that is two days %s", (name, offMs) => {
  it("costs no fresh signal, whenever it was taken, and stores none that expired", async () => {
    const alerts = new RecordingAlerts();
    const clock = wrongClock(offMs);
    const path = outboxPath();
    const own = (n: number) => ({ idempotencyKey: `${name}-${n}` });
    const startMs = Date.now();

    // Some are taken while nobody can know, and before a restart.
    const before = openOutbox({ path, client: { ...unreachable, clock }, alerts });
    await Promise.all(Array.from({ length: 100 }, (_, n) => before.enqueue(SIGNAL, own(n))));
    await before.close();

    const outbox = openOutbox({ path, client: clientWith(clock), alerts });
    const taken: Promise<unknown>[] = [];
    for (let n = 100; n < 600; n++) {
      taken.push(outbox.enqueue(SIGNAL, own(n)));
      if (n % 50 === 0) await sleep(10);
    }
    await Promise.all(taken);
    expect(await outbox.flush(60_000)).toBe(true);
    const endMs = Date.now();

    expect(outbox.status().deadLetters).toBe(0);
    const stored = await storedUnder(`${name}-`);
    expect(stored.size).toBe(600);
    for (const ms of stored.values()) {
      expect(ms).toBeGreaterThan(startMs - 2_000);
      expect(ms).toBeLessThan(endMs + 2_000);
    }

    // Now that the clock is known, what is past its end is never sent.
    const signalTime = new Date(Date.now() - 60_000);
    const late: SignalInput = { ...SIGNAL, signalTime, expireTime: new Date(Date.now() - 1_000) };
    await outbox.enqueue(late, { idempotencyKey: `late-${name}` });
    expect(await outbox.flush(10_000)).toBe(true);
    expect(outbox.status().deadLetters).toBe(1);
    expect((await storedUnder(`late-${name}`)).size).toBe(0);
    expect(alerts.kinds).toEqual(["signal_expired"]);
  }, 90_000);

  it("that is set right while signals wait costs none of them", async () => {
    const clock = wrongClock(offMs);
    let isDown = true;
    const client = clientWith(clock);
    const outbox = openOutbox({
      path: outboxPath(),
      retry: { baseDelayMs: 20, delayMaxMs: 50 },
      client: {
        clock: client.clock,
        ingest: (...args) => (isDown ? unreachable : client).ingest(...args),
        ingestBatch: (...args) => (isDown ? unreachable : client).ingestBatch(...args),
      },
    });
    for (let n = 0; n < 20; n++) {
      await outbox.enqueue(SIGNAL, { idempotencyKey: `set-${name}-${n}` });
    }
    clock.offMs = 0;
    await sleep(200);
    expect(outbox.status().oldestAgeMs).toBeLessThan(60_000);
    isDown = false;
    expect(await outbox.flush(30_000)).toBe(true);
    expect(outbox.status().deadLetters).toBe(0);
    expect((await storedUnder(`set-${name}-`)).size).toBe(20);
  }, 60_000);
});

/** With an end that the author knows from elsewhere, and a time of the outbox's own. */
function endingSoon(): SignalInput {
  return { ...SIGNAL, expireTime: new Date(Date.now() + 120_000) };
}

/** Delivers a signal under such a key, and expects it to be stored with the time of now. */
async function expectStoredNow(
  outbox: Outbox,
  idempotencyKey: string,
  others: Partial<SignalInput> = {},
): Promise<void> {
  const startMs = Date.now();
  await outbox.enqueue({ ...endingSoon(), ...others }, { idempotencyKey });
  expect(await outbox.flush(30_000)).toBe(true);
  expect(outbox.status().deadLetters).toBe(0);
  const ms = (await storedUnder(idempotencyKey)).get(idempotencyKey);
  expect(Math.abs((ms ?? 0) - startMs)).toBeLessThan(60_000);
}

describe("signals with an end that is right", () => {
  it("are delivered by a clock that is fast from the first moment on", async () => {
    const client = clientWith(wrongClock(2 * DAY_MS));
    const outbox = openOutbox({ path: outboxPath(), client });
    await expectStoredNow(outbox, "fast-at-first", { signalTime: new Date() });
  }, 60_000);

  it.each([
    ["slow", -2 * DAY_MS, 0],
    ["fast", 2 * DAY_MS, 0],
    ["right", 0, 2 * DAY_MS],
    ["right", 0, -2 * DAY_MS],
  ])(
    "are delivered though a clock that was %s (%d ms) is set (%d ms)",
    async (_, wasMs, isMs) => {
      const clock = wrongClock(wasMs);
      const outbox = openOutbox({ path: outboxPath(), client: clientWith(clock) });
      await outbox.enqueue(SIGNAL, { idempotencyKey: `before-${wasMs}-${isMs}` });
      expect(await outbox.flush(30_000)).toBe(true);
      clock.offMs = isMs;
      await expectStoredNow(outbox, `after-${wasMs}-${isMs}`);
    },
    60_000,
  );

  it("are told as expired, and never stored, if they are past it by the server's clock", async () => {
    const alerts = new RecordingAlerts();
    const outbox = openOutbox({ path: outboxPath(), client: clientWith(wrongClock(0)), alerts });
    const signalTime = new Date(Date.now() - 60_000);
    const late = { ...SIGNAL, signalTime, expireTime: new Date(Date.now() - 1_000) };
    await outbox.enqueue(late, { idempotencyKey: "past-at-first" });
    expect(await outbox.flush(30_000)).toBe(true);
    expect(alerts.kinds).toEqual(["signal_expired"]);
    expect((await storedUnder("past-at-first")).size).toBe(0);
  }, 60_000);
});

it("tells in the log that a clock was set wrongly while the bot runs", async () => {
  const clock = wrongClock(0);
  const told: unknown[] = [];
  const logger = { info() {}, warn: (facts: unknown) => void told.push(facts), error() {} };
  const client = clientWith(clock, { logger });
  await client.ingest(SIGNAL);
  clock.offMs = 2 * DAY_MS;
  await client.ingest(SIGNAL);
  await client.ingest(SIGNAL);
  expect(told).toEqual([expect.objectContaining({ offset_seconds: expect.any(Number) })]);
  const [{ offset_seconds }] = told as [{ offset_seconds: number }];
  expect(Math.abs(offset_seconds + 2 * 86_400)).toBeLessThan(10);
}, 60_000);

it("keeps the time of a signal that a clock gave which the server had confirmed", async () => {
  const path = outboxPath();
  const client = clientWith(wrongClock(0));
  await client.ingest(SIGNAL, { idempotencyKey: "confirms" });
  const before = openOutbox({ path, client: { ...unreachable, clock: client.clock } });
  await before.enqueue(SIGNAL, { idempotencyKey: "kept-time" });
  const takenMs = Date.now();
  await before.close();
  const after = openOutbox({ path, client: clientWith(wrongClock(2 * DAY_MS)) });
  expect(await after.flush(30_000)).toBe(true);
  expect(after.status().deadLetters).toBe(0);
  const ms = (await storedUnder("kept-time")).get("kept-time");
  expect(Math.abs((ms ?? 0) - takenMs)).toBeLessThan(60_000);
}, 60_000);

describe("the age of a signal", () => {
  const START_MS = Date.UTC(2026, 0, 1);
  const taken = { run: "of before", uptimeMs: 5, correctionMs: 0, isTimed: false };

  function entryOf(enqueuedMs: number, correctionMs = 0): Entry {
    const rest = {
      sequence: 1,
      idempotencyKey: "key",
      death: undefined,
      request: new Uint8Array(),
    };
    return { ...rest, enqueuedMs, taken: { ...taken, correctionMs } };
  }

  function clockOf(machineMs: number, correctionMs = 0): OutboxClock {
    const now = () => BigInt(machineMs + correctionMs) * MS;
    return new OutboxClock({ now, correctionMs }, () => 1_000);
  }

  it.each([
    ["a clock that is right", 0, 0, 0, 0],
    ["one that is slow, as nobody knows yet", -2, -2, 0, 0],
    ["one that is slow, as this run knows", -2, -2, 0, 2],
    ["one that is slow, as both runs know", -2, -2, 2, 2],
    ["one that is fast, as the earlier run knew", 2, 2, -2, 0],
    ["one that was slow and is set right now", -2, 0, 2, 0],
    ["one that was right and is fast now", 0, 2, 0.001, -2],
  ])("over a restart is right by %s", (_, wasOff, isOff, knewThen, knowsNow) => {
    const hourMs = 3_600_000;
    const entry = entryOf(START_MS + wasOff * DAY_MS, knewThen * DAY_MS);
    const clock = clockOf(START_MS + isOff * DAY_MS + hourMs, knowsNow * DAY_MS);
    expect(Math.abs(clock.ageMs(entry) - hourMs)).toBeLessThan(120_000);
  });

  it("judges expiry by what an earlier run knew of a fast clock", () => {
    const entry = entryOf(START_MS + 2 * DAY_MS, -2 * DAY_MS);
    expect(clockOf(START_MS + 2 * DAY_MS).nowFor(entry)).toBe(BigInt(START_MS) * MS);
    expect(clockOf(START_MS + 2 * DAY_MS, -2 * DAY_MS).nowFor(entry)).toBe(BigInt(START_MS) * MS);
  });
});
