/**
 * One attack in a process of its own, so that it does not slow down the honest client that
 * it is measured by: `node attackProcess.ts NAME PORT FROM`.
 */
import { ATTACKS, type AttackName } from "./attacks.ts";

const [name, port, from = "127.0.0.1"] = process.argv.slice(2);
ATTACKS[name as AttackName]({ port: Number(port), from });
process.stdout.write("under way\n");
// Ends with whoever started it.
process.stdin.resume();
process.stdin.once("close", () => process.exit());
