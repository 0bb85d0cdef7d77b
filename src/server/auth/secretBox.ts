/**
 * Encryption of producer secrets at rest, so that a copy of the database alone lets
 * nobody sign.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  randomBytes,
} from "node:crypto";
import { HiddenText } from "../../alerts/index.ts";
import { Secret } from "../../signing/index.ts";

const ALGORITHM = "aes-256-gcm";
/** The nonce length that NIST SP 800-38D recommends for GCM. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

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

/** Seals and opens secrets under one master key. */
export interface SecretBox {
  /**
   * The id of a producer's secret, a UUIDv8 (RFC 9562, section 5.8): always the same for
   * the same secret under one master key, so that adding it twice adds it once.
   */
  idOf(secret: SecretText, producerId: string): string;
  /** Encrypts a secret. The producer's id is bound to it: moved to another, it will not open. */
  seal(secret: SecretText, producerId: string): Buffer;
  /** @throws Error, without any secret, if the box was sealed under another master key or id. */
  open(sealed: Uint8Array, producerId: string): Secret;
  /** Whether {@link SecretBox.open} would give the secret. */
  opens(sealed: Uint8Array, producerId: string): boolean;
}

/** Makes a box. @param masterKey 32 bytes. */
export function createSecretBox(masterKey: Uint8Array): SecretBox {
  const key = createSecretKey(masterKey);
  const box: SecretBox = {
    idOf(secret, producerId) {
      const mac = createHmac("sha256", key).update(`${producerId}\n${secret.reveal()}`).digest();
      return uuidV8(mac);
    },
    seal(secret, producerId) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv(ALGORITHM, key, nonce).setAAD(Buffer.from(producerId));
      const sealed = Buffer.concat([cipher.update(secret.reveal(), "utf8"), cipher.final()]);
      return Buffer.concat([nonce, cipher.getAuthTag(), sealed]);
    },
    open(sealed, producerId) {
      const nonce = sealed.subarray(0, NONCE_BYTES);
      const tag = sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES);
      const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES })
        .setAAD(Buffer.from(producerId))
        .setAuthTag(tag);
      const text = decipher.update(sealed.subarray(NONCE_BYTES + TAG_BYTES));
      return Secret.fromString(Buffer.concat([text, decipher.final()]).toString("utf8"));
    },
    opens(sealed, producerId) {
      try {
        box.open(sealed, producerId);
        return true;
      } catch {
        return false;
      }
    },
  };
  return box;
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
