/** Sealed secrets, as this version and an earlier one make them. */
import { createCipheriv, randomBytes } from "node:crypto";
import { createSecretBox, SecretText } from "../../../src/server/auth/secretBox.ts";

/** A secret that is sealed under a master key. */
export function sealNow(masterKey: Uint8Array, producerId: string, text: string) {
  const sealed = createSecretBox([masterKey]).seal(new SecretText(text), producerId, undefined);
  if (sealed === undefined) throw new Error("It has a key");
  return sealed;
}

/** The bytes that an earlier version sealed under a master key. */
export function sealBefore(
  masterKey: Uint8Array,
  producerId: string,
  text: string,
  nonce: Uint8Array = randomBytes(12),
): Buffer {
  const cipher = createCipheriv("aes-256-gcm", masterKey, nonce).setAAD(Buffer.from(producerId));
  const sealed = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed]);
}
