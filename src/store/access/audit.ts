/** The audit, and who was seen when. */
import type { AccessStore, AuditEntry, AuditedState, Page } from "../../access/index.ts";
import type { Database } from "../database.ts";
import { durableCommit } from "../session.ts";
import { fromMicros, toArray } from "../values.ts";
import { PAGE_MAX_BYTES, toPage } from "./rows.ts";

type AuditMethods = Pick<AccessStore, "listAuditEntries" | "addRefusedAttempt" | "recordUse">;

export function auditMethods(database: Database): AuditMethods {
  return {
    async listAuditEntries(filter, { size, after = null }, timeoutMs): Promise<Page<AuditEntry>> {
      const { producerId = null, tokenId = null, action = null } = filter;
      const ids = filter.within ? toArray(filter.within) : null;
      // One more tells whether there is another page.
      const rows = await database.query<AuditRow>(
        timeoutMs,
        (sql) => sql`
          WITH found AS MATERIALIZED (
            SELECT entry_id, epoch_micros(occurred_at) AS occurred_micros, actor_token_id,
              actor_name, action, producer_id, token_id, reason, before, after
            FROM audit_log
            WHERE (${after}::bigint IS NULL OR entry_id < ${after}::bigint)
              AND (${producerId}::text IS NULL OR producer_id = ${producerId}::text)
              AND (${tokenId}::text IS NULL
                OR token_id = ${tokenId}::text OR actor_token_id = ${tokenId}::text)
              AND (${action}::text IS NULL
                OR action = ${action}::text OR starts_with(action, ${action}::text || '.'))
              AND (${ids}::text[] IS NULL OR (
                coalesce(producer_id, token_id) IS NOT NULL
                AND (producer_id IS NULL OR producer_id = ANY (${ids}::text[]))
                AND (token_id IS NULL OR token_id IN (
                  SELECT t.token_id FROM access_tokens t WHERE t.producer_ids <@ ${ids}::text[]
                ))
              ))
            ORDER BY entry_id DESC
            LIMIT ${size + 1}
          ), measured AS (
            SELECT *, count(*) OVER () AS found_count, sum(
              coalesce(octet_length(before::text), 0) + coalesce(octet_length(after::text), 0)
            ) OVER (
              ORDER BY entry_id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS bytes_before
            FROM found
          )
          SELECT * FROM measured
          WHERE coalesce(bytes_before, 0) < ${PAGE_MAX_BYTES}::integer
          ORDER BY entry_id DESC
        `,
      );
      const entries = rows.map(toAuditEntry);
      const foundCount = Number(rows[0]?.found_count ?? 0);
      return toPage(entries, size, (entry) => String(entry.entryId), foundCount);
    },

    async addRefusedAttempt({ actor, action, producerId, tokenId, reason }, timeoutMs) {
      await database.query(
        timeoutMs,
        (sql) => sql`
          INSERT INTO audit_log
            (actor_token_id, actor_name, action, producer_id, token_id, reason)
          VALUES (${actor.tokenId ?? null}, ${actor.name}, ${action}, ${producerId ?? null},
            ${tokenId ?? null}, ${reason})
          RETURNING ${durableCommit(sql)}
        `,
      );
    },

    async recordUse({ producerIds, secretIds, tokenIds }, timeoutMs) {
      await database.query(
        timeoutMs,
        (sql) => sql`
          SELECT record_use(${toArray(producerIds)}, ${toArray(secretIds)}, ${toArray(tokenIds)}),
            ${durableCommit(sql)}
        `,
      );
    },
  };
}

interface AuditRow {
  readonly found_count: bigint;
  readonly entry_id: bigint;
  readonly occurred_micros: bigint;
  readonly actor_token_id: string | null;
  readonly actor_name: string;
  readonly action: string;
  readonly producer_id: string | null;
  readonly token_id: string | null;
  readonly reason: string | null;
  readonly before: AuditedState | null;
  readonly after: AuditedState | null;
}

function toAuditEntry(row: AuditRow): AuditEntry {
  return {
    entryId: row.entry_id,
    time: fromMicros(row.occurred_micros),
    actor: { tokenId: row.actor_token_id ?? undefined, name: row.actor_name },
    action: row.action,
    producerId: row.producer_id ?? undefined,
    tokenId: row.token_id ?? undefined,
    reason: row.reason ?? undefined,
    before: row.before ?? undefined,
    after: row.after ?? undefined,
  };
}
