/**
 * One attack in a process of its own, so that it does not slow down the honest client that
 * it is measured by: `node attackProcess.ts NAME PORT FROM`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { ATTACKS, type AttackName } from "./attacks.ts";

const FULL_SIZE_TIMEOUT_MS = 10_000;

const [name, port, from = "127.0.0.1"] = process.argv.slice(2);
const attack = ATTACKS[name as AttackName]({ port: Number(port), from });
// A server that takes no more connections must not keep the attack from being measured.
await Promise.race([attack, sleep(FULL_SIZE_TIMEOUT_MS)]);
process.stdout.write("under way\n");
// Ends with whoever started it.
process.stdin.resume();
process.stdin.once("close", () => process.exit());
