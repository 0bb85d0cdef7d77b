import { defineConfig } from "vitest/config";
import packageJson from "./package.json" with { type: "json" };

const needed = packageJson.engines.node.replace(">=", "");
if (process.versions.node.localeCompare(needed, "en", { numeric: true }) < 0) {
  throw new Error(
    `The tests need Node.js ${needed} or newer, but this is Node.js ${process.versions.node}. "npm test" and "npm exec -- vitest" run them on the one that npm installed.`,
  );
}

/**
 * Tests that take long because they kill processes, stop databases, flood servers or try
 * hundreds of settings. They run by `npm run test:drills`, and before each change lands.
 */
const DRILLS = [
  "test/faults/**/*.test.ts",
  "test/attacks/{heavyBatches,siege}.test.ts",
  "test/cli/hangUp.test.ts",
  "test/packages/{bots,clone}.test.ts",
  "test/server/{roles,ops/logOutput,workers/workers}.test.ts",
  "test/store/{embedded,embeddedPlace,sweep}.test.ts",
];

export default defineConfig({
  test: {
    projects: [
      { extends: true, test: { name: "suite", include: ["test/**/*.test.ts"], exclude: DRILLS } },
      { extends: true, test: { name: "drills", include: DRILLS } },
    ],
    globalSetup: ["test/support/globalSetup.ts"],
    // Tests wait a lot, for deadlines above all, so two at a time are done sooner on any
    // machine; more would starve those that race a clock.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts"],
      // test/coverage.ts adds what started processes did, and judges the whole.
      reporter: ["json"],
      reportsDirectory: "coverage",
    },
  },
});
