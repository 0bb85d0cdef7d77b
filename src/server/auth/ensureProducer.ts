/**
 * Makes sure of a producer at the start: the one that the configuration names, or the first one
 * of an embedded database.
 */
import type { AccessStore } from "../../access/index.ts";
import { StoreUnavailableError } from "../../ingest/index.ts";
import type { SecretBox, SecretText } from "./secretBox.ts";

/** A producer and the text of its secret. */
export interface ProducerCredentials {
  readonly producerId: string;
  readonly secret: SecretText;
}

/**
 * What became of the secret: it signs, or was given up since, or another secret has its id, so
 * that it cannot be added.
 */
export type EnsuredSecret = "live" | "ended" | "taken";

const STORE_TIMEOUT_MS = 10_000;
const ACTOR_NAME = "countersign serve";
/** Between two readings a rotation of the master key may end, and after it none for long. */
const ATTEMPTS_MAX = 5;

/**
 * Makes sure that a producer exists and may sign with this secret. What a person changed
 * since stays: a producer that was disabled stays disabled, and a secret that was given up is
 * not added again. It is recognised by its text, under whatever key and id it was added.
 *
 * @throws StoreUnavailableError
 */
export async function ensureProducer(
  { producerId, secret }: ProducerCredentials,
  store: Pick<AccessStore, "loadSealedSecrets" | "ensureProducer">,
  box: SecretBox,
): Promise<EnsuredSecret> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const { sealingKeyId, secrets } = await store.loadSealedSecrets(STORE_TIMEOUT_MS);
    await box.learnKey(sealingKeyId);
    const same = secrets.filter(
      (each) => each.producerId === producerId && box.holds(each.sealed, producerId, secret),
    );
    if (same.length > 0) return same.some(({ isLive }) => isLive) ? "live" : "ended";
    const sealed = box.seal(secret, producerId, sealingKeyId);
    if (sealed === undefined) break;
    if (secrets.some(({ secretId }) => secretId === sealed.secretId)) return "taken";
    const outcome = await store.ensureProducer(producerId, sealed, ACTOR_NAME, STORE_TIMEOUT_MS);
    if (outcome === "done") return "live";
  }
  throw new StoreUnavailableError(
    "The master key was rotated meanwhile, so the configured producer cannot be made sure of",
  );
}
