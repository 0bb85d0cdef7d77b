/**
 * Coverage of the programs that tests start as processes of their own, above all the
 * command line: Node writes what it ran into a folder, and `test/coverage.ts` adds it to
 * what the test runner saw.
 */
import { inject } from "vitest";

declare module "vitest" {
  interface ProvidedContext {
    /** Where processes leave their coverage; `undefined` when none is measured. */
    processCoverageDir: string | undefined;
  }
}

/** The environment that makes Node measure, for `spawn`; empty when nothing is measured. */
export function coverageEnv(): NodeJS.ProcessEnv {
  const dir = inject("processCoverageDir");
  return dir === undefined ? {} : { NODE_V8_COVERAGE: dir };
}
