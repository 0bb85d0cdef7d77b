/**
 * Tells what keeps a database from storing signals as promised, now: at the start, and
 * again and again while the server runs, since settings and roles of servers change.
 */
import type { Database } from "./database.ts";
import { MEANINGS, OLDEST_VERSION } from "./session.ts";

/**
 * What may be wrong with a database.
 * - `version`: it is too old.
 * - `encoding`: it cannot hold every text that a signal may have.
 * - `durability`: a crash can lose what it committed.
 * - `read_only`: it takes no writes, as a standby does.
 * - `session`: a setting changes what statements or their answers mean.
 */
export type DatabaseFaultKind = "version" | "encoding" | "durability" | "read_only" | "session";

/** One thing that is wrong with a database. */
export interface DatabaseFault {
  readonly kind: DatabaseFaultKind;
  /** A sentence that says how to fix it. */
  readonly message: string;
}

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

/** Whether a value of a setting is as good as the one that sessions ask for. */
const IS_RIGHT: Readonly<Partial<Record<keyof typeof MEANINGS, (value: string) => boolean>>> = {
  DateStyle: (value) => value.startsWith("ISO"),
  extra_float_digits: (value) => Number(value) >= 1,
};

const SETTINGS = [
  "server_version",
  "server_version_num",
  "server_encoding",
  "fsync",
  "full_page_writes",
  "transaction_read_only",
  "in_hot_standby",
] as const;

/**
 * Looks whether a commit is on disk when the database says so, whether it takes writes, can
 * hold every text that a signal may have, is recent enough, and means what we mean.
 *
 * `synchronous_commit` is not looked at: each statement sets it for itself, so that it takes
 * nothing away from a server that runs when it is turned off.
 *
 * @returns all that is wrong; empty if nothing is.
 * @throws StoreUnavailableError
 */
export async function findFaults(
  database: Database,
  timeoutMs = 10_000,
): Promise<readonly DatabaseFault[]> {
  const names = `{${[...SETTINGS, ...Object.keys(MEANINGS)].join(",")}}`;
  // An older server has not all of them, which its version explains.
  const rows = await database.query<{ readonly name: string; readonly value: string | null }>(
    timeoutMs,
    (sql) => sql`
      SELECT name, current_setting(name, true) AS value FROM unnest(${names}::text[]) AS names (name)
    `,
  );
  const values = new Map(rows.map(({ name, value }) => [name, value]));
  const settingOf = (name: (typeof SETTINGS)[number] | keyof typeof MEANINGS) =>
    values.get(name) ?? "unknown";
  return [...findServerFaults(settingOf), ...findSessionFaults(settingOf)];
}

/**
 * Refuses a database that has any fault, at a start. `synchronous_commit` may then not be off,
 * either: whoever turned it off means to lose commits, and should know that none will be.
 *
 * @throws UnsafeDatabaseError naming all that is wrong at once.
 * @throws StoreUnavailableError
 */
export async function assertSafe(database: Database, timeoutMs = 10_000): Promise<void> {
  const faults = await findFaults(database, timeoutMs);
  const problems = faults.map(({ message }) => message);
  const [found] = await database.query<{ readonly is_off: boolean }>(
    timeoutMs,
    (sql) => sql`SELECT current_setting('synchronous_commit') = 'off' AS is_off`,
  );
  if (found?.is_off) {
    problems.push(
      "synchronous_commit is off, so a crash can lose what was committed: set it to on where it was turned off (ALTER SYSTEM, ALTER DATABASE, ALTER ROLE or the connection URL).",
    );
  }
  if (problems.length > 0) throw new UnsafeDatabaseError(problems);
}

function findServerFaults(
  settingOf: (name: (typeof SETTINGS)[number]) => string,
): readonly DatabaseFault[] {
  const faults: DatabaseFault[] = [];
  if (!(Number(settingOf("server_version_num")) >= OLDEST_VERSION * 10_000)) {
    const message = `It is PostgreSQL ${settingOf("server_version")}: use ${OLDEST_VERSION} or newer.`;
    faults.push({ kind: "version", message });
  }
  const encoding = settingOf("server_encoding");
  if (encoding !== "UTF8") {
    const message = `Its encoding is ${encoding}: create the database with ENCODING 'UTF8' TEMPLATE template0.`;
    faults.push({ kind: "encoding", message });
  }
  for (const name of ["fsync", "full_page_writes"] as const) {
    if (settingOf(name) !== "on") {
      const message = `${name} is ${settingOf(name)}, so a crash can lose acknowledged signals: run ALTER SYSTEM SET ${name} = on and SELECT pg_reload_conf(), and see that no command-line option turns it off.`;
      faults.push({ kind: "durability", message });
    }
  }
  if (settingOf("in_hot_standby") === "on") {
    const message =
      "It is a standby, which takes no writes: DATABASE_URL must lead to the primary.";
    faults.push({ kind: "read_only", message });
  } else if (settingOf("transaction_read_only") !== "off") {
    const message =
      "It is read-only, since default_transaction_read_only is on: turn it off where it was turned on (ALTER SYSTEM, ALTER DATABASE or ALTER ROLE) once writes are wanted.";
    faults.push({ kind: "read_only", message });
  }
  return faults;
}

/** Sessions ask for what they need, so one has something else only where a pooler sets it up. */
function findSessionFaults(
  settingOf: (name: keyof typeof MEANINGS) => string,
): readonly DatabaseFault[] {
  return Object.entries(MEANINGS).flatMap(([key, wanted]) => {
    const name = key as keyof typeof MEANINGS;
    const value = settingOf(name);
    const isRight = value === wanted || IS_RIGHT[name]?.(value) === true;
    const message = `${name} is ${value}: set it to '${wanted}' where it was changed (ALTER SYSTEM, ALTER DATABASE, ALTER ROLE or the connection pooler).`;
    return isRight ? [] : [{ kind: "session", message } as const];
  });
}

/**
 * How many connections the database lets ordinary users open at a time, all programs
 * together: all but those that it keeps for its administrators.
 *
 * @throws StoreUnavailableError
 */
export async function connectionLimit(database: Database, timeoutMs = 10_000): Promise<number> {
  const [row] = await database.query<{ limit: number }>(
    timeoutMs,
    (sql) => sql`
      SELECT current_setting('max_connections')::integer
        - current_setting('superuser_reserved_connections')::integer AS limit
    `,
  );
  return row?.limit ?? Number.POSITIVE_INFINITY;
}
