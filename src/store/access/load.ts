/**
 * All that decides who may do what, read in one statement and so at one moment.
 *
 * Lists come as JSON within one row, and bytes as hexadecimal, so that no setting of a
 * session changes how they are written.
 */
import type {
  AccessSnapshot,
  AccessStore,
  LoadedProducer,
  LoadedToken,
  Scope,
  SealedSecret,
} from "../../access/index.ts";
import { StoreUnavailableError } from "../../ingest/store.ts";
import type { Database } from "../database.ts";
import { fromHex } from "./rows.ts";

type LoadMethods = Pick<AccessStore, "version" | "load">;

export function loadMethods(database: Database): LoadMethods {
  return {
    async version(timeoutMs) {
      const rows = await database.query<{ readonly version: bigint }>(
        timeoutMs,
        (sql) => sql`SELECT version FROM access_version`,
      );
      return theOnly(rows).version;
    },

    async load(timeoutMs) {
      const rows = await database.query<LoadedRow>(timeoutMs, (sql) => sql.unsafe(LOAD));
      return toSnapshot(theOnly(rows));
    },
  };
}

function theOnly<Row>([row]: readonly Row[]): Row {
  if (row === undefined) {
    throw new StoreUnavailableError("The table access_version has lost its only row");
  }
  return row;
}

/**
 * The time that counts is after the snapshot. That of the transaction is before it: a secret
 * that somebody ended meanwhile would seem to be live for a moment.
 */
const LOAD = `
  WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() AS now
  ), live_secrets AS (
    SELECT * FROM producer_secrets
    WHERE expires_at IS NULL OR expires_at > (SELECT now FROM moment)
  ), live_tokens AS (
    SELECT * FROM access_tokens
    WHERE revoked_at IS NULL
      AND (expires_at IS NULL OR expires_at > (SELECT now FROM moment))
  ), secrets_by_producer AS (
    SELECT producer_id, json_agg(
      json_build_object('secret_id', secret_id, 'sealed', encode(sealed, 'hex'))
      ORDER BY created_at DESC, secret_id DESC
    ) AS secrets
    FROM live_secrets GROUP BY producer_id
  )
  SELECT
    version,
    (SELECT encode(key_id, 'hex') FROM sealing_key) AS sealing_key_id,
    (
      SELECT json_agg(json_build_object(
        'producer_id', producer_id,
        'enabled', enabled,
        'require_approval', require_approval,
        'rate_limit_per_second', rate_limit_per_second,
        'allowed_instruments', allowed_instruments,
        'secrets', coalesce(secrets, '[]')
      ) ORDER BY producer_id)
      FROM producers LEFT JOIN secrets_by_producer USING (producer_id)
    ) AS producers,
    (
      SELECT json_agg(json_build_object(
        'token_id', token_id,
        'name', name,
        'token_sha256', encode(token_sha256, 'hex'),
        'scopes', scopes,
        'producer_ids', producer_ids
      ) ORDER BY token_id)
      FROM live_tokens
    ) AS tokens,
    ceil(extract(epoch FROM least(
      (SELECT min(expires_at) FROM live_secrets), (SELECT min(expires_at) FROM live_tokens)
    ) - (SELECT now FROM moment)) * 1000)::double precision AS next_expiry_ms
  FROM access_version
`;

interface LoadedRow {
  readonly version: bigint;
  readonly sealing_key_id: string | null;
  readonly producers: readonly ProducerJson[] | null;
  readonly tokens: readonly TokenJson[] | null;
  readonly next_expiry_ms: number | null;
}

interface ProducerJson {
  readonly producer_id: string;
  readonly enabled: boolean;
  readonly require_approval: boolean;
  readonly rate_limit_per_second: number | null;
  readonly allowed_instruments: readonly string[] | null;
  readonly secrets: readonly { readonly secret_id: string; readonly sealed: string }[];
}

interface TokenJson {
  readonly token_id: string;
  readonly name: string;
  readonly token_sha256: string;
  readonly scopes: readonly Scope[];
  readonly producer_ids: readonly string[] | null;
}

function toSnapshot(row: LoadedRow): AccessSnapshot {
  return {
    version: row.version,
    sealingKeyId: row.sealing_key_id === null ? undefined : fromHex(row.sealing_key_id),
    producers: (row.producers ?? []).map(toLoadedProducer),
    tokens: (row.tokens ?? []).map(toLoadedToken),
    nextExpiryMs: row.next_expiry_ms ?? undefined,
  };
}

function toLoadedProducer(json: ProducerJson): LoadedProducer {
  return {
    producerId: json.producer_id,
    enabled: json.enabled,
    requireApproval: json.require_approval,
    rateLimitPerSecond: json.rate_limit_per_second ?? undefined,
    allowedInstruments: json.allowed_instruments ?? undefined,
    secrets: json.secrets.map(
      ({ secret_id, sealed }): SealedSecret => ({ secretId: secret_id, sealed: fromHex(sealed) }),
    ),
  };
}

function toLoadedToken(json: TokenJson): LoadedToken {
  return {
    tokenId: json.token_id,
    name: json.name,
    tokenSha256: fromHex(json.token_sha256),
    scopes: json.scopes,
    producerIds: json.producer_ids ?? undefined,
  };
}
