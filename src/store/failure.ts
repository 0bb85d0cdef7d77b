/**
 * Turns what the driver throws into what the rest of the service may see.
 */
import postgres from "postgres";
import { StoreUnavailableError } from "../ingest/store.ts";

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
    super(`${error.code}: ${error.message}`);
    this.code = error.code;
    this.constraint = error.constraint_name;
  }
}

/**
 * Whether the connection is of no more use, so that its pool must be replaced. SQLSTATE
 * class 08 is a connection exception and 57P a server that shuts down, crashed or starts;
 * with any other SQLSTATE, the server did answer and the connection is fine.
 */
export function isConnectionFailure(error: unknown): boolean {
  return !(error instanceof postgres.PostgresError) || /^(08|57P)/.test(error.code);
}

/** Wraps anything that a statement threw. */
export function toStoreUnavailableError(error: unknown): StoreUnavailableError {
  if (error instanceof StoreUnavailableError) {
    return error;
  }
  const cause = error instanceof postgres.PostgresError ? new DatabaseError(error) : error;
  return new StoreUnavailableError(`The database failed: ${describe(cause)}`, { cause });
}

/**
 * Whether the database refused a row for what is in it: SQLSTATE class 22 is a data
 * exception, 23 a broken constraint, and 54 a limit that the row exceeds.
 */
export function isDataException(error: unknown): boolean {
  const cause = error instanceof StoreUnavailableError ? error.cause : error;
  return cause instanceof DatabaseError && /^(22|23|54)/.test(cause.code);
}

function describe(cause: unknown): string {
  if (!(cause instanceof Error)) {
    return String(cause);
  }
  // A host with several addresses fails with an error that has a code but no message.
  return cause.message || String((cause as NodeJS.ErrnoException).code ?? cause.name);
}
