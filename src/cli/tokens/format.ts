/**
 * Tokens for people and for programs. Pure.
 */
import { toJson } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  Scope,
  type TokenInfo,
  TokenInfoSchema,
} from "../../../gen/signals/v1/token_service_pb.ts";
import type { Scope as ScopeName } from "../../access/index.ts";
import { distanceText } from "../age.ts";
import type { Column } from "../table.ts";

/** How the API and the command line name each scope. */
export const SCOPE_BY_NAME: Readonly<Record<ScopeName, Scope>> = {
  read: Scope.READ,
  review: Scope.REVIEW,
  admin: Scope.ADMIN,
};

/** The scopes of a token, by their names. */
export function scopeNames({ scopes }: TokenInfo): string[] {
  return Object.entries(SCOPE_BY_NAME).flatMap(([name, scope]) =>
    scopes.includes(scope) ? [name] : [],
  );
}

/** A token as an object for JSON, in the names of the API, scopes as the command line has them. */
export function tokenJson(token: TokenInfo): Record<string, unknown> {
  const options = { useProtoFieldName: true, alwaysEmitImplicit: true } as const;
  const json = toJson(TokenInfoSchema, token, options) as Record<string, unknown>;
  return { ...json, scopes: scopeNames(token) };
}

/** The columns of `tokens list`. */
export const LIST_COLUMNS: readonly Column[] = [
  { title: "TOKEN" },
  { title: "NAME" },
  { title: "SCOPES" },
  { title: "PRODUCERS" },
  { title: "STATE" },
  { title: "CREATED" },
  { title: "EXPIRES" },
  { title: "LAST USED" },
];

const SHOWN_PRODUCERS = 3;

/** A token as a row of `tokens list`. */
export function tokenRow(token: TokenInfo, nowMs: number): string[] {
  const shown = token.producerIds.slice(0, SHOWN_PRODUCERS);
  const rest = token.producerIds.length - shown.length;
  return [
    token.tokenId,
    token.name,
    scopeNames(token).join(","),
    `${shown.join(",") || "all"}${rest > 0 ? ` +${rest}` : ""}`,
    stateText(token, nowMs),
    distanceText(token.createTime, nowMs),
    distanceText(token.expireTime, nowMs, "never"),
    distanceText(token.lastUsedTime, nowMs, "never"),
  ];
}

function stateText(token: TokenInfo, nowMs: number): string {
  if (token.revokeTime !== undefined) return "revoked";
  return isLive(token, nowMs) ? "live" : "expired";
}

/** Whether a token still counts, by this machine's clock. */
export function isLive({ revokeTime, expireTime }: TokenInfo, nowMs: number): boolean {
  const isExpired = expireTime !== undefined && timestampMs(expireTime) <= nowMs;
  return revokeTime === undefined && !isExpired;
}

/** Whether a token administers everything. */
export function isFullAdmin({ scopes, producerIds }: TokenInfo): boolean {
  return scopes.includes(Scope.ADMIN) && producerIds.length === 0;
}
