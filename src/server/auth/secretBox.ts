/**
 * Encryption of producer secrets at rest, so that a copy of the database alone lets
 * nobody sign.
 *
 * Each use has a key of its own, derived from the master key by HKDF (RFC 5869). A sealed
 * secret says under which master key it is, so that the key can be rotated while servers run:
 * a byte for the form, the key's id (8 bytes), the nonce (12), the tag (16), and the secret
 * encrypted by AES-256-GCM. In the form before it, which is still opened, the nonce came
 * first, and the master key itself encrypted.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hash,
  hkdfSync,
  type KeyObject,
  randomBytes,
  timingSafeEqual,
} from "node:crypto";
import type { NewSecret } from "../../access/index.ts";
import { HiddenText, withDeadline } from "../../alerts/index.ts";
import { readCredential, Secret } from "../../signing/index.ts";

const ALGORITHM = "aes-256-gcm";
/** The nonce length that NIST SP 800-38D recommends for GCM. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** The form of what is sealed now. The form before began with a random byte. */
const FORM = 1;
const KEY_ID_BYTES = 8;
const HEADER_BYTES = 1 + KEY_ID_BYTES;
const DERIVED_KEY_BYTES = 32;

/** Of a rotation there are two; a process that sees several of them keeps a few more. */
const KEYS_MAX = 4;
/** Nobody's secrets are read while a file system does not answer. */
const LEARN_TIMEOUT_MS = 1_000;

/**
 * The text of a secret on its way into the box.
 */
export class SecretText extends HiddenText {
  /** @throws TypeError, without the value, for a text that cannot be a secret. */
  constructor(text: string) {
    Secret.fromString(text);
    super(text);
  }
}

/** Seals and opens secrets under a master key, and during a rotation under two. */
export interface SecretBox {
  /** The public ids of its master keys, 8 bytes each, in the order they were given. */
  readonly keyIds: readonly Uint8Array[];
  /** Whether it has the master key with this id. */
  hasKey(keyId: Uint8Array): boolean;
  /**
   * Reads the master keys again if it lacks the one that is in force: it was rotated since.
   * Without success the box stays as it is. Never rejects, and takes a second at most.
   *
   * @param keyId of that key; `undefined` if none was used yet.
   */
  learnKey(keyId: Uint8Array | undefined): Promise<void>;
  /**
   * Encrypts a secret. The producer's id is bound to it: moved to another, it will not open.
   *
   * Its own id is that of a generated one. Another's is a UUIDv8 (RFC 9562, section 5.8),
   * the same whenever it is sealed under this key, so that of servers that add it at once
   * one does.
   *
   * @param keyId of the master key that is in force; `undefined` if none was used yet.
   * @returns `undefined` without that key.
   */
  seal(
    secret: SecretText,
    producerId: string,
    keyId: Uint8Array | undefined,
  ): NewSecret | undefined;
  /**
   * The same secret sealed under another master key, in the form of now.
   *
   * @throws Error, without any secret, if it does not open, or without that key.
   */
  reseal(sealed: Uint8Array, producerId: string, keyId: Uint8Array): Uint8Array;
  /** @throws Error, without any secret, if it was sealed under another master key or id. */
  open(sealed: Uint8Array, producerId: string): Secret;
  /** Whether {@link SecretBox.open} would give the secret. */
  opens(sealed: Uint8Array, producerId: string): boolean;
  /** Whether what is sealed is this very secret, compared in constant time. */
  holds(sealed: Uint8Array, producerId: string, secret: SecretText): boolean;
}

/**
 * Makes a box.
 *
 * @param masterKeys 32 bytes each, the current one first, at least one.
 * @param readAgain reads them from where they may be rotated.
 */
