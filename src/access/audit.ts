/**
 * The audit: who did what, and what was refused.
 */
import type { Instant, Reason } from "../signal/index.ts";

/** Who administers. */
export interface Actor {
  /** The token's id; `undefined` if it was done without one. */
  readonly tokenId: string | undefined;
  /** The token's name, or what acted, such as `countersign serve`. */
  readonly name: string;
}

/** What can stand in the audit. */
export type AuditAction =
  | "producer.create"
  | "producer.update"
  | "producer.enable"
  | "producer.disable"
  | "producer.read"
  | "producer_secret.add"
  | "producer_secret.rotate"
  | "producer_secret.revoke"
  | "producer_secret.first_use"
  | "token.create"
  | "token.bootstrap"
  | "token.revoke"
  | "token.read"
  | "token.first_use"
  | "audit.read"
  | "master_key.rotate"
  | "master_key.reseal";

/** What a producer or a token is, as the audit tells it: JSON without any secret. */
export type AuditedState = Readonly<Record<string, unknown>>;

/** One entry. */
export interface AuditEntry {
  readonly entryId: bigint;
  readonly time: Instant;
  readonly actor: Actor;
  readonly action: string;
  readonly producerId: string | undefined;
  readonly tokenId: string | undefined;
  /** Why it was refused; `undefined` if it was done. */
  readonly reason: string | undefined;
  readonly before: AuditedState | undefined;
  readonly after: AuditedState | undefined;
}

/** Digits without a sign or a zero before them: fewer than the greatest bigint of PostgreSQL has. */
const ENTRY_ID = /^[1-9][0-9]{0,17}$/;

/** Whether a text may be the id of an entry. */
export function isEntryId(text: string): boolean {
  return ENTRY_ID.test(text);
}

/** An attempt of a proven token that was refused. */
export interface RefusedAttempt {
  readonly actor: Actor;
  readonly action: AuditAction;
  readonly producerId: string | undefined;
  readonly tokenId: string | undefined;
  readonly reason: Reason;
}
