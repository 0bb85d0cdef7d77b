/**
 * Counts the processes that use an embedded PostgreSQL, so that the last one to leave
 * stops it.
 *
 * Each holds an advisory lock, shared, on a connection of its own. PostgreSQL gives it up
 * when that connection ends, however the process ended, so nothing has to be tidied.
 */
import type { Logger } from "pino";
import { resolveServer } from "../connection/server.ts";
import { withDeadline } from "../deadline.ts";
import { createPool } from "../pool.ts";
import { NO_FACTS, sessionSettings } from "../session.ts";

export interface AttendanceOptions {
  readonly url: string;
  readonly log: Logger;
  /** How long the server may take to let this process in. */
  readonly timeoutMs: number;
  /** Called when the connection is lost, and the lock with it. Not after `leave`. */
  readonly onLost: () => void;
}

export interface Attendance {
  /**
   * Gives up the lock.
   *
   * @returns whether nobody else holds it. Nobody then gets it either before the server
   *   is stopped: a newcomer waits, loses its connection, and starts the server anew.
   * @throws what the driver throws, if the server does not answer.
   */
  leave(): Promise<boolean>;
  /** Drops the connection. */
  end(): void;
}

/** Its own number, shared with nothing else. */
const LOCK_KEY = "4850289311207715";

const LEAVE_TIMEOUT_MS = 5_000;

/** @throws what the driver throws, if the server is stopping or does not answer in time. */
export async function attend(options: AttendanceOptions): Promise<Attendance> {
  let isPresent = false;
  const pool = createPool({
    // One host, so that it is not asked whether it takes writes.
    server: resolveServer(options.url, async () => true),
    size: 1,
    prepare: true,
    // Among them that it may be idle for ever, and no setting of the server ends it.
    sessionSettings: sessionSettings(
      {
        applicationName: "countersign attendance",
        statementTimeoutMs: options.timeoutMs,
        lockTimeoutMs: options.timeoutMs,
        isPooled: false,
      },
      NO_FACTS,
    ),
    log: options.log,
    onConnectionEnd: () => {
      if (isPresent) {
        isPresent = false;
        pool.destroy();
        options.onLost();
      }
    },
  });
  const { sql } = pool;
  try {
    await withDeadline(options.timeoutMs, sql`SELECT pg_advisory_lock_shared(${LOCK_KEY}::bigint)`);
  } catch (error) {
    pool.destroy();
    throw error;
  }
  isPresent = true;

  return {
    async leave() {
      isPresent = false;
      // First give up the own share: of two that leave at once, both would see the other's.
      const [row] = await withDeadline(
        LEAVE_TIMEOUT_MS,
        sql<{ is_last: boolean }[]>`
          SELECT pg_advisory_unlock_shared(${LOCK_KEY}::bigint) AS was_held,
            pg_try_advisory_lock(${LOCK_KEY}::bigint) AS is_last
        `,
      );
      return row?.is_last ?? false;
    },
    end: pool.destroy,
  };
}
