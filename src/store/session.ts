/**
 * The settings of a session that the statements here rely on.
 *
 * A server, a database and a role may have settings of their own, and some of them change
 * what a statement means or how its answer is written. What a session asks for when it
 * starts outranks them all, also those that are changed later (PostgreSQL documentation,
 * section 20.1), and takes no message of its own.
 *
 * PgBouncer passes on only the few that it knows. Behind it, the rest is checked instead:
 * see safety.ts.
 *
 * Left as they are found: `synchronous_commit`, see {@link DURABLE_COMMIT}; `role`, since an
 * administrator sets it to say to whom the tables belong; and
 * `default_transaction_read_only`, since whoever sets it wants nothing to be written.
 */
import type { Sql } from "./pool.ts";

/** The oldest PostgreSQL that the migrations are tested with. */
export const OLDEST_VERSION = 15;

/** What only the server can tell, and the settings of a session depend on. */
export interface ServerFacts {
  /** Such as 18; `undefined` if it is not known. */
  readonly majorVersion: number | undefined;
  /** The schemas that unqualified names are looked up in, as a value of `search_path`. */
  readonly searchPath: string | undefined;
}

export const NO_FACTS: ServerFacts = { majorVersion: undefined, searchPath: undefined };

/** What sets up a session. */
export interface SessionOptions {
  readonly applicationName: string;
  /** Whether PgBouncer is between, which refuses settings that it does not know. */
  readonly isPooled: boolean;
}

/** Those that PgBouncer passes on, whatever its version and mode. */
const PASSED_ON = {
  DateStyle: "ISO, MDY",
  standard_conforming_strings: "on",
  TimeZone: "UTC",
} as const;

/**
 * With another value of these, what is stored or read would be another value, or no session
 * would see what was committed while it waited.
 */
export const MEANINGS = {
  array_nulls: "on",
  bytea_output: "hex",
  DateStyle: PASSED_ON.DateStyle,
  default_transaction_isolation: "read committed",
  // From 1 on, a double is written so that reading it gives the same double.
  extra_float_digits: "1",
  standard_conforming_strings: PASSED_ON.standard_conforming_strings,
} as const;

/** PostgreSQL's own values but for jit, so that no other costs time or ends a session. */
const COMFORTS = {
  IntervalStyle: "postgres",
  timezone_abbreviations: "Default",
  backslash_quote: "safe_encoding",
  escape_string_warning: "on",
  quote_all_identifiers: "off",
  transform_null_equals: "off",
  xmloption: "content",
  row_security: "on",
  check_function_bodies: "on",
  default_transaction_deferrable: "off",
  exit_on_error: "off",
  client_min_messages: "notice",
  plan_cache_mode: "auto",
  // To compile these short statements takes longer than to run them.
  jit: "off",
  // As text, since the driver leaves out what is falsy.
  idle_session_timeout: "0",
  idle_in_transaction_session_timeout: "0",
  client_connection_check_interval: "0",
  tcp_user_timeout: "0",
  "plpgsql.extra_errors": "none",
  "plpgsql.extra_warnings": "none",
} as const;

/** After how long the server itself gives up on a statement, and on waiting for a lock. */
const TIMEOUTS_MS = { statement_timeout: 10_000, lock_timeout: 5_000 } as const;

/** What to ask for when a session starts. */
export function sessionSettings(
  options: SessionOptions,
  { majorVersion, searchPath }: ServerFacts,
): Record<string, string | number> {
  const name = { application_name: options.applicationName };
  if (options.isPooled) {
    return { ...name, ...PASSED_ON };
  }
  return {
    ...name,
    ...PASSED_ON,
    ...MEANINGS,
    ...COMFORTS,
    ...TIMEOUTS_MS,
    ...(searchPath !== undefined && { search_path: searchPath }),
    // A server refuses a session that asks for what it does not know.
    ...((majorVersion ?? 0) >= 17 && { transaction_timeout: "0" }),
  };
}

/** Where PostgreSQL itself looks if nothing else is set. */
const DEFAULT_SEARCH_PATH = '"$user", public';

/** Asks for the {@link ServerFacts} in a session without them. */
export function askFacts(sql: Sql) {
  return sql<{ readonly version: number; readonly schemas: string | null }[]>`
    SELECT
      current_setting('server_version_num')::integer / 10000 AS version,
      coalesce(
        -- Only schemas that are there and may be used. In those of the system, and among
        -- temporary tables, nothing is kept.
        (
          SELECT string_agg(quote_ident(name), ', ' ORDER BY place)
          FROM unnest(current_schemas(false)) WITH ORDINALITY AS schemas (name, place)
          WHERE name !~ '^(pg_|information_schema$)'
        ),
        -- One that is there and may not be used is meant all the same.
        (
          SELECT current_setting('search_path') FROM pg_namespace
          WHERE nspname !~ '^(pg_|information_schema$)' AND nspname IN (
            SELECT trim(BOTH ' "' FROM part)
            FROM regexp_split_to_table(current_setting('search_path'), ',') AS part
          )
          LIMIT 1
        )
      ) AS schemas
  `;
}

/** The facts of an answer to {@link askFacts}. */
export function toFacts(
  row: { readonly version: number; readonly schemas: string | null } | undefined,
): ServerFacts {
  return { majorVersion: row?.version, searchPath: row?.schemas ?? DEFAULT_SEARCH_PATH };
}

/** The major version that a server tells when a session starts, such as `18.4`. */
export function parseMajorVersion(text: string | undefined): number | undefined {
  const version = Number.parseInt(text ?? "", 10);
  return Number.isNaN(version) ? undefined : version;
}

/**
 * An expression that makes the commit of its transaction wait until it is on disk, whatever
 * `synchronous_commit` is, and wherever and whenever it was set. Every statement that
 * changes something has it, so that it also holds in sessions that others set up, as
 * PgBouncer does. Where commits wait for a standby to apply them, they still do.
 *
 * The clause SET of a function would not do: it ends with the function, before the commit.
 */
export const DURABLE_COMMIT =
  "set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)";

/** {@link DURABLE_COMMIT} as a part of a statement. */
export function durableCommit(sql: Sql) {
  return sql.unsafe(DURABLE_COMMIT);
}
