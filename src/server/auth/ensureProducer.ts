/**
 * Makes sure of a producer at the start: the one that the configuration names, or the first one
 * of an embedded database.
 */
import type { ProducerStore } from "../../store/index.ts";
import { LIVE_SECRETS_MAX } from "./producerDirectory.ts";
import type { SecretBox, SecretText } from "./secretBox.ts";

/** A producer and the text of its secret. */
export interface ProducerCredentials {
  readonly producerId: string;
  readonly secret: SecretText;
}

const STORE_TIMEOUT_MS = 10_000;

/**
 * Makes sure that a producer exists and may sign with this secret. What a person changed
 * since stays: a producer that was disabled stays disabled.
 *
 * @returns whether the secret is live; false if it was given up since.
 * @throws StoreUnavailableError
 */
export async function ensureProducer(
  { producerId, secret }: ProducerCredentials,
  store: ProducerStore,
  box: SecretBox,
): Promise<boolean> {
  const fresh = {
    producerId,
    requireApproval: false,
    allowedInstruments: undefined,
    rateLimitPerSecond: undefined,
  };
  await store.ensureProducer(fresh, STORE_TIMEOUT_MS);
  const secretId = box.idOf(secret, producerId);
  const sealed = { secretId, sealed: box.seal(secret, producerId) };
  await store.addProducerSecret(producerId, sealed, undefined, STORE_TIMEOUT_MS);
  const producers = await store.loadProducers(STORE_TIMEOUT_MS);
  const stored = producers.find((producer) => producer.producerId === producerId);
  const live = stored?.secrets.slice(0, LIVE_SECRETS_MAX) ?? [];
  return live.some((secret) => secret.secretId === secretId);
}
