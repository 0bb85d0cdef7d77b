/**
 * How statements fail: turns what the driver throws into what the rest of the service may see,
 * and bounds the time that is waited for it.
 */
import postgres from "postgres";
import { StoreUnavailableError } from "../ingest/store.ts";
import { OLDEST_VERSION } from "./session.ts";

/**
 * What PostgreSQL answered, without the statement and without the row that it was about:
 * those hold SQL and what producers sent, which belongs in no log.
 */
export class DatabaseError extends Error {
  override readonly name = "DatabaseError";
  /** The SQLSTATE, such as `23505` (PostgreSQL documentation, appendix A). */
  readonly code: string;
  /** The constraint that was violated, if that was it. */
  readonly constraint: string | undefined;

  constructor(error: postgres.PostgresError) {
    super(`${error.code}: ${error.message}${startAdvice(error.message)}`);
    this.code = error.code;
    this.constraint = error.constraint_name;
  }
}

/** The role may not do what it must. The message names what is missing and how to give it. */
export class MissingGrantError extends Error {
  override readonly name = "MissingGrantError";
}

/** What to do if a session was refused for a setting that it asked for. */
function startAdvice(message: string): string {
  if (message.startsWith("unsupported startup parameter")) {
    return " (behind PgBouncer, add pgbouncer=true to DATABASE_URL)";
  }
  // It is too old for one of session.ts, and so for what follows, too.
  if (message.startsWith("unrecognized configuration parameter")) {
    return ` (use PostgreSQL ${OLDEST_VERSION} or newer)`;
  }
  return "";
}

/**
 * What an error says about the connections of its pool.
 * - `broken`: there is nobody at the other end any more, so they are replaced at once.
 * - `useless`: they work, but none can do what is asked, and new ones perhaps can.
 */
export type EndOfConnections = "broken" | "useless";

/** The server at the other end goes away, or is not there yet. */
const BROKEN = [
  /^08/, // The class of connection exceptions.
  /^57P01$/, // admin_shutdown
  /^57P02$/, // crash_shutdown
  /^57P03$/, // cannot_connect_now
  /^57P04$/, // database_dropped
  /^57P05$/, // idle_session_timeout
];

const USELESS: ReadonlySet<string> = new Set([
  // read_only_sql_transaction: this was the primary once, and behind the same address
  // another is by now.
  "25006",
  // Somebody between gave the connection another session: its prepared statements are gone
  // or are not ours, or a transaction of somebody else is open in it.
  "25001", // active_sql_transaction
  "25P02", // in_failed_sql_transaction
  "26000", // invalid_sql_statement_name
  "42P05", // duplicate_prepared_statement
]);

/**
 * Whether an error ends the connections of its pool (PostgreSQL documentation, appendix A).
 *
 * With any other SQLSTATE the server did answer, and would answer the same on new ones:
 * among them are 40001 and 40P01 (conflicts), 53xxx (no resources, also too many
 * connections, when those that are open are all there will be), 55P03 and 57014 (timeouts
 * of the server's own), and 28xxx and 3D000 (a new connection is refused, and those that
 * are open still work). A session that one of them ended is replaced by the driver.
 */
export function endOfConnections(error: unknown): EndOfConnections | undefined {
  if (!(error instanceof postgres.PostgresError)) {
    return "broken";
  }
  const { code } = error;
  if (BROKEN.some((pattern) => pattern.test(code))) {
    return "broken";
  }
  return USELESS.has(code) ? "useless" : undefined;
}

/** Wraps anything that a statement threw. */
export function toStoreUnavailableError(error: unknown): StoreUnavailableError {
  if (error instanceof StoreUnavailableError) {
    return error;
  }
  const cause = error instanceof postgres.PostgresError ? new DatabaseError(error) : error;
  return new StoreUnavailableError(`The database failed: ${describe(cause)}`, { cause });
}

/** The SQLSTATE with which PostgreSQL failed a statement; `undefined` if it did not. */
export function sqlStateOf(error: unknown): string | undefined {
  const cause = error instanceof StoreUnavailableError ? error.cause : error;
  return cause instanceof DatabaseError ? cause.code : undefined;
}

/**
 * Whether the database refused a row for what is in it: SQLSTATE class 22 is a data
 * exception, 23 a broken constraint, and 54 a limit that the row exceeds.
 */
export function isDataException(error: unknown): boolean {
  return /^(22|23|54)/.test(sqlStateOf(error) ?? "");
}

function describe(cause: unknown): string {
  if (!(cause instanceof Error)) {
    return String(cause);
  }
  // A host with several addresses fails with an error that has a code but no message.
  return cause.message || String((cause as NodeJS.ErrnoException).code ?? cause.name);
}

/**
 * Waits for the database's answer, but no longer than `timeoutMs`. The statement itself is
 * not stopped.
 *
 * @throws StoreUnavailableError when the time is over.
 */
export async function withDeadline<T>(timeoutMs: number, work: PromiseLike<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    // A timer counts whole milliseconds and may fire up to one too early. Whoever compares
    // the time with this deadline when it has passed must find that it has.
    const delayMs = Math.ceil(timeoutMs) + 1;
    timer = setTimeout(() => {
      reject(
        new StoreUnavailableError(
          `The database did not answer within ${timeoutMs} ms; the outcome is unknown`,
        ),
      );
    }, delayMs);
  });
  try {
    return await Promise.race([work, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
