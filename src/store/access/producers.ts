/** Producers and their secrets, as they are administered. */
import type {
  AccessStore,
  Page,
  ProducerInfo,
  ProducerSetting,
  SecretInfo,
} from "../../access/index.ts";
import type { Database } from "../database.ts";
import { fromMicros, toArray } from "../values.ts";
import { change } from "./change.ts";
import { optionalInstant, PAGE_MAX_BYTES, toPage } from "./rows.ts";

type ProducerMethods = Pick<
  AccessStore,
  | "createProducer"
  | "updateProducer"
  | "setProducerEnabled"
  | "rotateProducerSecret"
  | "revokeProducerSecret"
  | "ensureProducer"
  | "getProducer"
  | "listProducers"
>;

/** The column of each setting. */
const COLUMNS: Readonly<Record<ProducerSetting, string>> = {
  displayName: "display_name",
  requireApproval: "require_approval",
  rateLimitPerSecond: "rate_limit_per_second",
  allowedInstruments: "allowed_instruments",
};

export function producerMethods(database: Database): ProducerMethods {
  return {
    createProducer(producer, secret, actor, timeoutMs) {
      const { producerId, displayName, requireApproval, rateLimitPerSecond } = producer;
      const instruments = producer.allowedInstruments && toArray(producer.allowedInstruments);
      return change(
        database,
        timeoutMs,
        (sql) => sql`
          create_producer(${actor.tokenId ?? null}, ${actor.name}, ${producerId}, ${displayName},
            ${requireApproval}, ${rateLimitPerSecond ?? null}, ${instruments ?? null},
            ${secret.keyId}, ${secret.secretId}, ${secret.sealed})
        `,
      );
    },

    updateProducer(producerId, changes, actor, timeoutMs) {
      const changed = (Object.keys(COLUMNS) as ProducerSetting[])
        .filter((setting) => Object.hasOwn(changes, setting))
        .map((setting) => COLUMNS[setting]);
      const instruments = changes.allowedInstruments && toArray(changes.allowedInstruments);
      return change(
        database,
        timeoutMs,
        (sql) => sql`
          update_producer(${actor.tokenId ?? null}, ${actor.name}, 'producer.update',
            ${producerId}, ${toArray(changed)}, NULL, ${changes.displayName ?? null},
            ${changes.requireApproval ?? null}, ${changes.rateLimitPerSecond ?? null},
            ${instruments ?? null})
        `,
      );
    },

    setProducerEnabled(producerId, enabled, actor, timeoutMs) {
      const action = enabled ? "producer.enable" : "producer.disable";
      return change(
        database,
        timeoutMs,
        (sql) => sql`
          update_producer(${actor.tokenId ?? null}, ${actor.name}, ${action}, ${producerId},
            '{enabled}', ${enabled}, NULL, NULL, NULL, NULL)
        `,
      );
    },

    rotateProducerSecret(producerId, secret, rule, actor, timeoutMs) {
      return change(
        database,
        timeoutMs,
        (sql) => sql`
          rotate_producer_secret(${actor.tokenId ?? null}, ${actor.name}, ${producerId},
            ${rule.graceSeconds}, ${rule.force}, ${secret.keyId}, ${secret.secretId},
            ${secret.sealed})
        `,
      );
    },

    revokeProducerSecret(producerId, secretId, actor, timeoutMs) {
      return change(
        database,
        timeoutMs,
        (sql) => sql`
          revoke_producer_secret(${actor.tokenId ?? null}, ${actor.name}, ${producerId}, ${secretId})
        `,
      );
    },

    ensureProducer(producerId, secret, actorName, timeoutMs) {
      return change(
        database,
        timeoutMs,
        (sql) => sql`
          ensure_producer(${actorName}, ${producerId}, ${secret.keyId}, ${secret.secretId},
            ${secret.sealed})
        `,
      );
    },

    async getProducer(producerId, timeoutMs) {
      const selection = { exactly: producerId, size: 1 };
      const { producers } = await readProducers(database, selection, timeoutMs);
      return producers[0];
    },

    async listProducers(within, { size, after }, timeoutMs): Promise<Page<ProducerInfo>> {
      // One more tells whether there is another page.
      const { producers, foundCount } = await readProducers(
        database,
        { ...(within && { within }), ...(after && { after }), size: size + 1 },
        timeoutMs,
      );
      return toPage(producers, size, (producer) => producer.producerId, foundCount);
    },
  };
}

