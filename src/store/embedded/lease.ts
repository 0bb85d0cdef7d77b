/**
 * The leases of the processes that use an embedded PostgreSQL: whoever gives up the last one
 * stops it.
 *
 * A lease is an advisory lock, shared, on a connection of its own. PostgreSQL ends it with
 * that connection, however the process ended, so there is nothing to clean up.
 */
import type { Logger } from "pino";
import { resolveServer } from "../connection/server.ts";
import { withDeadline } from "../failure.ts";
import { createPool } from "../pool.ts";
import { NO_FACTS, sessionSettings } from "../session.ts";

export interface LeaseOptions {
  readonly url: string;
  readonly log: Logger;
  /** How long the server may take to give the lease. */
  readonly timeoutMs: number;
  /** Called when the connection is lost, and the lease with it. Not after `release`. */
  readonly onLost: () => void;
}

export interface Lease {
  /**
   * Gives up the lease.
   *
   * @returns whether it was the last one. Nobody then gets another before the server is
   *   stopped: a newcomer waits, loses its connection, and starts the server again.
   * @throws what the driver throws, if the server does not answer.
   */
  release(): Promise<boolean>;
  /** Drops the connection. */
  end(): void;
}

/** Its own number, shared with nothing else. */
const LOCK_KEY = "4850289311207715";

const RELEASE_TIMEOUT_MS = 5_000;

/** @throws what the driver throws, if the server is stopping or does not answer in time. */
export async function acquireLease(options: LeaseOptions): Promise<Lease> {
  let isHeld = false;
  const pool = createPool({
    // One host, so that it is not asked whether it takes writes.
    server: resolveServer(options.url, async () => true),
    size: 1,
    prepare: true,
    // Among them that it may be idle for ever, and no setting of the server ends it.
    sessionSettings: sessionSettings(
      { applicationName: "countersign lease", isPooled: false },
      NO_FACTS,
    ),
    log: options.log,
    onConnectionEnd: () => {
      if (isHeld) {
        isHeld = false;
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
  isHeld = true;

  return {
    async release() {
      isHeld = false;
      // First give up the own share: of two that leave at once, both would see the other's.
      const [row] = await withDeadline(
        RELEASE_TIMEOUT_MS,
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
