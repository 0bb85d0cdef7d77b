/**
 * How a change is made: one call of one function of the migrations, and so one transaction
 * with its audit entry.
 */
import type postgres from "postgres";
import { StoreUnavailableError } from "../../ingest/store.ts";
import type { Database } from "../database.ts";
import type { Sql } from "../pool.ts";
import { durableCommit } from "../session.ts";

/**
 * Calls a function that changes something and says what came of it.
 *
 * In any other isolation, the functions would not see what was committed while they waited
 * for a lock. The condition is looked at before the function is called, and costs no message
 * of its own.
 *
 * @param call such as `disable_producer('bot-1')`.
 * @throws StoreUnavailableError
 */
export async function change<Result extends string>(
  database: Database,
  timeoutMs: number,
  call: (sql: Sql) => postgres.PendingQuery<postgres.Row[]>,
): Promise<Result> {
  const [row] = await database.query<{ readonly outcome: Result }>(
    timeoutMs,
    (sql) => sql`
      SELECT ${call(sql)} AS outcome, ${durableCommit(sql)}
      WHERE current_setting('transaction_isolation') = 'read committed'
    `,
  );
  if (row === undefined) {
    throw new StoreUnavailableError(
      "The database would not keep the changes of several servers apart, so nothing was changed: see its setting default_transaction_isolation",
    );
  }
  return row.outcome;
}