/** A producer with one of its secrets, or with none. */
interface ProducerRow {
  readonly found_count: bigint;
  readonly producer_id: string;
  readonly enabled: boolean;
  readonly display_name: string;
  readonly require_approval: boolean;
  readonly rate_limit_per_second: number | null;
  readonly allowed_instruments: readonly string[] | null;
  readonly created_micros: bigint;
  readonly updated_micros: bigint;
  readonly seen_micros: bigint | null;
  readonly secret_id: string | null;
  readonly secret_created_micros: bigint;
  readonly secret_expires_micros: bigint | null;
  readonly secret_used_micros: bigint | null;
}

interface Selection {
  readonly exactly?: string;
  readonly within?: readonly string[];
  readonly after?: string;
  readonly size: number;
}

async function readProducers(
  database: Database,
  { exactly, within, after, size }: Selection,
  timeoutMs: number,
): Promise<{ readonly producers: readonly ProducerInfo[]; readonly foundCount: number }> {
  const ids = within ? toArray(within) : null;
  const rows = await database.query<ProducerRow>(
    timeoutMs,
    (sql) => sql`
      SELECT p.found_count, p.producer_id, p.enabled, p.display_name, p.require_approval,
        p.rate_limit_per_second, to_json(p.allowed_instruments) AS allowed_instruments,
        epoch_micros(p.created_at) AS created_micros,
        epoch_micros(p.updated_at) AS updated_micros,
        epoch_micros(p.last_seen_at) AS seen_micros,
        s.secret_id,
        epoch_micros(s.created_at) AS secret_created_micros,
        epoch_micros(s.expires_at) AS secret_expires_micros,
        epoch_micros(s.last_used_at) AS secret_used_micros
      FROM (
        SELECT * FROM (
          SELECT *, count(*) OVER () AS found_count, sum(octet_length(allowed_instruments::text))
            OVER (ORDER BY producer_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
            AS bytes_before
          FROM (
            SELECT * FROM producers
            WHERE (${exactly ?? null}::text IS NULL OR producer_id = ${exactly ?? null}::text)
              AND (${after ?? null}::text IS NULL OR producer_id > ${after ?? null}::text)
              AND (${ids}::text[] IS NULL OR producer_id = ANY (${ids}::text[]))
            ORDER BY producer_id
            LIMIT ${size}
          ) AS found
        ) AS measured
        WHERE coalesce(bytes_before, 0) < ${PAGE_MAX_BYTES}::integer
      ) p
      LEFT JOIN producer_secrets s
        ON s.producer_id = p.producer_id
        -- Not the transaction's time, which is before the snapshot.
        AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp())
      ORDER BY p.producer_id, s.created_at DESC, s.secret_id DESC
    `,
  );
  const byProducer = Map.groupBy(rows, (row) => row.producer_id);
  const producers = [...byProducer.values()].flatMap((rowsOfOne) => {
    const [row] = rowsOfOne;
    return row ? [toProducerInfo(row, rowsOfOne.flatMap(toSecretInfo))] : [];
  });
  return { producers, foundCount: Number(rows[0]?.found_count ?? 0) };
}

function toProducerInfo(row: ProducerRow, secrets: readonly SecretInfo[]): ProducerInfo {
  return {
    producerId: row.producer_id,
    enabled: row.enabled,
    displayName: row.display_name,
    requireApproval: row.require_approval,
    rateLimitPerSecond: row.rate_limit_per_second ?? undefined,
    allowedInstruments: row.allowed_instruments ?? undefined,
    secrets,
    createTime: fromMicros(row.created_micros),
    updateTime: fromMicros(row.updated_micros),
    lastSeenTime: optionalInstant(row.seen_micros),
  };
}

function toSecretInfo(row: ProducerRow): SecretInfo[] {
  if (row.secret_id === null) return [];
  return [
    {
      secretId: row.secret_id,
      createTime: fromMicros(row.secret_created_micros),
      expireTime: optionalInstant(row.secret_expires_micros),
      lastUsedTime: optionalInstant(row.secret_used_micros),
    },
  ];
}
