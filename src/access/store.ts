/**
 * What the domain asks of a database. `store/` implements it on PostgreSQL.
 *
 * Every method throws a `StoreUnavailableError` if the database did not do the work, or not
 * within `timeoutMs`; whether a change was made is then unknown.
 */
import type { Instant } from "../signal/index.ts";
import type { Actor, AuditEntry, RefusedAttempt } from "./audit.ts";
import type { ProducerInfo, ProducerSetting, ProducerSettings } from "./producer.ts";
import type { TokenInfo, TokenRights } from "./token.ts";

/** A secret as it is at rest: encrypted by the caller, opaque here. */
export interface SealedSecret {
  readonly secretId: string;
  readonly sealed: Uint8Array;
}

/** A secret to add, and under which key it is sealed. */
export interface NewSecret extends SealedSecret {
  /** 8 bytes. */
  readonly keyId: Uint8Array;
}

/** All sealed secrets at one moment. */
export interface SealedSecrets {
  /** Under which key secrets are to be sealed; `undefined` if there was none yet. */
  readonly sealingKeyId: Uint8Array | undefined;
  /** In no order, those that have ended too. */
  readonly secrets: readonly (SealedSecret & {
    readonly producerId: string;
    readonly isLive: boolean;
  })[];
}

/** What servers keep in memory of a producer. */
export interface LoadedProducer extends Omit<ProducerSettings, "displayName"> {
  readonly producerId: string;
  readonly enabled: boolean;
  /** Those that have not ended, the newest first. */
  readonly secrets: readonly SealedSecret[];
}

/** What servers keep in memory of a token. */
export interface LoadedToken extends TokenRights {
  readonly tokenId: string;
  readonly name: string;
  /** SHA-256 of the token's text, 32 bytes. */
  readonly tokenSha256: Uint8Array;
}

/** Everything that decides who may do what, at one moment. */
export interface AccessSnapshot {
  /** Grows with each change. */
  readonly version: bigint;
  /** Under which key secrets are to be sealed; `undefined` if there was none yet. */
  readonly sealingKeyId: Uint8Array | undefined;
  /** All of them, disabled ones too. */
  readonly producers: readonly LoadedProducer[];
  /** Those that are live. */
  readonly tokens: readonly LoadedToken[];
  /** In how many milliseconds the next secret or token ends; `undefined` if none does. */
  readonly nextExpiryMs: number | undefined;
}

/** A page of a list. */
export interface Page<Item> {
  readonly items: readonly Item[];
  /** What the next page begins after; `undefined` at the end. */
  readonly next: string | undefined;
}

/** Which page is asked for. */
export interface PageRequest {
  /** 1 to 1,000. */
  readonly size: number;
  /** The `next` of the page before; `undefined` for the first. */
  readonly after: string | undefined;
}

/** What came of a change: done, or why nothing was changed. */
export type Outcome<Failure extends string> = "done" | Failure;

/** Keeps producers, tokens and the audit. Each change leaves its entry with it, or nothing. */
export interface AccessStore {
  /** The number that grows with each change of what {@link AccessStore.load} gives. */
  version(timeoutMs: number): Promise<bigint>;
  load(timeoutMs: number): Promise<AccessSnapshot>;

  createProducer(
    producer: ProducerSettings & { readonly producerId: string },
    secret: NewSecret,
    actor: Actor,
    timeoutMs: number,
  ): Promise<Outcome<"already_exists" | "stale_key">>;
  /** Changes what `changes` has a key for. */
  updateProducer(
    producerId: string,
    changes: Partial<Pick<ProducerSettings, ProducerSetting>>,
    actor: Actor,
    timeoutMs: number,
  ): Promise<Outcome<"not_found">>;
  setProducerEnabled(
    producerId: string,
    enabled: boolean,
    actor: Actor,
    timeoutMs: number,
  ): Promise<Outcome<"not_found">>;
  rotateProducerSecret(
    producerId: string,
    secret: NewSecret,
    rule: { readonly graceSeconds: number; readonly force: boolean },
    actor: Actor,
    timeoutMs: number,
  ): Promise<Outcome<"not_found" | "under_way" | "stale_key">>;
  revokeProducerSecret(
    producerId: string,
    secretId: string,
    actor: Actor,
    timeoutMs: number,
  ): Promise<Outcome<"not_found">>;
  /** Makes sure of a producer and a secret. What is there stays as it is. */
  ensureProducer(
    producerId: string,
    secret: NewSecret,
    actorName: string,
    timeoutMs: number,
  ): Promise<Outcome<"stale_key">>;
  getProducer(producerId: string, timeoutMs: number): Promise<ProducerInfo | undefined>;
  /** In the order of their ids. @param within only these; `undefined` for all. */
  listProducers(
    within: readonly string[] | undefined,
    page: PageRequest,
    timeoutMs: number,
  ): Promise<Page<ProducerInfo>>;

  createToken(
    token: TokenRights & {
      readonly tokenId: string;
      readonly tokenSha256: Uint8Array;
      readonly name: string;
      readonly expireTime: Instant | undefined;
    },
    actor: Actor,
    timeoutMs: number,
  ): Promise<Outcome<"too_many">>;
  /**
   * Makes a token with all scopes for all producers.
   *
   * @param force also while there is such a token.
   */
  bootstrapToken(
    token: { readonly tokenId: string; readonly tokenSha256: Uint8Array; readonly name: string },
    force: boolean,
    actorName: string,
    timeoutMs: number,
  ): Promise<Outcome<"already_exists" | "too_many">>;
  revokeToken(tokenId: string, actor: Actor, timeoutMs: number): Promise<Outcome<"not_found">>;
  getToken(tokenId: string, timeoutMs: number): Promise<TokenInfo | undefined>;
  /** The newest first. @param within only tokens whose lists are inside it. */
  listTokens(
    within: readonly string[] | undefined,
    page: PageRequest,
    timeoutMs: number,
  ): Promise<Page<TokenInfo>>;

  /** The newest first. @param within only what concerns these producers, and tokens inside. */
  listAuditEntries(
    filter: {
      readonly within: readonly string[] | undefined;
      readonly producerId: string | undefined;
      readonly tokenId: string | undefined;
      /** `producer.update`, or `producer` for all that begin so. */
      readonly action: string | undefined;
    },
    page: PageRequest,
    timeoutMs: number,
  ): Promise<Page<AuditEntry>>;
  addRefusedAttempt(attempt: RefusedAttempt, timeoutMs: number): Promise<void>;
  /** Notes that they were seen lately. Those who were noted within a minute stay as they are. */
  recordUse(
    seen: {
      readonly producerIds: Iterable<string>;
      readonly secretIds: Iterable<string>;
      readonly tokenIds: Iterable<string>;
    },
    timeoutMs: number,
  ): Promise<void>;

  /**
   * Every sealed secret there is. Works on a database of an earlier version, too, and on an
   * empty one.
   */
  loadSealedSecrets(timeoutMs: number): Promise<SealedSecrets>;
  /** Seals all secrets anew in one step. `changed`: there are others by now; read again. */
  resealSecrets(
    secrets: readonly SealedSecret[],
    keys: { readonly from: Uint8Array; readonly to: Uint8Array },
    action: "master_key.rotate" | "master_key.reseal",
    actorName: string,
    timeoutMs: number,
  ): Promise<Outcome<"stale_key" | "changed">>;
}
