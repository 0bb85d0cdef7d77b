/**
 * Runs the store's tests on each version of PostgreSQL in the package.json beside this file:
 *
 *     npm run test:postgres [-- <more arguments of vitest>]
 *
 * npm installs their programs here, by the lockfile, and only when this is run. What the
 * embedded PostgreSQL does for itself is left out: it is of one version only.
 */
import { spawnSync } from "node:child_process";
import path from "node:path";
import manifest from "./package.json" with { type: "json" };

const HERE = import.meta.dirname;
const TESTS = ["test/store/", "test/server/roles"];
/** A run takes half a minute, and an install on a slow line a few. */
const TIMEOUT_MS = 15 * 60_000;
const EXCLUDED = "test/store/embedded*.test.ts";

const platform = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
const packages = Object.keys(manifest.optionalDependencies).filter((name) =>
  name.endsWith(`-${platform}`),
);
if (packages.length === 0) throw new Error(`There is no PostgreSQL for ${platform}.`);

/** @returns whether it succeeded. */
function run(command: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
  const env = { ...process.env, ...environment };
  return spawnSync(command, args, { stdio: "inherit", env, timeout: TIMEOUT_MS }).status === 0;
}

const options = ["--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"];
if (!run("npm", ["ci", "--prefix", HERE, ...options])) {
  throw new Error("The other versions of PostgreSQL cannot be installed.");
}
const failed = packages.filter((name) => {
  process.stdout.write(`\n${name}\n`);
  const args = ["run", ...TESTS, `--exclude=${EXCLUDED}`, "--reporter=dot"];
  return !run("vitest", [...args, ...process.argv.slice(2)], {
    TEST_POSTGRES_PACKAGE: path.join(HERE, "node_modules", name),
  });
});
process.stdout.write(
  failed.length === 0
    ? `\nThe store's tests pass on ${packages.join(", ")}.\n`
    : `\nThe store's tests fail on ${failed.join(", ")}.\n`,
);
process.exitCode = failed.length === 0 ? 0 : 1;
