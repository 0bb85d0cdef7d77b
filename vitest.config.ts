import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["dist/**", "node_modules/**"],
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
