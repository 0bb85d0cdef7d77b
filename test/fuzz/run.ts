/**
 * Fuzzes a server, for as long as it is told, and prints how to see again what it finds:
 *
 *     npm run fuzz [-- --seconds 300] [--seed 42] [--case 7]
 *
 * The same seed has the same cases, whose signatures alone are of the time of the run.
 */
import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";

const SEED_MAX = 2 ** 31;
const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: `${randomInt(SEED_MAX)}` },
    case: { type: "string" },
  },
});
for (const [name, value] of Object.entries(values)) {
  if (!/^\d{1,10}$/.test(value)) throw new Error(`--${name} is a whole number, not ${value}.`);
}
const { status } = spawnSync("vitest", ["run", "test/fuzz/fuzz.test.ts", "--reporter=dot"], {
  stdio: "inherit",
  env: {
    ...process.env,
    FUZZ_SECONDS: values.seconds,
    FUZZ_SEED: values.seed,
    ...(values.case !== undefined && { FUZZ_CASE: values.case }),
  },
});
process.exitCode = status ?? 1;
