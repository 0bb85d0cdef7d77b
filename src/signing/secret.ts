/**
 * The secret that a producer shares with the server, held so that it cannot be printed
 * by accident.
 */
import { createHmac, createSecretKey, type KeyObject, randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { credentialFault } from "./credential.ts";

/** The fewest bytes that a secret may have in UTF-8: 128 bits, if they are random. */
export const SECRET_MIN_BYTES = 16;

/**
 * The random bytes in a generated secret: the output size of SHA-256, which RFC 2104,
 * section 3, recommends as the least length of an HMAC key.
 */
const GENERATED_SECRET_BYTES = 32;

const REDACTED = "[redacted]";

/**
 * A secret that can make an HMAC and nothing else. Its value cannot be read back:
 * strings, JSON, inspection, and enumeration give `[redacted]` or nothing at all.
 */
export class Secret {
  // The key is prepared once, because an HMAC from raw bytes takes about six times as
  // long as one from a KeyObject.
  readonly #key: KeyObject;

  private constructor(key: KeyObject) {
    this.#key = key;
  }

  /**
   * The secret with this text. The key is the UTF-8 bytes of the text exactly as given:
   * nothing is trimmed, decoded, or normalised.
   *
   * @throws TypeError, without the value, if the text is shorter than
   *   {@link SECRET_MIN_BYTES} in UTF-8, holds a lone surrogate, or is a secret of
   *   Countersign's making with a typo, which nobody could have.
   */
  static fromString(text: string): Secret {
    // UTF-8 cannot carry a lone surrogate. Encoding would replace it by U+FFFD in
    // silence, and many different texts would then be one and the same key.
    if (!text.isWellFormed()) {
      throw new TypeError("The secret is not well-formed Unicode: it has a lone surrogate.");
    }
    const fault = credentialFault(text, "sec");
    if (fault !== undefined) throw new TypeError(`The secret ${fault}.`);
    if (Buffer.byteLength(text, "utf8") < SECRET_MIN_BYTES) {
      throw new TypeError(`The secret must have at least ${SECRET_MIN_BYTES} bytes in UTF-8.`);
    }
    return new Secret(createSecretKey(text, "utf8"));
  }

  /** HMAC-SHA256 of the data (a string: of its UTF-8 bytes) under this secret, 32 bytes. */
  hmacSha256(data: string | Uint8Array): Buffer {
    return createHmac("sha256", this.#key).update(data).digest();
  }

  /** Always `[redacted]`. */
  toString(): string {
    return REDACTED;
  }

  /** Always `[redacted]`. */
  toJSON(): string {
    return REDACTED;
  }

  /** Always `[redacted]`. */
  [inspect.custom](): string {
    return REDACTED;
  }
}

/**
 * The text of a new secret: 32 bytes from the system's secure random source, in
 * unpadded base64url, so 43 characters that need no quoting in a shell or an env file.
 */
export function generateSecret(): string {
  return randomBytes(GENERATED_SECRET_BYTES).toString("base64url");
}
