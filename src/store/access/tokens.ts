/** Tokens, as they are administered. */
import {
  type AccessStore,
  LIVE_TOKENS_MAX,
  type Page,
  SCOPES,
  type Scope,
  type TokenInfo,
} from "../../access/index.ts";
import type { Database } from "../database.ts";
import { fromMicros, toArray, toTimestamptz } from "../values.ts";
import { change } from "./change.ts";
import { optionalInstant, toPage } from "./rows.ts";

type TokenMethods = Pick<
  AccessStore,
  "createToken" | "bootstrapToken" | "revokeToken" | "getToken" | "listTokens"
>;

export function tokenMethods(database: Database): TokenMethods {
  return {
    createToken(token, actor, timeoutMs) {
      const expiresAt = token.expireTime === undefined ? null : toTimestamptz(token.expireTime);
      const producerIds = token.producerIds && toArray(token.producerIds);
      return change(
        database,
        timeoutMs,
        // The driver would cut the time to milliseconds if it knew that it is one.
        (sql) => sql`
          create_access_token(${actor.tokenId ?? null}, ${actor.name}, 'token.create',
            ${token.tokenId}, ${token.tokenSha256}, ${token.name}, ${toArray(token.scopes)},
            ${producerIds ?? null}, ${expiresAt}::text::timestamptz, false, ${LIVE_TOKENS_MAX})
        `,
      );
    },

    bootstrapToken(token, force, actorName, timeoutMs) {
      return change(
        database,
        timeoutMs,
        (sql) => sql`
          create_access_token(NULL, ${actorName}, 'token.bootstrap', ${token.tokenId},
            ${token.tokenSha256}, ${token.name}, ${toArray(SCOPES)}, NULL, NULL, ${!force},
            ${LIVE_TOKENS_MAX})
        `,
      );
    },

    revokeToken(tokenId, actor, timeoutMs) {
      return change(
        database,
        timeoutMs,
        (sql) => sql`
          revoke_access_token(${actor.tokenId ?? null}, ${actor.name}, ${tokenId})
        `,
      );
    },

    async getToken(tokenId, timeoutMs) {
      const [row] = await database.query<TokenRow>(
        timeoutMs,
        (sql) => sql`
          SELECT ${sql.unsafe(TOKEN_COLUMNS)} FROM access_tokens WHERE token_id = ${tokenId}
        `,
      );
      return row && toTokenInfo(row);
    },

    async listTokens(within, { size, after = null }, timeoutMs): Promise<Page<TokenInfo>> {
      const ids = within ? toArray(within) : null;
      // One more tells whether there is another page. Tokens are never deleted, so that the
      // last one of a page is still there for the next. After one that is not there, or that
      // the caller may not see, nothing comes.
      const rows = await database.query<TokenRow>(
        timeoutMs,
        (sql) => sql`
          SELECT ${sql.unsafe(TOKEN_COLUMNS)} FROM access_tokens
          WHERE (${ids}::text[] IS NULL OR producer_ids <@ ${ids}::text[])
            AND (${after}::text IS NULL OR (created_at, token_id) < (
              SELECT created_at, token_id FROM access_tokens
              WHERE token_id = ${after}::text
                AND (${ids}::text[] IS NULL OR producer_ids <@ ${ids}::text[])
            ))
          ORDER BY created_at DESC, token_id DESC
          LIMIT ${size + 1}
        `,
      );
      return toPage(rows.map(toTokenInfo), size, (token) => token.tokenId);
    },
  };
}

/** The columns of a {@link TokenRow}. */
const TOKEN_COLUMNS = `
  token_id, name, to_json(scopes) AS scopes, to_json(producer_ids) AS producer_ids,
  epoch_micros(created_at) AS created_micros, epoch_micros(expires_at) AS expires_micros,
  epoch_micros(revoked_at) AS revoked_micros, epoch_micros(last_used_at) AS used_micros
`;

interface TokenRow {
  readonly token_id: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly producer_ids: readonly string[] | null;
  readonly created_micros: bigint;
  readonly expires_micros: bigint | null;
  readonly revoked_micros: bigint | null;
  readonly used_micros: bigint | null;
}

function toTokenInfo(row: TokenRow): TokenInfo {
  return {
    tokenId: row.token_id,
    name: row.name,
    scopes: row.scopes,
    producerIds: row.producer_ids ?? undefined,
    createTime: fromMicros(row.created_micros),
    expireTime: optionalInstant(row.expires_micros),
    revokeTime: optionalInstant(row.revoked_micros),
    lastUsedTime: optionalInstant(row.used_micros),
  };
}
