/**
 * Deletes old rows of `request_signatures`, piece by piece, by one process for all.
 *
 * The table is walked by the blocks of its file (PostgreSQL calls it a TID range scan), so
 * that a step reads a bounded number of them whatever the table holds. An index on
 * `created_at` would find old rows sooner, but each signal would pay for it, and to make it
 * on a table that has grown would stop the storing of signals for as long as that takes.
 *
 * Nothing here needs to wait for the disk: what a crash brings back is deleted again.
 */
import type { Database } from "./database.ts";

/** A run that this process has. */
export interface PurgeRun {
  /** The block to go on with. */
  readonly nextBlock: number;
  /** How many blocks the table had when the run began. Later ones hold nothing old. */
  readonly blockCount: number;
}

export interface SignaturePurge {
  /**
   * Begins a run if one is due. Until `intervalMs` have passed, no other process gets one.
   *
   * @throws StoreUnavailableError
   */
  begin(intervalMs: number): Promise<PurgeRun | undefined>;

  /**
   * Deletes the old rows from `firstBlock` up to `endBlock`, which is left out.
   *
   * @returns how many.
   * @throws StoreUnavailableError
   */
  deleteFrom(firstBlock: number, endBlock: number): Promise<number>;

  /**
   * Keeps where the next run is to go on.
   *
   * @throws StoreUnavailableError
   */
  end(nextBlock: number): Promise<void>;
}

/**
 * How long a row is kept. A signature is accepted for at most 300 s before and after its
 * timestamp, and its row is made on arrival: after 600 s no request can come with it, even if
 * its clock was as far ahead as is taken. A day is 144 times that, for servers' and databases'
 * clocks that are wrong by hours.
 */
const KEPT_HOURS = 24;

const TASK = "purge_request_signatures";
/** A server that closes waits for one step at most. */
const TIMEOUT_MS = 5_000;

/** Works on a database whose migrations are all applied. */
export function createSignaturePurge(database: Database): SignaturePurge {
  return {
    async begin(intervalMs) {
      const [run] = await database.query<{ next_block: number; block_count: number }>(
        TIMEOUT_MS,
        (sql) => sql`
          UPDATE maintenance_tasks
          SET due_at = now() + ${intervalMs} * interval '1 millisecond'
          WHERE name = ${TASK} AND due_at <= now()
          RETURNING next_block::double precision,
            (pg_relation_size('request_signatures')
              / current_setting('block_size')::bigint)::double precision AS block_count
        `,
      );
      if (run === undefined) return undefined;
      return { nextBlock: run.next_block, blockCount: run.block_count };
    },

    async deleteFrom(firstBlock, endBlock) {
      const [row] = await database.query<{ deleted: number }>(
        TIMEOUT_MS,
        (sql) => sql`
          WITH deleted AS (
            DELETE FROM request_signatures
            WHERE ctid >= ${`(${firstBlock},0)`}::tid AND ctid < ${`(${endBlock},0)`}::tid
              AND created_at < now() - ${KEPT_HOURS} * interval '1 hour'
            RETURNING 1
          )
          SELECT count(*)::integer AS deleted FROM deleted
        `,
      );
      return row?.deleted ?? 0;
    },

    async end(nextBlock) {
      await database.query(
        TIMEOUT_MS,
        (sql) => sql`
          UPDATE maintenance_tasks SET next_block = ${nextBlock} WHERE name = ${TASK}
        `,
      );
    },
  };
}
