import type { RateLimit } from "../../../src/server/auth/rateLimit.ts";

/** Lets everybody pass, for tests that have no database. */
export const NO_LIMIT: RateLimit = {
  admit: async () => undefined,
  admitBatch: async () => undefined,
};
