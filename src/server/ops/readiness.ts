/** Whether the server can do its work now, as health checks of every kind ask. */
import type { Logger } from "pino";
import { type Database, type DatabaseFaultKind, findFaults } from "../../store/index.ts";

const DATABASE_TIMEOUT_MS = 2_000;
/** How long a state is taken as current, so that a flood of checks asks the database rarely. */
const READINESS_MAX_AGE_MS = 1_000;
/** How often it is looked at the database while nobody asks. */
const WATCH_INTERVAL_MS = 2_000;

/** Why no signal can be stored: a fault of the database, or it does not answer in time. */
export type DatabaseProblem = DatabaseFaultKind | "unreachable";

/** A database that is looked at again and again. */
export interface DatabaseWatch {
  /** Whether signals can be stored now, asked as {@link cachedReadiness} does. */
  readonly isReady: () => Promise<boolean>;
  /** What was wrong at the last look. */
  readonly problems: ReadonlySet<DatabaseProblem>;
  /** Looks no more by itself. */
  close(): void;
}

/** What {@link watchDatabase} is made of. */
export interface DatabaseWatchOptions {
  readonly database: Database;
  readonly monotonicMs: () => number;
  /** Told when something is wrong, when that changes, and when all is well again. */
  readonly log: Logger;
}

/**
 * Looks at a database from now on. One that takes no writes any more gets new connections,
 * which may lead to another server by then.
 */
export function watchDatabase({ database, monotonicMs, log }: DatabaseWatchOptions): DatabaseWatch {
  let problems = new Map<DatabaseProblem, string>();

  async function look(): Promise<boolean> {
    const found = await findProblems(database);
    const readOnly = found.get("read_only");
    if (readOnly !== undefined) database.reconnect(readOnly);
    const isChanged = [...found.keys()].join() !== [...problems.keys()].join();
    problems = found;
    if (isChanged && found.size > 0) {
      log.error({ problems: Object.fromEntries(found) }, "database cannot store signals now");
    } else if (isChanged) {
      log.info("database can store signals again");
    }
    return found.size === 0;
  }

  const isReady = cachedReadiness(look, monotonicMs);
  const timer = setInterval(() => void isReady(), WATCH_INTERVAL_MS).unref();
  return {
    isReady,
    get problems() {
      return new Set(problems.keys());
    },
    close: () => clearInterval(timer),
  };
}

/** What is wrong, each with a sentence. Never rejects. */
async function findProblems(database: Database): Promise<Map<DatabaseProblem, string>> {
  try {
    const faults = await findFaults(database, DATABASE_TIMEOUT_MS);
    const byKind = Map.groupBy(faults, ({ kind }) => kind);
    return new Map(
      [...byKind].map(([kind, of]) => [kind, of.map(({ message }) => message).join(" ")]),
    );
  } catch (error) {
    return new Map([["unreachable", error instanceof Error ? error.message : String(error)]]);
  }
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
