/**
 * Who calls with a token: proven from the headers of a request alone, before its body is
 * read (RFC 6750, section 2.1).
 */
import { hash, timingSafeEqual } from "node:crypto";
import { ok, type Result, refuseCall, refused } from "../../signal/index.ts";
import { readCredential } from "../../signing/index.ts";
import type { NodeRequest } from "../http/nodeHttp.ts";
import type { AccessDirectory, KnownToken } from "./accessDirectory.ts";

/** What of a request carries the proof. */
export type TokenHeaders = Pick<NodeRequest, "rawHeaders">;

/** Proves who calls, or refuses. Never throws. */
export type AuthenticateToken = (request: TokenHeaders) => Result<KnownToken>;

/** What {@link authenticateByToken} is made of. */
export interface AuthenticateTokenOptions {
  readonly directory: Pick<AccessDirectory, "findToken" | "isStale">;
  /** Told of each proof. */
  readonly onProof?: (tokenId: string) => void;
  /** Told of each request without one, for metrics. */
  readonly onFailure?: (failure: "unknown_token") => void;
}

/**
 * The challenge of each refusal (RFC 9110, section 11.6.1). RFC 6750 would have it say what is
 * wrong with a token; nobody is told here whether it is known.
 */
export const BEARER_CHALLENGE: Readonly<Record<string, string>> = {
  "www-authenticate": 'Bearer realm="signals.v1"',
};

/** RFC 9110, section 11.4: the scheme in any case, and one or more blanks. */
const BEARER = /^bearer +(\S+)$/i;
/** What is compared where there is no token: no text has this digest. */
const NO_DIGEST = new Uint8Array(32);

/**
 * Authentication by a bearer token. A missing, repeated or malformed header, an unknown id and
 * a wrong random part take the same path and are answered alike. A text with a wrong checksum
 * is no token of ours, and looked up nowhere.
 */
export function authenticateByToken({
  directory,
  onProof,
  onFailure,
}: AuthenticateTokenOptions): AuthenticateToken {
  return function authenticate({ rawHeaders }) {
    const text = bearerText(rawHeaders);
    const digest = hash("sha256", text, "buffer");
    const reading = readCredential(text);
    const isToken = reading.form === "whole" && reading.kind === "tok";
    const token = isToken ? directory.findToken(reading.id) : undefined;
    const isRight = timingSafeEqual(digest, token?.tokenSha256 ?? NO_DIGEST);
    if (token === undefined || !isRight) {
      onFailure?.("unknown_token");
      return refused(UNAUTHENTICATED);
    }
    if (directory.isStale()) return refused(STALE);
    onProof?.(token.tokenId);
    return ok(token);
  };
}

const UNAUTHENTICATED = refuseCall(
  "UNAUTHENTICATED",
  "The request has no token that is live. It needs one header authorization: Bearer, followed by the token.",
);

const STALE = refuseCall(
  "STORE_UNAVAILABLE",
  "The database does not answer, so it is not known whether this token is still live. Call again.",
);

/**
 * The token of the only `authorization` header; empty if there is none, or more than one. Node
 * would give the first of several, and another server on the way the last.
 */
function bearerText(rawHeaders: readonly string[]): string {
  const values: string[] = [];
  for (let name = 0; name < rawHeaders.length; name += 2) {
    if (rawHeaders[name]?.toLowerCase() === "authorization")
      values.push(rawHeaders[name + 1] ?? "");
  }
  const [value = "", another] = values;
  return another === undefined ? (BEARER.exec(value.trim())?.[1] ?? "") : "";
}
