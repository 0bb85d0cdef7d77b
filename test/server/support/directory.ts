/** A directory of producers that a test names, without a database. */
import type { AuthenticateOptions } from "../../../src/server/auth/authenticate.ts";
import { Secret } from "../../../src/signing/index.ts";
import { TEST_SECRET } from "../../support/server.ts";

/** Knows these producers, who sign with the test secret, and nobody else. */
export function directoryOf(...producerIds: readonly string[]): AuthenticateOptions["directory"] {
  const secret = Secret.fromString(TEST_SECRET);
  const secrets = [{ secretId: "its-secret", secret, standing: { isGood: true } }];
  return {
    findProducer: (producerId) =>
      producerIds.includes(producerId)
        ? {
            producerId,
            isEnabled: true,
            requireApproval: false,
            allowedInstruments: undefined,
            rateLimitPerSecond: undefined,
            secrets,
          }
        : undefined,
    isStale: () => false,
  };
}
