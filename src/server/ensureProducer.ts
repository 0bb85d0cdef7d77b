/**
 * Makes sure of a producer at the start: the one that the configuration names, or, on
 * the embedded database, a first one of its own, so that a signal can be sent at once.
 */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { generateSecret } from "../signing/index.ts";
import type { ProducerStore } from "../store/index.ts";
import { LIVE_SECRETS_MAX } from "./producerDirectory.ts";
import { type SecretBox, SecretText } from "./secretBox.ts";

/** A producer and the text of its secret. */
export interface ProducerCredentials {
  readonly producerId: string;
  readonly secret: SecretText;
}

const LOCAL_PRODUCER_ID = "local-bot";
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

/** Where the first producer's credentials are, in a form that shells and Node can read. */
export function localProducerFile(dataDir: string): string {
  return join(dataDir, "producer.env");
}

/** The first producer of this data directory: the one that is there, or a new one. */
export async function localProducer(dataDir: string): Promise<ProducerCredentials> {
  const known = await readFile(localProducerFile(dataDir), "utf8").catch((error) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const { PRODUCER_ID, HMAC_PRODUCER_SECRET } = parseEnv(known);
  if (PRODUCER_ID !== undefined && HMAC_PRODUCER_SECRET !== undefined) {
    return { producerId: PRODUCER_ID, secret: new SecretText(HMAC_PRODUCER_SECRET) };
  }
  return { producerId: LOCAL_PRODUCER_ID, secret: new SecretText(generateSecret()) };
}

/** Writes the credentials for producers on this machine, readable by their owner only. */
export async function writeLocalProducer(
  dataDir: string,
  { producerId, secret }: ProducerCredentials,
  serverUrl: string,
): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const text = [
    "# The first producer of this server. Its secret signs trading signals: keep it private.",
    `PRODUCER_ID=${producerId}`,
    `HMAC_PRODUCER_SECRET=${secret.reveal()}`,
    `OUTBOUND_SERVER_URL=${serverUrl}`,
    "",
  ].join("\n");
  const path = localProducerFile(dataDir);
  const temporary = `${path}.${randomBytes(4).toString("hex")}`;
  await writeFile(temporary, text, { mode: 0o600 });
  await rename(temporary, path);
}
