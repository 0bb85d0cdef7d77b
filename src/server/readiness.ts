/** Whether the server can do its work now, as health checks of every kind ask. */
import type { Database } from "../store/index.ts";

const DATABASE_TIMEOUT_MS = 2_000;
/** How long a state is taken as current, so that a flood of checks asks the database rarely. */
const READINESS_MAX_AGE_MS = 1_000;

/** Whether the database answers, asked as {@link cachedReadiness} does. */
export function databaseReadiness(
  database: Database,
  monotonicMs: () => number,
): () => Promise<boolean> {
  return cachedReadiness(() => answers(database), monotonicMs);
}

async function answers(database: Database): Promise<boolean> {
  return database
    .query(DATABASE_TIMEOUT_MS, (sql) => sql`SELECT 1`)
    .then(
      () => true,
      () => false,
    );
}

/** Asks at most once a second, and once for all who ask at the same time. */
export function cachedReadiness(
  ask: () => Promise<boolean>,
  monotonicMs: () => number,
): () => Promise<boolean> {
  let answer: Promise<boolean> | undefined;
  let askedMs = 0;
  return function isReady() {
    if (answer === undefined || monotonicMs() - askedMs > READINESS_MAX_AGE_MS) {
      askedMs = monotonicMs();
      answer = ask();
    }
    return answer;
  };
}
