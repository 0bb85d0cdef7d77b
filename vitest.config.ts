import { defineConfig } from "vitest/config";
import packageJson from "./package.json" with { type: "json" };

const needed = packageJson.engines.node.replace(">=", "");
if (process.versions.node.localeCompare(needed, "en", { numeric: true }) < 0) {
  throw new Error(
    `The tests need Node.js ${needed} or newer, but this is Node.js ${process.versions.node}. "npm test" and "npm exec -- vitest" run them on the one that npm installed.`,
  );
}

/**
 * Three tiers of tests, each with a script. A test belongs to a tier by its folder; only where
 * a folder has tests of another tier are they named here.
 *
 * The files of `unit` and `suite` share the modules that they import, which takes a third of
 * their time off: a test leaves nothing behind in them.
 *
 * - `unit` (`npm run test:unit`) starts no database and no process.
 * - `suite` comes to it in `npm test`.
 * - `drills` (`npm run test:drills`) take long, because they kill processes, stop databases,
 *   flood servers or try hundreds of settings. They run before each change lands.
 */
const DRILLS = [
  "test/faults/**/*.test.ts",
  "test/attacks/{heavyBatches,rotation,siege,timing}.test.ts",
  "test/cli/hangUp.test.ts",
  "test/packages/{bots,clone}.test.ts",
  "test/server/{roles,ops/logOutput,workers/workers}.test.ts",
  "test/store/{embedded,embeddedPlace,sweep}.test.ts",
  // Each of these waits or starts processes for long.
  "test/attacks/{failedProofs,limits,packets,tokens}.test.ts",
  "test/docs/access.test.ts",
  "test/interop/rateLimit.test.ts",
  "test/packages/packed.test.ts",
  "test/server/{certificate,http/tlsSuites}.test.ts",
];
const UNIT = [
  "test/{access,ingest,signal,signing}/**/*.test.ts",
  "test/alerts/!(alerts).test.ts",
  "test/client/{alerts,retry,telemetry}/!(clockSkew|deliveryError).test.ts",
  "test/client/!(foreign|lifecycle|strictness).test.ts",
  "test/client/outbox/!(damage|lock|outbox|wrongClock).test.ts",
  "test/server/auth/{accessDirectory,bearer,rateLimit,refusedAttempts,useRecorder}.test.ts",
  "test/server/{http,rpc}/{address,allowance,body,crossSite,decode,pool}.test.ts",
  "test/server/services/{batchParts,newSecret,pages,turns}.test.ts",
  "test/server/{ops,rest,workers}/{nearNames,portClaim,purger,readableLine,replaceDelays}.test.ts",
];

/** Starts the database that the tests of a tier share. */
const DATABASE = ["test/support/globalSetup.ts"];

/** Fails each test of `npm test` during which a secret shows. */
const SECRECY = ["test/support/secrecy/setup.ts"];

export default defineConfig({
  test: {
    projects: [
      {
        extends: true,
        test: { name: "unit", include: UNIT, isolate: false, setupFiles: SECRECY },
      },
      {
        extends: true,
        test: {
          name: "suite",
          include: ["test/**/*.test.ts"],
          exclude: [...UNIT, ...DRILLS],
          isolate: false,
          setupFiles: SECRECY,
          globalSetup: DATABASE,
        },
      },
      { extends: true, test: { name: "drills", include: DRILLS, globalSetup: DATABASE } },
    ],
    // Tests wait a lot, for deadlines above all, so that two cores have time for three files.
    maxWorkers: 3,
    // They only tell that something hangs, also on a machine that is busy.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts"],
      // test/coverage.ts adds what started processes did, and judges the whole.
      reporter: ["json"],
      reportsDirectory: "coverage",
    },
  },
});
