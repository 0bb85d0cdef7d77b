/**
 * The operations port, put together: metrics, health, and the services that administer.
 */
import type { Access } from "./access.ts";
import { adminEndpoints } from "./adminEndpoints.ts";
import { authenticateByToken } from "./auth/bearer.ts";
import { createRefusedAttempts } from "./auth/refusedAttempts.ts";
import type { SecretBox } from "./auth/secretBox.ts";
import { systemClock } from "./clock.ts";
import { isLoopbackAddress } from "./http/host.ts";
import { type Listener, listen } from "./http/listener.ts";
import { createRequestLog } from "./http/requestLog.ts";
import type { ProcessLog } from "./ops/log.ts";
import type { MaintenanceMetrics } from "./ops/metrics.ts";
import { serveOpsPort } from "./ops/opsPort.ts";
import { VERSION } from "./version.ts";

/** The operations port cannot be had. The cause is the error of the operating system. */
export class OpsPortError extends Error {
  override readonly name = "OpsPortError";
}

/** How long a scrape or a call under way may take when the server closes. */
const CLOSE_GRACE_MS = 2_000;

/** What {@link serveOps} is made of. */
export interface OpsServerParts {
  readonly host: string;
  readonly port: number;
  readonly access: Access;
  readonly box: Pick<SecretBox, "seal">;
  readonly metricsText: () => Promise<string>;
  readonly metrics: Pick<MaintenanceMetrics, "requestDone" | "authenticationFailed">;
  readonly isReady: () => Promise<boolean>;
  readonly processLog: ProcessLog;
  /** What is to be closed in the end is put here. */
  readonly parts: AsyncDisposableStack;
}

/** Serves from now on. @returns where. @throws OpsPortError */
export async function serveOps({
  host,
  port,
  access,
  box,
  metricsText,
  metrics,
  isReady,
  processLog: { log, onLeftOut },
  parts,
}: OpsServerParts): Promise<Listener["address"]> {
  const { store, directory, uses } = access;
  const { monotonicMs, now } = systemClock;
  const requestLog = createRequestLog({ log, monotonicMs, onLeftOut });
  parts.defer(() => requestLog.close());
  const attempts = createRefusedAttempts({
    store,
    monotonicMs,
    onFailure: (error) => log.warn({ err: error }, "a refused attempt was not audited"),
  });
  parts.defer(() => attempts.close());
  const shutdown = new AbortController();
  // A change is made, whether this process can read it at once or a moment later.
  const refresh = () => directory.refresh().catch(() => undefined);
  const services = adminEndpoints({
    authenticateToken: authenticateByToken({
      directory,
      onProof: uses.seenToken,
      onFailure: metrics.authenticationFailed,
    }),
    store,
    sealing: { seal: box.seal, keyId: () => directory.sealingKeyId, refresh },
    onChanged: refresh,
    onRefusedAttempt: attempts.add,
    now,
    monotonicMs,
    requestLog,
    shutdownSignal: shutdown.signal,
  });
  const listener = await listen({
    host,
    port,
    tls: undefined,
    monotonicMs,
    onRequest: serveOpsPort({
      metricsText,
      isReady,
      monotonicMs,
      requestLog,
      // To look at the numbers does not change them.
      onRequestDone(record, ...outcome) {
        if (services.has(record.endpoint ?? "")) metrics.requestDone(record, ...outcome);
      },
      isLoopbackOnly: isLoopbackAddress(host),
      version: VERSION,
      services,
    }),
  }).catch((cause: unknown) => {
    throw new OpsPortError("The operations port cannot be had", { cause });
  });
  parts.defer(async () => {
    shutdown.abort();
    await listener.close(CLOSE_GRACE_MS);
  });
  return listener.address;
}
