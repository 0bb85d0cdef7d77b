/** New secrets of producers: made here, sealed, and shown once to whoever asked for one. */
import type { NewSecret, Outcome } from "../../access/index.ts";
import { ok, type Result, refuseCall, refused } from "../../signal/index.ts";
import { generateCredential } from "../../signing/index.ts";
import { SecretText } from "../auth/secretBox.ts";

/** What new secrets are sealed with. */
export interface Sealing {
  /** @returns `undefined` if this process lacks the key of this id. */
  readonly seal: (
    secret: SecretText,
    producerId: string,
    keyId: Uint8Array | undefined,
  ) => NewSecret | undefined;
  /** The id of the key that is in force; `undefined` if nothing was sealed yet. */
  readonly keyId: () => Uint8Array | undefined;
  /** Learns which key is in force by now. Never rejects. */
  readonly refresh: () => Promise<void>;
}

/**
 * Makes a secret and has it stored, once more if another key came into force meanwhile.
 *
 * @param store stores it, or says why not.
 * @returns the text of the secret, or why it was not stored.
 */
export async function addNewSecret<Failure extends string>(
  producerId: string,
  { seal, keyId, refresh }: Sealing,
  store: (secret: NewSecret) => Promise<Outcome<Failure | "stale_key">>,
): Promise<Result<{ readonly text: string } | { readonly failure: Failure }>> {
  const { text } = generateCredential("sec");
  for (const isLast of [false, true]) {
    const secret = seal(new SecretText(text), producerId, keyId());
    const outcome = secret === undefined ? "stale_key" : await store(secret);
    if (outcome === "done") return ok({ text });
    if (outcome !== "stale_key") return ok({ failure: outcome as Failure });
    if (!isLast) await refresh();
  }
  return refused(KEY_MISSING);
}

const KEY_MISSING = refuseCall(
  "STORE_UNAVAILABLE",
  "This server lacks the master key that is in force, so it cannot seal a secret. Nothing was changed. Give it that key, or call another server.",
);
