import type { Sql } from "./pool.ts";

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
