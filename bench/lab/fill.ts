/** A table that has been in use for a long time. */
import { statfs } from "node:fs/promises";
import postgres from "postgres";
import { PRODUCER_ID } from "../contenders/contender.ts";

/** One statement inserts so many, so that an interrupt need not wait long. */
const ROWS_PER_STATEMENT = 100_000;
/** Statements between two tellings of how far it is. */
const TELL_EVERY = 5;
/** Two cores, and PostgreSQL uses one for each connection. */
const CONNECTIONS = 2;
/** Rows, their index entries, and the log of both until the next checkpoint. */
const DISK_BYTES_PER_ROW = 1_300;

/** Whether the disk of this directory has room for so many rows. */
export async function hasRoomFor(rows: number, dir: string): Promise<boolean> {
  const { bavail, bsize } = await statfs(dir);
  return bavail * bsize > rows * DISK_BYTES_PER_ROW;
}

/**
 * Fills `signals` with rows like those of the load, from fifty producers over a year. What
 * only slows this down is put back afterwards: the indexes, and the checks, which then
 * hold for every new row as before. The table is vacuumed, so that no automatic vacuum of
 * it falls into a measurement.
 *
 * @param tell is told the share of the rows that are there.
 */
export async function fillSignals(
  databaseUrl: string,
  rows: number,
  signal: AbortSignal,
  tell: (share: number) => void,
): Promise<void> {
  const sql = postgres(databaseUrl, { max: CONNECTIONS, onnotice: () => {} });
  // An interrupt must not wait for a statement that takes seconds.
  const giveUp = () => void sql.end({ timeout: 0 });
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    const indexes = await dropIndexes(sql);
    const checks = await dropChecks(sql);
    const ranges = rangesOf(rows);
    let done = 0;
    await inParallel(ranges, signal, async ([first, last]) => {
      await insertRows(sql, first, last);
      done += 1;
      if (done % TELL_EVERY === 0) tell(done / ranges.length);
    });
    for (const check of checks) await sql.unsafe(check);
    await inParallel(indexes, signal, (definition) => createIndex(sql, definition));
    await sql`VACUUM (ANALYZE) signals`;
  } finally {
    signal.removeEventListener("abort", giveUp);
    await sql.end({ timeout: 0 });
  }
}

/** Drops all indexes but the primary key's. @returns how to make them again. */
async function dropIndexes(sql: postgres.Sql): Promise<string[]> {
  const indexes = await sql<{ indexname: string; indexdef: string }[]>`
    SELECT indexname, indexdef FROM pg_indexes
    WHERE tablename = 'signals' AND indexname <> 'signals_pkey'
  `;
  for (const { indexname } of indexes) await sql`DROP INDEX ${sql(indexname)}`;
  return indexes.map(({ indexdef }) => indexdef);
}

/**
 * Drops all checks. @returns how to add them again without a look at the rows that are
 * there, which keep them anyway.
 */
async function dropChecks(sql: postgres.Sql): Promise<string[]> {
  const checks = await sql<{ conname: string; definition: string }[]>`
    SELECT conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint
    WHERE conrelid = 'signals'::regclass AND contype = 'c'
  `;
  for (const { conname } of checks) await sql`ALTER TABLE signals DROP CONSTRAINT ${sql(conname)}`;
  return checks.map(
    ({ conname, definition }) =>
      `ALTER TABLE signals ADD CONSTRAINT "${conname}" ${definition} NOT VALID`,
  );
}

async function createIndex(sql: postgres.Sql, definition: string): Promise<void> {
  await sql.begin(async (transaction) => {
    await transaction`SET LOCAL maintenance_work_mem = '256MB'`;
    await transaction.unsafe(definition);
  });
}

function rangesOf(rows: number): (readonly [number, number])[] {
  const statements = Math.ceil(rows / ROWS_PER_STATEMENT);
  return Array.from({ length: statements }, (_, n) => [
    n * ROWS_PER_STATEMENT + 1,
    Math.min(rows, (n + 1) * ROWS_PER_STATEMENT),
  ]);
}

/** Ids and keys are UUIDv7, as clients make them, so a year of them grows in its order. */
async function insertRows(sql: postgres.Sql, first: number, last: number): Promise<void> {
  await sql`
    INSERT INTO signals (
      signal_id, producer_id, idempotency_key, content_sha256, status, receive_time,
      instrument, side, entry_price, stop_loss, take_profit, confidence, risk_percent,
      strategy_name, reason, comment, signal_time, signal_time_nanos, payload
    )
    SELECT
      uuidv7(moment - now()),
      CASE WHEN n % 50 = 0 THEN ${PRODUCER_ID} ELSE 'bot-' || n % 50 END,
      uuidv7(moment - now())::text,
      sha256(int8send(n)), 'received', moment,
      (ARRAY['GOLD','SILVER','EURUSD','GBPUSD','USDJPY','BTCUSD','US500','BRENT'])[n % 8 + 1],
      'buy', 1950 + n % 1000, 1900, 3000, 0.72, 1.5, 'moving-average-cross',
      'The 20-period average crossed above the 50-period average', '', moment, 0,
      jsonb_build_object(
        'timeframe', 'H1',
        'indicators', jsonb_build_object('rsi', 31.4, 'atr', 2.25, 'ema20', n, 'ema50', n),
        'tags', jsonb_build_array('trend', 'intraday')
      )
    FROM (
      SELECT n, now() - interval '1 year' + n * interval '5 seconds' AS moment
      FROM generate_series(${first}::bigint, ${last}::bigint) AS n
    ) AS series
  `;
}

/** Does the work on all connections at once. @throws if it is interrupted. */
async function inParallel<Item>(
  items: readonly Item[],
  signal: AbortSignal,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const left = items.values();
  const worker = async () => {
    for (const item of left) {
      signal.throwIfAborted();
      await work(item);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, worker));
}
