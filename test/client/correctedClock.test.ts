import { expect, it } from "vitest";
import { CorrectedClock } from "../../src/client/clock.ts";
import { SignalError } from "../../src/client/index.ts";
import { NOW } from "./support/signals.ts";

const HOUR = 3_600_000_000_000n;

function skew(server_time?: string): SignalError {
  const metadata = server_time === undefined ? {} : { server_time };
  return new SignalError("CLOCK_SKEW", "Skewed.", { metadata });
}

it("is the machine's clock until the server says otherwise, and then the server's", () => {
  let machine = NOW;
  const clock = new CorrectedClock({ now: () => machine });
  expect(clock.now()).toBe(NOW);

  expect(clock.correctBy(skew("2025-10-25T13:30:45.123456789Z"))).toBe(-3_600);

  expect(clock.now()).toBe(NOW - HOUR);
  machine += 5n;
  expect(clock.now()).toBe(NOW - HOUR + 5n);
});

it("follows the machine's clock again when that was set right", () => {
  let machine = NOW - HOUR;
  const clock = new CorrectedClock({ now: () => machine });
  expect(clock.correctBy(skew("2025-10-25T14:30:45.123456789Z"))).toBe(3_600);
  machine = NOW;
  expect(clock.correctBy(skew("2025-10-25T14:30:45.123456789Z"))).toBe(0);
  expect(clock.now()).toBe(NOW);
});

it.each([
  undefined,
  "",
  "now",
  "1761402645",
  "2025-10-25 14:30:45Z",
  "2025-10-25T14:30:45",
  "2025-02-30T00:00:00Z",
  "2024-12-31T23:59:59Z",
  "2100-01-01T00:00:00Z",
  "9999-12-31T23:59:59Z",
  "1970-01-01T00:00:00Z",
])("does not believe the time %s", (serverTime) => {
  const clock = new CorrectedClock({ now: () => NOW });
  expect(clock.correctBy(skew(serverTime))).toBeUndefined();
  expect(clock.now()).toBe(NOW);
});

it("believes no jump of the machine's clock once the server has confirmed it", () => {
  let machine = NOW;
  let uptimeMs = 0;
  const clock = new CorrectedClock({ now: () => machine }, () => uptimeMs);
  const pass = (ms: number) => {
    uptimeMs += ms;
    machine += BigInt(ms) * 1_000_000n;
  };
  clock.confirm(clock.read());
  machine += 48n * HOUR;
  pass(1_000);
  expect(clock.now()).toBe(NOW + 1_000_000_000n);
  expect(clock.correctionMs).toBe(-48 * 3_600_000);
  expect(clock.takeJump()).toBe(-48 * 3_600);
  expect(clock.takeJump()).toBeUndefined();
  machine -= 48n * HOUR;
  pass(1_000);
  expect(clock.now()).toBe(NOW + 2_000_000_000n);
  expect(clock.correctionMs).toBe(0);
  expect(clock.takeJump()).toBeUndefined();

  // A clock that is stepped by little is followed.
  machine += 100_000_000_000n;
  expect(clock.now()).toBe(machine);
});

it("is confirmed as it was when the attempt was signed", () => {
  let machine = NOW;
  const clock = new CorrectedClock({ now: () => machine }, () => 0);
  const signed = clock.read();
  machine += 48n * HOUR;
  clock.confirm(signed);
  expect(clock.now()).toBe(NOW);
});
