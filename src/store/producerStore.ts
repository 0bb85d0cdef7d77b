/**
 * Producers and their sealed secrets in PostgreSQL.
 */
import type { Producer } from "../ingest/producer.ts";
import type { Instant } from "../signal/index.ts";
import type { Database } from "./database.ts";
import { durableCommit } from "./session.ts";
import { toArray, toTimestamptz } from "./values.ts";

/** A secret as it is at rest: encrypted by the caller, opaque here. */
export interface SealedSecret {
  /** A UUID. */
  readonly secretId: string;
  readonly sealed: Uint8Array;
}

/** A producer as it is on disk. */
export interface StoredProducer extends Producer {
  readonly enabled: boolean;
  /** Signals a second, above 0; `undefined` means no limit. */
  readonly rateLimitPerSecond: number | undefined;
  /** The secrets that have not expired by the database's clock, the newest first. */
  readonly secrets: readonly SealedSecret[];
}

/** What a producer starts with. */
export type NewProducer = Pick<
  StoredProducer,
  "producerId" | "requireApproval" | "allowedInstruments" | "rateLimitPerSecond"
>;

export interface ProducerStore {
  /**
   * The secrets that have not expired, by their producers' ids. Works on a database that is not
   * migrated yet, too: it then has none.
   *
   * @throws StoreUnavailableError
   */
  loadSealedSecrets(timeoutMs: number): Promise<ReadonlyMap<string, readonly Uint8Array[]>>;

  /**
   * All producers, disabled ones too, in the order of their ids.
   *
   * @throws StoreUnavailableError
   */
  loadProducers(timeoutMs: number): Promise<StoredProducer[]>;

  /**
   * Makes sure that the producer exists. One that exists stays as it is, so that a
   * restart undoes nothing that a person changed since.
   *
   * @returns whether it is new.
   * @throws StoreUnavailableError
   */
  ensureProducer(producer: NewProducer, timeoutMs: number): Promise<boolean>;

  /**
   * Adds a secret to a producer that exists. A secret whose id is known stays as it is,
   * so a repeat is harmless. That at most two are live at once is up to the caller.
   *
   * @param expireTime from when it no longer counts; `undefined` for never.
   * @throws StoreUnavailableError
   */
  addProducerSecret(
    producerId: string,
    secret: SealedSecret,
    expireTime: Instant | undefined,
    timeoutMs: number,
  ): Promise<void>;

  /**
   * Enables or disables a producer.
   *
   * @returns whether there is such a producer.
   * @throws StoreUnavailableError
   */
  setProducerEnabled(producerId: string, enabled: boolean, timeoutMs: number): Promise<boolean>;
}

/** Makes the store on a database whose migrations are all applied. */
export function createProducerStore(database: Database): ProducerStore {
  return {
    async loadSealedSecrets(timeoutMs) {
      const [found] = await database.query<{ readonly is_there: boolean }>(
        timeoutMs,
        (sql) => sql`
          SELECT count(*) = 3 AS is_there FROM pg_attribute
          WHERE attrelid = to_regclass('producer_secrets')
            AND attname IN ('producer_id', 'sealed', 'expires_at')
        `,
      );
      if (!found?.is_there) return new Map();
      const rows = await database.query<{
        readonly producer_id: string;
        readonly sealed: Uint8Array;
      }>(
        timeoutMs,
        (sql) => sql`
          SELECT producer_id, sealed FROM producer_secrets
          WHERE expires_at IS NULL OR expires_at > now()
          ORDER BY producer_id
        `,
      );
      const byProducer = Map.groupBy(rows, (row) => row.producer_id);
      return new Map([...byProducer].map(([id, own]) => [id, own.map(({ sealed }) => sealed)]));
    },

    async loadProducers(timeoutMs) {
      const rows = await database.query<ProducerRow>(
        timeoutMs,
        (sql) => sql`
          SELECT p.producer_id, p.enabled, p.require_approval,
            to_json(p.allowed_instruments) AS allowed_instruments, p.rate_limit_per_second, s.secret_id, s.sealed
          FROM producers p
          LEFT JOIN producer_secrets s
            ON s.producer_id = p.producer_id
            AND (s.expires_at IS NULL OR s.expires_at > now())
          ORDER BY p.producer_id, s.created_at DESC, s.secret_id DESC
        `,
      );
      return groupByProducer(rows);
    },

    async ensureProducer(producer, timeoutMs) {
      const instruments = producer.allowedInstruments && toArray(producer.allowedInstruments);
      const rows = await database.query(
        timeoutMs,
        (sql) => sql`
          INSERT INTO producers
            (producer_id, require_approval, allowed_instruments, rate_limit_per_second)
          VALUES (${producer.producerId}, ${producer.requireApproval}, ${instruments ?? null},
            ${producer.rateLimitPerSecond ?? null})
          ON CONFLICT DO NOTHING
          RETURNING producer_id, ${durableCommit(sql)}
        `,
      );
      return rows.length > 0;
    },

    async addProducerSecret(producerId, { secretId, sealed }, expireTime, timeoutMs) {
      const expiresAt = expireTime === undefined ? null : toTimestamptz(expireTime);
      await database.query(
        timeoutMs,
        (sql) => sql`
          INSERT INTO producer_secrets (secret_id, producer_id, sealed, expires_at)
          VALUES (${secretId}, ${producerId}, ${sealed}, ${expiresAt})
          ON CONFLICT DO NOTHING
          RETURNING ${durableCommit(sql)}
        `,
      );
    },

    async setProducerEnabled(producerId, enabled, timeoutMs) {
      const rows = await database.query(
        timeoutMs,
        (sql) => sql`
          UPDATE producers SET enabled = ${enabled} WHERE producer_id = ${producerId}
          RETURNING producer_id, ${durableCommit(sql)}
        `,
      );
      return rows.length > 0;
    },
  };
}

/** A producer with one of its secrets, or with none. */
interface ProducerRow {
  readonly producer_id: string;
  readonly enabled: boolean;
  readonly require_approval: boolean;
  readonly allowed_instruments: readonly string[] | null;
  readonly rate_limit_per_second: number | null;
  readonly secret_id: string | null;
  readonly sealed: Uint8Array | null;
}

function groupByProducer(rows: readonly ProducerRow[]): StoredProducer[] {
  return [...Map.groupBy(rows, (row) => row.producer_id).values()].flatMap((rowsOfOne) => {
    const [row] = rowsOfOne;
    return row ? [{ ...toProducer(row), secrets: rowsOfOne.flatMap(toSecrets) }] : [];
  });
}

function toProducer(row: ProducerRow): Omit<StoredProducer, "secrets"> {
  return {
    producerId: row.producer_id,
    enabled: row.enabled,
    requireApproval: row.require_approval,
    allowedInstruments: row.allowed_instruments ? new Set(row.allowed_instruments) : undefined,
    rateLimitPerSecond: row.rate_limit_per_second ?? undefined,
  };
}

function toSecrets(row: ProducerRow): SealedSecret[] {
  return row.secret_id !== null && row.sealed !== null
    ? [{ secretId: row.secret_id, sealed: new Uint8Array(row.sealed) }]
    : [];
}
