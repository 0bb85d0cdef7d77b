import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SignalError, type SignalErrorReason } from "../../../src/client/index.ts";
import { type CircuitState, createCircuit } from "../../../src/client/retry/circuit.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A circuit that opens after 3 failures for 10 s, and what it told. */
function newCircuit() {
  const changes: CircuitState[] = [];
  const causes: (string | undefined)[] = [];
  const options = { failuresMax: 3, halfOpenAfterMs: 10_000 };
  const circuit = createCircuit(options, {
    changed(_from, to, cause) {
      changes.push(to);
      causes.push(cause?.reason);
    },
  });
  const run = (reason?: SignalErrorReason) =>
    circuit
      .run(async () => {
        if (reason !== undefined) throw new SignalError(reason, "No.");
        return "done";
      })
      .catch((error: SignalError) => error.reason);
  const open = async () => {
    for (let n = 0; n < 3; n++) await run("UNREACHABLE");
  };
  return { circuit, run, open, changes, causes };
}

describe("a closed circuit", () => {
  it.each([
    "UNREACHABLE",
    "STORE_UNAVAILABLE",
    "OVERLOADED",
    "INTERNAL",
    "DEADLINE_EXCEEDED",
    "INVALID_RESPONSE",
  ] as const)("is opened by %s in a row", async (reason) => {
    const { run, changes, causes } = newCircuit();
    expect([await run(reason), await run(reason)]).toEqual([reason, reason]);
    expect(changes).toEqual([]);
    expect(await run(reason)).toBe(reason);
    expect([changes, causes]).toEqual([["open"], [reason]]);
    expect(await run()).toBe("CIRCUIT_OPEN");
  });

  it.each([
    "INVALID_SIGNAL",
    "UNAUTHENTICATED",
    "CLOCK_SKEW",
    "PRODUCER_DISABLED",
    "IDEMPOTENCY_KEY_REUSED",
    "SIGNAL_EXPIRED",
    "RATE_LIMITED",
    "REFUSED",
  ] as const)("counts from 0 after %s, which proves that the server works", async (reason) => {
    const { run, changes } = newCircuit();
    for (let n = 0; n < 5; n++) {
      await run("UNREACHABLE");
      await run("UNREACHABLE");
      expect(await run(reason)).toBe(reason);
    }
    expect(changes).toEqual([]);
  });

  it("counts from 0 after a success", async () => {
    const { run, changes } = newCircuit();
    await run("UNREACHABLE");
    await run("UNREACHABLE");
    expect(await run()).toBe("done");
    await run("UNREACHABLE");
    await run("UNREACHABLE");
    expect(changes).toEqual([]);
  });

  it.each(["CANCELLED", "UNKNOWN"] as const)("learns nothing from %s", async (reason) => {
    const { run, changes } = newCircuit();
    for (let n = 0; n < 5; n++) await run(reason);
    expect(changes).toEqual([]);
    await run("UNREACHABLE");
    await run("UNREACHABLE");
    await run(reason);
    await run("UNREACHABLE");
    expect(changes).toEqual(["open"]);
  });
});

describe("an open circuit", () => {
  it("makes no attempt, and tells when it will", async () => {
    const { circuit, open } = newCircuit();
    await open();
    vi.advanceTimersByTime(2_500);
    const attempt = vi.fn();
    await expect(circuit.run(attempt)).rejects.toMatchObject({
      reason: "CIRCUIT_OPEN",
      retry: "after_delay",
      retryable: true,
      retryAfterMs: 7_500,
      code: undefined,
    });
    expect(attempt).not.toHaveBeenCalled();
  });

  it("lets exactly one probe through, and is closed when that succeeds", async () => {
    const { circuit, run, open, changes } = newCircuit();
    await open();
    vi.advanceTimersByTime(10_000);
    const gate = Promise.withResolvers<string>();
    const probe = circuit.run(() => gate.promise);
    expect(changes).toEqual(["open", "half_open"]);
    const other = vi.fn();
    await expect(circuit.run(other)).rejects.toMatchObject({
      reason: "CIRCUIT_OPEN",
      retryAfterMs: 1_000,
    });
    expect(other).not.toHaveBeenCalled();

    gate.resolve("back");

    expect(await probe).toBe("back");
    expect(changes).toEqual(["open", "half_open", "closed"]);
    expect(await run()).toBe("done");
    await run("UNREACHABLE");
    await run("UNREACHABLE");
    expect(changes).toHaveLength(3);
  });

  it.each(["INVALID_SIGNAL", "RATE_LIMITED"] as const)(
    "is closed by a probe that is refused with %s",
    async (reason) => {
      const { run, open, changes } = newCircuit();
      await open();
      vi.advanceTimersByTime(10_000);
      expect(await run(reason)).toBe(reason);
      expect(changes).toEqual(["open", "half_open", "closed"]);
    },
  );

  it.each(["UNREACHABLE", "CANCELLED", "UNKNOWN"] as const)(
    "stays open for as long again after a probe that ends with %s",
    async (reason) => {
      const { run, open, changes } = newCircuit();
      await open();
      vi.advanceTimersByTime(10_000);
      expect(await run(reason)).toBe(reason);
      expect(changes).toEqual(["open", "half_open", "open"]);
      vi.advanceTimersByTime(9_999);
      expect(await run()).toBe("CIRCUIT_OPEN");
      vi.advanceTimersByTime(1);
      expect(await run()).toBe("done");
    },
  );

  it("learns nothing from an attempt that was under way when it opened", async () => {
    const { circuit, run, open, changes } = newCircuit();
    const late = Promise.withResolvers<never>();
    const attempt = circuit.run(() => late.promise);
    await open();
    vi.advanceTimersByTime(9_999);
    late.reject(new SignalError("UNREACHABLE", "No."));
    await expect(attempt).rejects.toMatchObject({ reason: "UNREACHABLE" });
    vi.advanceTimersByTime(1);
    expect(await run()).toBe("done");
    expect(changes).toEqual(["open", "half_open", "closed"]);
  });

  it("does not care where the wall clock jumps", async () => {
    const { run, open } = newCircuit();
    await open();
    vi.setSystemTime(Date.now() + 3_600_000);
    expect(await run()).toBe("CIRCUIT_OPEN");
    vi.setSystemTime(Date.now() - 36_000_000);
    vi.advanceTimersByTime(10_000);
    expect(await run()).toBe("done");
  });
});

it("never opens when it is switched off", async () => {
  const changed = vi.fn();
  const circuit = createCircuit(false, { changed });
  for (let n = 0; n < 20; n++) {
    const failing = circuit.run(() => Promise.reject(new SignalError("UNREACHABLE", "No.")));
    await expect(failing).rejects.toMatchObject({ reason: "UNREACHABLE" });
  }
  expect(changed).not.toHaveBeenCalled();
});
