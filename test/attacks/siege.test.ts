/**
 * Strangers who want to keep others from being served: with each of their attacks under
 * way, an honest client's signals are stored and acknowledged, whether it has an address of
 * its own or shares the attacker's, as it does behind a proxy. The bounds are generous,
 * since the machine that runs this may be busy; what was measured is told on standard error,
 * and ATTACK_SECONDS makes each attack last.
 */
import { expect, onTestFinished, test } from "vitest";
import { fileDatabase } from "../support/serveFile.ts";
import { spawnServer, testServerEnv } from "../support/server.ts";
import { ATTACKS, type AttackName } from "./support/attacks.ts";
import { besiege } from "./support/siege.ts";

const P99_MAX_MS = 5_000;
const RSS_MAX_MIB = 350;
const TEST_TIMEOUT_MS = 90_000 + Number(process.env.ATTACK_SECONDS ?? 0) * 1_000;
/** As `npm start` gives them. */
const NODE_OPTIONS = "--max-semi-space-size=8 --max-old-space-size=1024";
const OTHER_ADDRESS = "127.0.0.66";
const SAME_ADDRESS = "127.0.0.1";

const database = fileDatabase();

async function expectHonestServed(name: AttackName, from: string): Promise<void> {
  const server = await spawnServer(testServerEnv(database.url, { NODE_OPTIONS }));
  onTestFinished(async () => void (await server.stop("SIGKILL")));
  const report = await besiege(server, name, from);
  expect(server.child.exitCode).toBeNull();
  expect(report.lost).toBe(0);
  expect(report.reconnects).toBe(0);
  expect(report.served).toBeGreaterThanOrEqual(3);
  expect(report.p99Ms).toBeLessThan(P99_MAX_MS);
  expect(report.peakRssMib).toBeLessThan(RSS_MAX_MIB);
}

const timeout = TEST_TIMEOUT_MS;

test.each(Object.keys(ATTACKS) as AttackName[])(
  "%s from the address of the honest client",
  { timeout },
  (name) => expectHonestServed(name, SAME_ADDRESS),
);

test.each(["prefaces", "stoppedBodies", "watches", "resets"] as const)(
  "%s from another address",
  { timeout },
  (name) => expectHonestServed(name, OTHER_ADDRESS),
);
