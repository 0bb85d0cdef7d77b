/**
 * The connection to PostgreSQL: every statement has a deadline, and service resumes by
 * itself when the database is back.
 *
 * A stalled server hangs statements for ever, even past its own `statement_timeout`, and
 * the driver then waits with it. So each statement is raced against a clock here. When
 * the clock wins, or a connection breaks, the pool is retired: new statements go to a
 * fresh pool at once, and the old one is destroyed when the last statement on it has
 * ended, which is bounded by that statement's own deadline, or when the next is retired.
 *
 * A deadline too short for a busy server to keep says nothing about its connections: such
 * a statement fails alone. Else a few impatient callers could take them from all others.
 *
 * The first connection only finds out what the settings of all others depend on; see
 * session.ts.
 *
 * A statement that missed its deadline may still commit later, on a server that was only
 * slow. Whoever gets a {@link StoreUnavailableError} does not know the outcome and may
 * only repeat what is harmless to repeat.
 */
import { setImmediate } from "node:timers/promises";
import type { Logger } from "pino";
import type postgres from "postgres";
import { StoreUnavailableError } from "../ingest/store.ts";
import type { DatabaseServer, SessionTerms } from "./connection/server.ts";
import {
  type EndOfConnections,
  endOfConnections,
  toStoreUnavailableError,
  withDeadline,
} from "./failure.ts";
import { findServer } from "./findServer.ts";
import { createPool, type Pool, type Sql } from "./pool.ts";
import {
  askFacts,
  NO_FACTS,
  parseMajorVersion,
  type ServerFacts,
  sessionSettings,
  toFacts,
} from "./session.ts";

export interface DatabaseOptions {
  /** `postgres://user:password@host:port/database`; docs/operations.md tells what it may have. */
  readonly url: string;
  /** The most connections at a time, at least 1. While a retired pool ends, twice as many. */
  readonly poolSize: number;
  readonly log: Logger;
  /** What `pg_stat_activity` shows, unless the URL says it. Default `countersign`. */
  readonly applicationName?: string;
  /**
   * How long a statement must have waited in vain for the connections to count as stalled.
   * Default 2,000 ms.
   */
  readonly stallTimeoutMs?: number;
}

/** How the connections are used at a moment. */
export interface DatabaseUsage {
  /** Connections that are open or being opened, also those that are about to be dropped. */
  readonly connections: number;
  /** Statements that wait for their answer, or for a connection. */
  readonly statements: number;
}

export interface Database {
  readonly usage: DatabaseUsage;

  /**
   * Runs one statement, which is one transaction.
   *
   * @param timeoutMs how long to wait for the answer, above 0.
   * @throws StoreUnavailableError if it failed or did not end in time. In the second
   *   case, and if the connection broke, whether it took effect is unknown.
   */
  query<Row extends object>(
    timeoutMs: number,
    statement: (sql: Sql) => postgres.PendingQuery<Row[]>,
  ): Promise<readonly Row[]>;

  /**
   * Gives up the connections as after a failure: statements that come later go over new
   * ones. Does nothing within a second of the last time.
   *
   * @param cause for the log.
   */
  reconnect(cause: string): void;

  /**
   * Lets running statements finish for at most `timeoutMs` (default 5,000), then drops
   * every connection. Statements that come later are refused.
   */
  close(timeoutMs?: number): Promise<void>;
}

const DEFAULT_CLOSE_TIMEOUT_MS = 5_000;

/**
 * Longer than a healthy server takes, however busy, and no longer than the shortest deadline
 * that the service sets itself: that of its readiness check, which finds a stall even if
 * nobody else waits so long.
 */
const DEFAULT_STALL_TIMEOUT_MS = 2_000;

/**
 * How old connections must be to be given up because of an answer. A server that answers so
 * to all would else be asked for new ones as fast as it can answer.
 */
const RECONNECT_INTERVAL_MS = 1_000;
/** After how long without replacements of a kind the log tells of them again. */
const REPLACEMENT_SILENCE_MS = 60_000;

/** A pool, and how many statements wait for its answer. */
interface PoolInUse {
  readonly pool: Pool;
  readonly openedMs: number;
  waiting: number;
  retired: boolean;
}

/**
 * Opens no connection yet, so it succeeds while the database is away.
 *
 * @throws DatabaseUrlError if the URL is wrong, or a file that it names.
 */
