import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SignalError, type WithRetryOptions, withRetry } from "../../../src/client/index.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const away = () => new SignalError("STORE_UNAVAILABLE", "Away.");

/** An operation that fails so often before it succeeds, and when it was tried. */
function failing(times: number, error: () => unknown = away) {
  const triedAtMs: number[] = [];
  const startMs = performance.now();
  const operation = vi.fn(async (_attempt: { readonly attempt: number }) => {
    triedAtMs.push(Math.round((performance.now() - startMs) / 100) * 100);
    if (triedAtMs.length <= times) throw error();
    return "done";
  });
  return { operation, triedAtMs };
}

/** The outcome of a promise whose rejection may come while time is advanced. */
function settled<T>(promise: Promise<T>) {
  return promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
}

const exact: WithRetryOptions = { jitter: 0 };

it("tries at the times of the schedule, until it succeeds", async () => {
  const { operation, triedAtMs } = failing(5);
  const onRetry = vi.fn();

  const outcome = settled(withRetry(operation, { ...exact, onRetry }));
  await vi.advanceTimersByTimeAsync(155_100);

  expect(await outcome).toEqual({ value: "done" });
  expect(triedAtMs).toEqual([0, 5_000, 15_000, 35_000, 75_000, 155_000]);
  expect(operation.mock.calls.map(([{ attempt }]) => attempt)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(onRetry.mock.calls.map(([planned]) => [planned.attempt, planned.delayMs])).toEqual([
    [1, 5_000],
    [2, 10_000],
    [3, 20_000],
    [4, 40_000],
    [5, 80_000],
  ]);
});

describe("the budget", () => {
  it("aborts the attempt that is under way when it ends, and then no other follows", async () => {
    const hanging = vi.fn(
      ({ signal }: { readonly signal: AbortSignal }) =>
        new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(away()));
        }),
    );
    const outcome = settled(withRetry(hanging, { ...exact, budgetMs: 8_000 }));
    await vi.advanceTimersByTimeAsync(7_999);
    expect(hanging.mock.calls[0]?.[0].signal.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(await outcome).toMatchObject({ error: { reason: "STORE_UNAVAILABLE" } });
    expect(hanging).toHaveBeenCalledTimes(1);
  });

  it("starts no attempt if the machine woke up too late for it", async () => {
    const { operation } = failing(99);
    const outcome = settled(withRetry(operation, { ...exact, budgetMs: 20_000 }));
    await vi.advanceTimersByTimeAsync(4_000);
    // The timer of the wait is late by far, as after a sleep of the machine.
    const now = performance.now();
    vi.spyOn(performance, "now").mockImplementation(() => now + 60_000);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await outcome).toMatchObject({ error: { reason: "STORE_UNAVAILABLE" } });
    expect(operation).toHaveBeenCalledTimes(1);
    vi.restoreAllMocks();
  });
});

describe("giving up", () => {
  it("just before a wait ends it too", async () => {
    const { operation } = failing(99);
    const controller = new AbortController();
    const onRetry = () => void setTimeout(() => controller.abort("no"), 0);
    const outcome = settled(withRetry(operation, { ...exact, signal: controller.signal, onRetry }));
    await vi.advanceTimersByTimeAsync(100);
    expect(vi.getTimerCount()).toBe(0);
    expect(await outcome).toEqual({ error: "no" });
    expect(operation).toHaveBeenCalledTimes(1);
  });

  it("reaches the attempt that is under way, and none follows", async () => {
    const controller = new AbortController();
    const operation = vi.fn(
      ({ signal }: { readonly signal: AbortSignal }) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(away()))),
    );
    const outcome = settled(withRetry(operation, { ...exact, signal: controller.signal }));
    await vi.advanceTimersByTimeAsync(1);
    controller.abort();
    await vi.advanceTimersByTimeAsync(100_000);
    expect(await outcome).toMatchObject({ error: { reason: "STORE_UNAVAILABLE" } });
    expect(operation).toHaveBeenCalledTimes(1);
  });

  it("by the stop signal ends a wait with the last failure, but no attempt", async () => {
    const { operation } = failing(99);
    const controller = new AbortController();
    const outcome = settled(withRetry(operation, { ...exact, stopSignal: controller.signal }));
    await vi.advanceTimersByTimeAsync(1_000);
    controller.abort();
    await vi.advanceTimersByTimeAsync(0);
    expect(await outcome).toMatchObject({ error: { reason: "STORE_UNAVAILABLE" } });
    expect(vi.getTimerCount()).toBe(0);
    const stopped = withRetry(async ({ signal }) => signal.aborted, {
      stopSignal: controller.signal,
    });
    await expect(stopped).resolves.toBe(false);
  });

  it("leaves no listener on a signal that lives on", async () => {
    const controller = new AbortController();
    const add = vi.spyOn(controller.signal, "addEventListener");
    const remove = vi.spyOn(controller.signal, "removeEventListener");
    const { operation } = failing(2);
    const outcome = settled(withRetry(operation, { ...exact, signal: controller.signal }));
    await vi.advanceTimersByTimeAsync(20_000);
    await outcome;
    expect(add.mock.calls.length).toBeGreaterThan(2);
    expect(remove).toHaveBeenCalledTimes(add.mock.calls.length);
  });
});
