import { expect, it } from "vitest";
import { CorrectedClock } from "../../src/client/clock.ts";
import { NOW } from "./support/signals.ts";

const HOUR = 3_600_000_000_000n;

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