export function createSecretBox(
  masterKeys: readonly Uint8Array[],
  readAgain: () => Promise<readonly Uint8Array[]> = async () => [],
): SecretBox {
  let keys = masterKeys.map(deriveKeys);

  function findKey(keyId: Uint8Array): DerivedKeys | undefined {
    return keys.find(({ id }) => id.equals(keyId));
  }

  function decrypt(sealed: Uint8Array, producerId: string): Buffer {
    const key = keys.find(({ id }) => isSealedUnder(sealed, id));
    if (key !== undefined) return decipher(sealed.subarray(HEADER_BYTES), producerId, key.sealing);
    for (const { master } of keys) {
      const secret = unlessThrown(() => decipher(sealed, producerId, master));
      if (secret !== undefined) return secret;
    }
    throw new Error("It was sealed under another master key, or changed since.");
  }

  function tryDecrypt(sealed: Uint8Array, producerId: string): Buffer | undefined {
    return unlessThrown(() => decrypt(sealed, producerId));
  }

  const box: SecretBox = {
    get keyIds() {
      return keys.map(({ id }) => id);
    },
    hasKey: (keyId) => findKey(keyId) !== undefined,
    async learnKey(keyId) {
      if (keyId === undefined || box.hasKey(keyId)) return;
      // What then does not open is told where it is opened.
      const { signal } = new AbortController();
      const found = await withDeadline(readAgain, LEARN_TIMEOUT_MS, signal).catch(() => []);
      const fresh = found.map(deriveKeys).filter(({ id }) => !box.hasKey(id));
      keys = [...fresh, ...keys].slice(0, KEYS_MAX);
    },
    seal(secret, producerId, keyId) {
      // Nothing says so yet: then under the oldest, since a server that was not restarted in a
      // rotation has only that one.
      const key = keyId === undefined ? keys.at(-1) : findKey(keyId);
      if (key === undefined) return undefined;
      const sealed = encipher(Buffer.from(secret.reveal()), producerId, key);
      return { secretId: idOf(secret, producerId, key), sealed, keyId: key.id };
    },
    reseal(sealed, producerId, keyId) {
      const key = findKey(keyId);
      if (key === undefined) throw new Error("There is no such master key.");
      return encipher(decrypt(sealed, producerId), producerId, key);
    },
    open(sealed, producerId) {
      return Secret.fromString(decrypt(sealed, producerId).toString("utf8"));
    },
    opens: (sealed, producerId) => tryDecrypt(sealed, producerId) !== undefined,
    holds(sealed, producerId, secret) {
      const text = tryDecrypt(sealed, producerId);
      // By their hashes, which are of equal length whatever the secrets are.
      const other = hash("sha256", secret.reveal(), "buffer");
      return text !== undefined && timingSafeEqual(hash("sha256", text, "buffer"), other);
    },
  };
  return box;
}

/** Whether it is in the form of now, under the master key with this id. */
export function isSealedUnder(sealed: Uint8Array, keyId: Uint8Array): boolean {
  return sealed[0] === FORM && Buffer.from(keyId).equals(sealed.subarray(1, HEADER_BYTES));
}

/** What is made of a master key: a key for each purpose, so that none can stand for another. */
interface DerivedKeys {
  /** Tells which master key it is, and nothing else about it. */
  readonly id: Buffer;
  readonly sealing: KeyObject;
  readonly naming: KeyObject;
  /** The master key, for the form before. */
  readonly master: KeyObject;
}

function deriveKeys(masterKey: Uint8Array): DerivedKeys {
  const master = createSecretKey(masterKey);
  const derive = (purpose: string, bytes = DERIVED_KEY_BYTES) =>
    Buffer.from(hkdfSync("sha256", master, "", `countersign ${purpose} v1`, bytes));
  return {
    id: derive("master key id", KEY_ID_BYTES),
    sealing: createSecretKey(derive("producer secret sealing")),
    naming: createSecretKey(derive("secret id")),
    master,
  };
}

function encipher(secret: Uint8Array, producerId: string, { id, sealing }: DerivedKeys): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(ALGORITHM, sealing, nonce).setAAD(Buffer.from(producerId));
  const sealed = Buffer.concat([cipher.update(secret), cipher.final()]);
  return Buffer.concat([Buffer.of(FORM), id, nonce, cipher.getAuthTag(), sealed]);
}

/** @param sealed nonce, tag and what is encrypted. */
function decipher(sealed: Uint8Array, producerId: string, key: KeyObject): Buffer {
  const nonce = sealed.subarray(0, NONCE_BYTES);
  const tag = sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES);
  const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES })
    .setAAD(Buffer.from(producerId))
    .setAuthTag(tag);
  const text = decipher.update(sealed.subarray(NONCE_BYTES + TAG_BYTES));
  return Buffer.concat([text, decipher.final()]);
}

function unlessThrown<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

function idOf(secret: SecretText, producerId: string, { naming }: DerivedKeys): string {
  const text = secret.reveal();
  const credential = readCredential(text);
  if (credential.form === "whole") return credential.id;
  return uuidV8(createHmac("sha256", naming).update(`${producerId}\n${text}`).digest());
}

function uuidV8(bytes: Buffer): string {
  const id = Buffer.from(bytes.subarray(0, 16));
  id[6] = ((id[6] as number) & 0x0f) | 0x80;
  id[8] = ((id[8] as number) & 0x3f) | 0x80;
  const hex = id.toString("hex");
  return [0, 8, 12, 16, 20]
    .map((start, index, starts) => hex.slice(start, starts[index + 1]))
    .join("-");
}
