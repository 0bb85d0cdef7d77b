/** Producers of all kinds, put into a database before its server starts. */
import { createSecretBox, SecretText } from "../../../src/server/auth/secretBox.ts";
import { createProducerStore, openDatabase } from "../../../src/store/index.ts";
import { silentLog } from "../../support/postgres.ts";
import { TEST_MASTER_KEY, TEST_SECRET } from "../../support/server.ts";

/** A producer to add, with what a test cares about. */
export interface ProducerToAdd {
  readonly producerId: string;
  /** Oldest first. Default: the test secret, which never expires. */
  readonly secrets?: readonly {
    readonly secret: string;
    readonly expireTime?: bigint;
    readonly masterKey?: string;
  }[];
  readonly isEnabled?: boolean;
  readonly requireApproval?: boolean;
  readonly allowedInstruments?: readonly string[];
  readonly rateLimitPerSecond?: number;
}

const TIMEOUT_MS = 10_000;

/** Adds producers as an operator would have. */
export async function addProducers(
  databaseUrl: string,
  producers: readonly ProducerToAdd[],
): Promise<void> {
  const database = openDatabase({ url: databaseUrl, poolSize: 1, log: silentLog });
  const store = createProducerStore(database);
  for (const producer of producers) {
    const { producerId, allowedInstruments } = producer;
    await store.ensureProducer(
      {
        producerId,
        requireApproval: producer.requireApproval ?? false,
        allowedInstruments: allowedInstruments && new Set(allowedInstruments),
        rateLimitPerSecond: producer.rateLimitPerSecond,
      },
      TIMEOUT_MS,
    );
    for (const { secret, expireTime, masterKey } of producer.secrets ?? [{ secret: TEST_SECRET }]) {
      const box = createSecretBox([Buffer.from(masterKey ?? TEST_MASTER_KEY, "base64")]);
      const sealed = box.seal(new SecretText(secret), producerId, undefined);
      if (sealed === undefined) throw new Error("no key");
      await store.addProducerSecret(producerId, sealed, expireTime, TIMEOUT_MS);
    }
    if (producer.isEnabled === false) await store.setProducerEnabled(producerId, false, TIMEOUT_MS);
  }
  await database.close();
}
