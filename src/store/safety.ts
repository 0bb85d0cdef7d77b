/**
 * Refuses a database that would acknowledge what is not on disk.
 */
import type { Database } from "./database.ts";

/** The database's settings break a promise of the service. The message says how to fix it. */
export class UnsafeDatabaseError extends Error {
  override readonly name = "UnsafeDatabaseError";
  /** One sentence for each thing that is wrong. */
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`The database is not safe to use. ${problems.join(" ")}`);
    this.problems = problems;
  }
}

/** The oldest PostgreSQL that the migrations are tested with. */
const OLDEST_VERSION = 15;

interface Settings {
  readonly version: string;
  readonly version_number: number;
  readonly encoding: string;
  readonly fsync: string;
  readonly full_page_writes: string;
  readonly synchronous_commit: string;
  readonly default_transaction_isolation: string;
}

/**
 * Checks that a commit is on disk when the database says so, that it can hold every text
 * that a signal may have, and that it is recent enough.
 *
 * @throws UnsafeDatabaseError naming all that is wrong at once.
 * @throws StoreUnavailableError
 */
export async function assertSafe(database: Database, timeoutMs = 10_000): Promise<void> {
  const [settings] = await database.query<Settings>(
    timeoutMs,
    (sql) => sql`
      SELECT
        current_setting('server_version') AS version,
        current_setting('server_version_num')::integer / 10000 AS version_number,
        current_setting('server_encoding') AS encoding,
        current_setting('fsync') AS fsync,
        current_setting('full_page_writes') AS full_page_writes,
        current_setting('synchronous_commit') AS synchronous_commit,
        current_setting('default_transaction_isolation') AS default_transaction_isolation
    `,
  );
  const problems = settings ? findProblems(settings) : ["It does not tell its settings."];
  if (problems.length > 0) {
    throw new UnsafeDatabaseError(problems);
  }
}

function findProblems(settings: Settings): string[] {
  const problems: string[] = [];
  if (settings.version_number < OLDEST_VERSION) {
    problems.push(`It is PostgreSQL ${settings.version}: use ${OLDEST_VERSION} or newer.`);
  }
  if (settings.encoding !== "UTF8") {
    problems.push(
      `Its encoding is ${settings.encoding}: create the database with ENCODING 'UTF8' TEMPLATE template0.`,
    );
  }
  for (const name of ["fsync", "full_page_writes"] as const) {
    if (settings[name] !== "on") {
      problems.push(
        `${name} is ${settings[name]}, so a crash can lose acknowledged signals: run ALTER SYSTEM SET ${name} = on and SELECT pg_reload_conf(), and see that no command-line option turns it off.`,
      );
    }
  }
  // Every other value waits for this server's own disk at least.
  if (settings.synchronous_commit === "off") {
    problems.push(
      "synchronous_commit is off, so a crash can lose acknowledged signals: set it to on where it was turned off (ALTER SYSTEM, ALTER DATABASE, ALTER ROLE or the connection URL).",
    );
  }
  // The storing function must see what was committed while it waited for its lock.
  if (settings.default_transaction_isolation !== "read committed") {
    problems.push(
      `default_transaction_isolation is ${settings.default_transaction_isolation}: set it to 'read committed' where it was changed (ALTER SYSTEM, ALTER DATABASE or ALTER ROLE).`,
    );
  }
  return problems;
}
