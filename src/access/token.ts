/**
 * Tokens: who reads, reviews and administers, and what each of them may see.
 */
import type { Instant, Violation } from "../signal/index.ts";
import { isPlainText, producerIdViolations } from "./producer.ts";

/** What a token allows. None implies another. */
export const SCOPES = ["read", "review", "admin"] as const;

/** One of {@link SCOPES}. */
export type Scope = (typeof SCOPES)[number];

/** What a token may do. */
export interface TokenRights {
  readonly scopes: readonly Scope[];
  /** The producers beyond which it sees nothing, at least one; `undefined` for all. */
  readonly producerIds: readonly string[] | undefined;
}

/** What is known of a token. The token itself is not. */
export interface TokenInfo extends TokenRights {
  readonly tokenId: string;
  /** Whose it is, for people. */
  readonly name: string;
  readonly createTime: Instant;
  /** From when it no longer counts; `undefined` for never. */
  readonly expireTime: Instant | undefined;
  /** When it was revoked; `undefined` if it was not. */
  readonly revokeTime: Instant | undefined;
  /** To about a minute; `undefined` if it never was. */
  readonly lastUsedTime: Instant | undefined;
}

/** How many tokens may be live at once: servers keep all of them in memory. */
export const LIVE_TOKENS_MAX = 10_000;

const NAME_MAX_LENGTH = 100;
const PRODUCERS_MAX = 100;

const TOKEN_ID = /^[0-9A-Za-z]{1,64}$/;

/** Whether a text may be the id of a token. */
export function isTokenId(text: string): boolean {
  return TOKEN_ID.test(text);
}

/** Everything that is wrong with a token to make. @param now by the server's clock. */
export function tokenViolations(
  token: {
    readonly name: string;
    readonly scopes: readonly (Scope | undefined)[];
    readonly producerIds: readonly string[];
    readonly expireTime: Instant | undefined;
  },
  now: Instant,
): Violation[] {
  const { name, scopes, producerIds, expireTime } = token;
  const violations: Violation[] = [];
  const length = [...name].length;
  if (length < 1 || length > NAME_MAX_LENGTH || !isPlainText(name) || name.trim() !== name) {
    violations.push({
      field: "name",
      description: `must have 1 to ${NAME_MAX_LENGTH} characters, without control characters and without spaces around`,
    });
  }
  if (scopes.length === 0 || scopes.includes(undefined)) {
    violations.push({ field: "scopes", description: `must be among ${SCOPES.join(", ")}` });
  }
  if (producerIds.length > PRODUCERS_MAX) {
    violations.push({ field: "producer_ids", description: `must have at most ${PRODUCERS_MAX}` });
  } else {
    violations.push(
      ...producerIds.flatMap((id) => producerIdViolations(id, "producer_ids")).slice(0, 1),
    );
  }
  if (expireTime !== undefined && expireTime <= now) {
    violations.push({ field: "expire_time", description: "must be in the future" });
  }
  return violations;
}

/** Whether a token sees what concerns this producer. */
export function seesProducer({ producerIds }: TokenRights, producerId: string): boolean {
  return producerIds === undefined || producerIds.includes(producerId);
}

/** Whether one token sees no more than another does, so that the other may make and see it. */
export function isWithin(inner: TokenRights, outer: TokenRights): boolean {
  if (outer.producerIds === undefined) return true;
  return inner.producerIds?.every((id) => seesProducer(outer, id)) ?? false;
}
