/**
 * TokenService: between its messages and the domain.
 */
import { hash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import {
  type CreateTokenRequest,
  CreateTokenResponseSchema,
  ListTokensResponseSchema,
  Scope as ProtoScope,
  type TokenInfo as ProtoTokenInfo,
  RevokeTokenResponseSchema,
  TokenInfoSchema,
  type TokenService,
} from "../../../gen/signals/v1/token_service_pb.ts";
import {
  isTokenId,
  isWithin,
  LIVE_TOKENS_MAX,
  type Scope,
  type TokenInfo,
  type TokenRights,
  tokenViolations,
} from "../../access/index.ts";
import {
  INVALID_TIME,
  type Instant,
  instantFromProto,
  instantToProto,
  invalidRequest,
  type MessageFields,
  ok,
  optionalTime,
  type Result,
  refuseCall,
  refused,
  type Violation,
} from "../../signal/index.ts";
import { generateCredential } from "../../signing/index.ts";
import type { TokenMethods } from "../rpc/tokenRpc.ts";
import {
  type AdminCall,
  type AdminDependencies,
  adminMethod,
  CALL_AGAIN,
  REPEAT,
} from "./adminMethod.ts";
import { nextPageToken, readPage } from "./pages.ts";

type Methods = TokenMethods<typeof TokenService>;

/** What {@link tokenMethods} is made of. */
export interface TokenMethodsDependencies extends AdminDependencies {
  readonly now: () => Instant;
}

/** All methods of the service. */
export function tokenMethods(dependencies: TokenMethodsDependencies): Methods {
  return {
    createToken: createTokenMethod(dependencies),
    listTokens: listTokensMethod(dependencies),
    revokeToken: revokeTokenMethod(dependencies),
  };
}

const SCOPES = { read: ProtoScope.READ, review: ProtoScope.REVIEW, admin: ProtoScope.ADMIN };
const SCOPES_FROM_PROTO: ReadonlyMap<ProtoScope, Scope> = new Map(
  Object.entries(SCOPES).map(([scope, proto]) => [proto, scope as Scope]),
);

/** `CreateToken`: a token that sees no more than the one that makes it. */
function createTokenMethod(dependencies: TokenMethodsDependencies): Methods["createToken"] {
  const { store, now, onChanged } = dependencies;
  return adminMethod(dependencies, {
    action: "token.create",
    output: CreateTokenResponseSchema,
    withoutAnswer:
      "It is not known whether the token was made. If it was, nobody has it: look for it in the list, and revoke it.",
    async handle(request, call) {
      const asked = readToken(request, call, now());
      if (!asked.ok) return asked;
      const { id: tokenId, text } = generateCredential("tok");
      const tokenSha256 = hash("sha256", text, "buffer");
      const token = { ...asked.value, tokenId, tokenSha256 };
      const outcome = await store.createToken(token, call.actor, call.timeoutMs());
      if (outcome === "too_many") return refused(TOO_MANY);
      await onChanged();
      // The token can be told only here, so that it is also where it cannot be read any more.
      const made = await store.getToken(tokenId, call.timeoutMs()).catch(() => undefined);
      return ok({ token: text, ...(made !== undefined && { info: tokenToProto(made) }) });
    },
  });
}

const TOO_MANY = invalidRequest([
  {
    field: "token",
    description: `cannot be made: there are ${LIVE_TOKENS_MAX} live ones, and there may be no more`,
  },
]);

/** What of a token to make is decided by the caller. */
type AskedToken = TokenRights & Pick<TokenInfo, "name" | "expireTime">;

function readToken(
  { name, scopes: protoScopes, producerIds: ids, expireTime: time }: CreateTokenRequest,
  { token: caller }: AdminCall,
  now: Instant,
): Result<AskedToken> {
  const scopes = [...new Set(protoScopes)].map((scope) => SCOPES_FROM_PROTO.get(scope));
  const producerIds = [...new Set(ids)];
  const read = time && instantFromProto(time);
  const expireTime = read === INVALID_TIME ? undefined : read;
  const violations: Violation[] = tokenViolations({ name, scopes, producerIds, expireTime }, now);
  if (read === INVALID_TIME) {
    violations.push({ field: "expire_time", description: "must be a time" });
  }
  const rights = {
    scopes: scopes.filter((scope) => scope !== undefined),
    producerIds: producerIds.length === 0 ? undefined : producerIds,
  };
  if (!isWithin(rights, caller)) {
    const description = "must be among those of the token that makes it, and at least one";
    violations.push({ field: "producer_ids", description });
  }
  if (violations.length > 0) return refused(invalidRequest(violations));
  return ok({ ...rights, name, expireTime });
}

/** `ListTokens`: all that the token may see, page by page. */
function listTokensMethod(dependencies: AdminDependencies): Methods["listTokens"] {
  return adminMethod(dependencies, {
    action: "token.read",
    output: ListTokensResponseSchema,
    withoutAnswer: CALL_AGAIN,
    async handle(request, { token, timeoutMs }) {
      const asked = readPage(request, isTokenId);
      if (!asked.ok) return asked;
      const { store } = dependencies;
      const page = await store.listTokens(token.producerIds, asked.value, timeoutMs());
      return ok({ tokens: page.items.map(tokenToProto), nextPageToken: nextPageToken(page) });
    },
  });
}

/** `RevokeToken`: a token ends now. */
function revokeTokenMethod(dependencies: AdminDependencies): Methods["revokeToken"] {
  const { store, onChanged } = dependencies;
  return adminMethod(dependencies, {
    action: "token.revoke",
    output: RevokeTokenResponseSchema,
    withoutAnswer: REPEAT,
    async handle({ tokenId }, { token: caller, actor, timeoutMs }) {
      if (!isTokenId(tokenId)) return refused(invalidRequest([TOKEN_ID_VIOLATION]));
      const found = await store.getToken(tokenId, timeoutMs());
      if (found === undefined || !isWithin(found, caller)) return refused(NO_TOKEN);
      await store.revokeToken(tokenId, actor, timeoutMs());
      await onChanged();
      const revoked = await store.getToken(tokenId, timeoutMs());
      return ok({ info: tokenToProto(revoked ?? found) });
    },
  });
}

const NO_TOKEN = refuseCall("NOT_FOUND", "There is no token of this id that this token may see.");
const TOKEN_ID_VIOLATION: Violation = {
  field: "token_id",
  description: "must be the id of a token, as in the list",
};

function tokenToProto(token: TokenInfo): ProtoTokenInfo {
  return infoMessage({
    tokenId: token.tokenId,
    name: token.name,
    scopes: token.scopes.map((scope) => SCOPES[scope]),
    producerIds: [...(token.producerIds ?? [])],
    createTime: instantToProto(token.createTime),
    expireTime: optionalTime(token.expireTime),
    revokeTime: optionalTime(token.revokeTime),
    lastUsedTime: optionalTime(token.lastUsedTime),
  });
}

function infoMessage(fields: MessageFields<ProtoTokenInfo>): ProtoTokenInfo {
  return create(TokenInfoSchema, fields);
}
