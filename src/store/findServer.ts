/** The server of a URL: where there are several hosts, the one that takes writes. */
import type { Logger } from "pino";
import { type DatabaseServer, resolveServer, type SessionTerms } from "./connection/server.ts";
import { withDeadline } from "./failure.ts";
import { createPool } from "./pool.ts";

/**
 * Opens no connection yet.
 *
 * @throws DatabaseUrlError if the URL is wrong, or a file that it names.
 */
export function findServer(url: string, log: Logger): DatabaseServer & SessionTerms {
  return resolveServer(url, (host) => takesWrites(host, log));
}

/** Asks a host that is one of several, on a connection of its own. */
async function takesWrites(server: DatabaseServer, log: Logger): Promise<boolean> {
  const sessionSettings = { application_name: "countersign host check" };
  const pool = createPool({ server, size: 1, prepare: false, sessionSettings, log });
  try {
    const [row] = await withDeadline(
      2 * server.connectTimeoutMs,
      pool.sql<{ takes_writes: boolean }[]>`
        SELECT NOT pg_is_in_recovery()
          AND current_setting('transaction_read_only') = 'off' AS takes_writes
      `,
    );
    return row?.takes_writes ?? false;
  } finally {
    pool.destroy();
  }
}