export function openDatabase(options: DatabaseOptions): Database {
  const server = findServer(options.url, options.log);
  const stallTimeoutMs = options.stallTimeoutMs ?? DEFAULT_STALL_TIMEOUT_MS;
  const isPooled = !server.prepare;
  const pools = new Set<PoolInUse>();
  // In sessions of PgBouncer, nothing could be set that depends on them.
  let hasFacts = isPooled;
  let facts: ServerFacts = NO_FACTS;
  let findingFacts: Promise<void> | undefined;
  const replacedMs: Partial<Record<EndOfConnections, number>> = {};
  let current = addPool();
  let closed = false;

  function addPool(): PoolInUse {
    const pool = createPool(poolOptions(options, server, facts, isPooled));
    const inUse = { pool, openedMs: performance.now(), waiting: 0, retired: false };
    pools.add(inUse);
    return inUse;
  }

  function replace(inUse: PoolInUse): void {
    for (const other of pools) {
      if (other.retired) {
        destroy(other);
      }
    }
    inUse.retired = true;
    current = addPool();
    destroyIfUnused(inUse);
  }

  function retire(inUse: PoolInUse, cause: string, end: EndOfConnections): void {
    if (inUse.retired || closed) {
      return;
    }
    replace(inUse);
    const nowMs = performance.now();
    const silenceMs = nowMs - (replacedMs[end] ?? Number.NEGATIVE_INFINITY);
    replacedMs[end] = nowMs;
    // A server may stay away for hours, and each statement finds that out again.
    const level = silenceMs < REPLACEMENT_SILENCE_MS ? "debug" : "warn";
    options.log[level]({ cause }, "database connections are replaced");
  }

  function reconnect(inUse: PoolInUse, cause: string): void {
    if (performance.now() - inUse.openedMs >= RECONNECT_INTERVAL_MS) {
      retire(inUse, cause, "useless");
    }
  }

  function destroyIfUnused(inUse: PoolInUse): void {
    if (inUse.retired && inUse.waiting === 0) {
      destroy(inUse);
    }
  }

  /** What still runs on it fails, and some of it may still commit. */
  function destroy(inUse: PoolInUse): void {
    if (pools.delete(inUse)) {
      inUse.pool.destroy();
    }
  }

  /** Runs a statement on a pool. @throws StoreUnavailableError */
  async function run<Row extends object>(
    inUse: PoolInUse,
    timeoutMs: number,
    statement: (sql: Sql) => postgres.PendingQuery<Row[]>,
  ): Promise<readonly Row[]> {
    // What this throws is a mistake of the caller and no failure of the database.
    const work = statement(inUse.pool.sql);
    inUse.waiting += 1;
    try {
      return await withDeadline(timeoutMs, work);
    } catch (error) {
      const failure = toStoreUnavailableError(error);
      const isImpatient = error instanceof StoreUnavailableError && timeoutMs < stallTimeoutMs;
      const end = endOfConnections(error);
      if (end === "broken" && !isImpatient) {
        retire(inUse, failure.message, end);
      } else if (end === "useless") {
        reconnect(inUse, failure.message);
      }
      throw failure;
    } finally {
      inUse.waiting -= 1;
      destroyIfUnused(inUse);
    }
  }

  async function findFacts(timeoutMs: number): Promise<void> {
    const { pool } = current;
    try {
      const [row] = await run(current, timeoutMs, askFacts);
      facts = toFacts(row);
      hasFacts = true;
      replaceUnlessClosed();
    } catch (error) {
      const majorVersion = parseMajorVersion(pool.serverVersion);
      if (majorVersion === undefined || facts.majorVersion !== undefined) {
        throw error;
      }
      // It was told before the session failed, and perhaps is what the session lacked.
      facts = { ...facts, majorVersion };
      replaceUnlessClosed();
      await findFacts(timeoutMs);
    }
  }

  function replaceUnlessClosed(): void {
    if (!closed) {
      replace(current);
    }
  }

  return {
    get usage() {
      const inUse = [...pools];
      return {
        connections: inUse.reduce((sum, { pool }) => sum + pool.connections, 0),
        statements: inUse.reduce((sum, { waiting }) => sum + waiting, 0),
      };
    },

    async query(timeoutMs, statement) {
      if (closed) {
        throw new StoreUnavailableError("The database connection is closed");
      }
      if (hasFacts) {
        return run(current, timeoutMs, statement);
      }
      const startMs = performance.now();
      findingFacts ??= findFacts(Math.max(timeoutMs, stallTimeoutMs)).finally(() => {
        findingFacts = undefined;
      });
      await withDeadline(timeoutMs, findingFacts);
      return run(current, Math.max(1, timeoutMs - (performance.now() - startMs)), statement);
    },

    reconnect: (cause) => reconnect(current, cause),

    async close(timeoutMs = DEFAULT_CLOSE_TIMEOUT_MS) {
      closed = true;
      // What waits for the first connection is under way, too, and is handed on when it is there.
      await withDeadline(timeoutMs, Promise.allSettled([findingFacts])).catch(() => undefined);
      await setImmediate();
      await Promise.all([...pools].map(({ pool }) => pool.end(timeoutMs)));
      pools.clear();
    },
  };
}

function poolOptions(
  options: DatabaseOptions,
  server: DatabaseServer & SessionTerms,
  facts: ServerFacts,
  isPooled: boolean,
) {
  const applicationName = server.applicationName ?? options.applicationName ?? "countersign";
  return {
    server,
    size: options.poolSize,
    prepare: !isPooled,
    // The URL cannot ask for anything that changes what is stored or read.
    sessionSettings: {
      ...sessionSettings({ applicationName, isPooled }, facts),
      ...server.sessionSettings,
    },
    log: options.log,
  };
}
