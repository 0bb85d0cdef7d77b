/** What the tests of the access store share. */
import { randomBytes, randomUUID } from "node:crypto";
import { expect } from "vitest";
import type { Actor, AuditEntry, NewSecret } from "../../../src/access/index.ts";
import { createAccessStore, type Database } from "../../../src/store/index.ts";

export const TIMEOUT_MS = 20_000;

/** Who administers in these tests. */
export const ACTOR: Actor = { tokenId: "tokOfAlice", name: "alice" };

/** The key that secrets are sealed under, unless a test says otherwise. */
export const KEY_ID = new Uint8Array(8).fill(1);
export const OTHER_KEY_ID = new Uint8Array(8).fill(2);

export const SETTINGS = {
  displayName: "",
  requireApproval: false,
  rateLimitPerSecond: undefined,
  allowedInstruments: undefined,
} as const;

let lastSecret = 0;

/** A new secret, whose id tells its place among them. */
export function aSecret(keyId = KEY_ID): NewSecret {
  lastSecret += 1;
  return { secretId: `secret${lastSecret}`, keyId, sealed: new Uint8Array(randomBytes(60)) };
}

let lastToken = 0;

/** A new token that reads all, whose id tells its place among them. */
export function aToken() {
  lastToken += 1;
  return {
    tokenId: `token${lastToken}`,
    tokenSha256: new Uint8Array(randomBytes(32)),
    name: "reader",
    scopes: ["read"] as const,
    producerIds: undefined,
    expireTime: undefined,
  };
}

/** An id that no other test uses. */
export const aProducerId = () => `bot-${randomUUID()}`;

/** The store, with what only tests do. */
export function openTestStore(database: Database) {
  const store = createAccessStore(database);
  return {
    ...store,

    /** Makes a producer, and gives its id and its first secret. */
    async make(settings: Partial<Parameters<typeof store.createProducer>[0]> = {}) {
      const producer = { producerId: aProducerId(), ...SETTINGS, ...settings };
      const secret = aSecret();
      expect(await store.createProducer(producer, secret, ACTOR, TIMEOUT_MS)).toBe("done");
      return { producerId: producer.producerId, secret };
    },

    /** Rotates by a new secret, and gives it with what came of it. */
    async rotate(producerId: string, rule: { graceSeconds?: number; force?: boolean } = {}) {
      const secret = aSecret();
      const whole = { graceSeconds: 3_600, force: false, ...rule };
      const outcome = await store.rotateProducerSecret(
        producerId,
        secret,
        whole,
        ACTOR,
        TIMEOUT_MS,
      );
      return { secret, outcome };
    },

    /** The ids of the secrets of a producer that are live, the newest first. */
    async liveSecretIds(producerId: string): Promise<string[]> {
      const producer = await store.getProducer(producerId, TIMEOUT_MS);
      return (producer?.secrets ?? []).map(({ secretId }) => secretId);
    },

    /** The entries about a producer, the oldest first. */
    async storyOf(producerId: string): Promise<readonly AuditEntry[]> {
      const filter = { ...EVERYTHING, producerId };
      const page = await store.listAuditEntries(filter, FIRST_PAGE, TIMEOUT_MS);
      return page.items.toReversed();
    },

    /** The entries about a token, the oldest first. */
    async storyOfToken(tokenId: string): Promise<readonly AuditEntry[]> {
      const filter = { ...EVERYTHING, tokenId };
      const page = await store.listAuditEntries(filter, FIRST_PAGE, TIMEOUT_MS);
      return page.items.toReversed();
    },
  };
}

export const EVERYTHING = {
  within: undefined,
  producerId: undefined,
  tokenId: undefined,
  action: undefined,
};

export const FIRST_PAGE = { size: 1_000, after: undefined };
