/** Every sealed secret there is, and sealing all of them anew. */
import type { AccessStore } from "../../access/index.ts";
import type { Database } from "../database.ts";
import { toArray, toBytea } from "../values.ts";
import { change } from "./change.ts";
import { fromHex } from "./rows.ts";

type SealingMethods = Pick<AccessStore, "loadSealedSecrets" | "resealSecrets">;

export function sealingMethods(database: Database): SealingMethods {
  return {
    async loadSealedSecrets(timeoutMs) {
      // The master key is looked at before the database is migrated.
      const [there] = await database.query<{ readonly secrets: boolean; readonly key: boolean }>(
        timeoutMs,
        (sql) => sql`
          SELECT to_regclass('sealing_key') IS NOT NULL AS key, (
            SELECT count(*) = 4 FROM pg_attribute
            WHERE attrelid = to_regclass('producer_secrets')
              AND attname IN ('secret_id', 'producer_id', 'sealed', 'expires_at')
          ) AS secrets
        `,
      );
      if (!there?.secrets) return { sealingKeyId: undefined, secrets: [] };
      const [row] = await database.query<SealedRow>(
        timeoutMs,
        (sql) => sql`
          SELECT ${there.key ? sql`(SELECT encode(key_id, 'hex') FROM sealing_key)` : null}
              AS sealing_key_id,
            json_agg(json_build_object(
              'secret_id', secret_id,
              'producer_id', producer_id,
              'sealed', encode(sealed, 'hex'),
              'is_live', expires_at IS NULL OR expires_at > clock_timestamp()
            )) AS secrets
          FROM producer_secrets
        `,
      );
      return {
        sealingKeyId: row?.sealing_key_id ? fromHex(row.sealing_key_id) : undefined,
        secrets: (row?.secrets ?? []).map((secret) => ({
          secretId: secret.secret_id,
          producerId: secret.producer_id,
          sealed: fromHex(secret.sealed),
          isLive: secret.is_live,
        })),
      };
    },

    resealSecrets(secrets, keys, action, actorName, timeoutMs) {
      const secretIds = toArray(secrets.map(({ secretId }) => secretId));
      const sealed = toArray(secrets.map((secret) => toBytea(secret.sealed)));
      return change(
        database,
        timeoutMs,
        (sql) => sql`
          reseal_producer_secrets(${actorName}, ${action}, ${keys.from}, ${keys.to},
            ${secretIds}, ${sealed})
        `,
      );
    },
  };
}

interface SealedRow {
  readonly sealing_key_id: string | null;
  readonly secrets:
    | readonly {
        readonly secret_id: string;
        readonly producer_id: string;
        readonly sealed: string;
        readonly is_live: boolean;
      }[]
    | null;
}
