/** Producers of all kinds, put into a database before its server starts. */
import postgres from "postgres";
import { createSecretBox, SecretText } from "../../../src/server/auth/secretBox.ts";
import { formatTimestamp } from "../../../src/signing/index.ts";
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

/** Adds producers by hand, with their secrets. Of one that is there, only secrets are added. */
export async function addProducers(
  databaseUrl: string,
  producers: readonly ProducerToAdd[],
): Promise<void> {
  const sql = postgres(databaseUrl, { max: 1 });
  for (const producer of producers) {
    const { producerId, isEnabled = true, requireApproval = false } = producer;
    await sql`
      INSERT INTO producers
        (producer_id, enabled, require_approval, allowed_instruments, rate_limit_per_second)
      VALUES (${producerId}, ${isEnabled}, ${requireApproval},
        ${producer.allowedInstruments ?? null}, ${producer.rateLimitPerSecond ?? null})
      ON CONFLICT DO NOTHING
    `;
    for (const { secret, expireTime, masterKey } of producer.secrets ?? [{ secret: TEST_SECRET }]) {
      const box = createSecretBox([Buffer.from(masterKey ?? TEST_MASTER_KEY, "base64")]);
      const added = box.seal(new SecretText(secret), producerId, undefined);
      if (added === undefined) throw new Error("no key");
      const expiresAt = expireTime === undefined ? null : formatTimestamp(expireTime);
      await sql`
        INSERT INTO producer_secrets (secret_id, producer_id, sealed, expires_at)
        VALUES (${added.secretId}, ${producerId}, ${added.sealed}, ${expiresAt}::timestamptz)
      `;
    }
  }
  await sql.end();
}
