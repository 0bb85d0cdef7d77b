/**
 * The part of the server that takes signals, put together. What a signal passes through,
 * top-down, is the router, the authentication, the main job, and the store.
 *
 * Every process that takes signals has one: the only process, or each of the workers.
 */
import { randomUUIDv7 } from "node:crypto";
import { createBatcher, createIngest } from "../ingest/index.ts";
import { createRateLimitStore, createSignalStore, type Database } from "../store/index.ts";
import type { Access } from "./access.ts";
import {
  type Authenticate,
  authenticateBySignature,
  authenticateNobody,
} from "./auth/authenticate.ts";
import { createRateLimit, type RateLimit } from "./auth/rateLimit.ts";
import { systemClock, systemTimers } from "./clock.ts";
import type { SignalServerConfig } from "./config/config.ts";
import { type Listener, listen } from "./http/listener.ts";
import { createRequestLog } from "./http/requestLog.ts";
import type { ProcessLog } from "./ops/log.ts";
import type { ServerMetrics } from "./ops/metrics.ts";
import { servePublicPort } from "./publicPort.ts";
import { VERSION } from "./version.ts";

/** The longest that a request waits for the store. */
const STORE_TIMEOUT_MS = 5_000;
/** Signals in one statement. More only delays those that wait for it. */
const BATCH_MAX_SIZE = 256;
/** While one batch waits for its commit, the next is on its way. */
const BATCHES_IN_FLIGHT_MAX = 2;
/** Signals that wait: about what the database stores in a second. Beyond it, `OVERLOADED`. */
const QUEUED_MAX = 10_000;
/** How long requests under way may take to finish when the server closes. */
const CLOSE_GRACE_MS = 10_000;

/** What {@link serveSignals} is made of. */
export interface SignalServerParts {
  readonly config: SignalServerConfig;
  /** The database, with every migration. */
  readonly database: Database;
  readonly access: Access;
  /** Whether signals can be stored now. */
  readonly isReady: () => Promise<boolean>;
  readonly metrics: ServerMetrics;
  readonly processLog: ProcessLog;
  /** What is to be closed in the end is put here. */
  readonly parts: AsyncDisposableStack;
}

/** Takes signals from now on, in this process. @returns where, and what changes the certificate. */
export async function serveSignals({
  config,
  database,
  access,
  isReady,
  metrics,
  processLog,
  parts,
}: SignalServerParts): Promise<Pick<Listener, "address" | "useCertificate">> {
  const { log, onLeftOut } = processLog;
  const shutdown = new AbortController();
  const { monotonicMs } = systemClock;
  const requestLog = createRequestLog({ log, monotonicMs, onLeftOut });
  parts.defer(() => requestLog.close());
  const batcher = createBatcher({
    store: metrics.measured(createSignalStore(database)),
    clock: systemClock,
    timers: systemTimers,
    maxBatchSize: BATCH_MAX_SIZE,
    maxBatchesInFlight: BATCHES_IN_FLIGHT_MAX,
    maxQueued: QUEUED_MAX,
    storeTimeoutMs: STORE_TIMEOUT_MS,
    onStoreFailure(error) {
      metrics.storeFailed(error);
      log.error({ err: error }, "the store failed");
    },
  });
  metrics.watchQueue(() => batcher.queuedSignals);
  parts.defer(() => batcher.close());
  const rateLimit = createRateLimit({
    store: createRateLimitStore(database),
    monotonicMs,
    random: Math.random,
    onFailure: (error) =>
      log.error({ err: error }, "the limit of a producer could not be asked for"),
  });
  const onRequest = servePublicPort({
    authenticate: authentication(config, { access, rateLimit }, metrics),
    ingest: createIngest({
      batcher,
      newSignalId: randomUUIDv7,
      payloadMaxBytes: config.payloadMaxBytes,
      onResult({ producerId }, result) {
        // Without signatures a caller may take any name, and must not make a label of it.
        const isKnown = access.directory.findProducer(producerId) !== undefined;
        metrics.signalDone(isKnown ? producerId : undefined, result);
      },
    }),
    isReady: async () => !access.directory.isStale() && (await isReady()),
    monotonicMs,
    requestLog,
    onRequestDone: metrics.requestDone,
    version: VERSION,
    isLoopbackOnly: !config.isSigningRequired,
    shutdownSignal: shutdown.signal,
  });
  const listener = await listen({
    host: config.host,
    port: config.port,
    isShared: config.isPortShared,
    tls: config.tls,
    onRequest,
    monotonicMs,
  });
  parts.defer(async () => {
    shutdown.abort();
    await listener.close(CLOSE_GRACE_MS);
  });
  return listener;
}

function authentication(
  config: SignalServerConfig,
  { access, rateLimit }: { readonly access: Access; readonly rateLimit: RateLimit },
  { authenticationFailed }: ServerMetrics,
): Authenticate {
  const options = {
    directory: access.directory,
    rateLimit,
    now: systemClock.now,
    onProof: access.uses.seenProducer,
    onFailure: authenticationFailed,
  };
  return config.isSigningRequired
    ? authenticateBySignature(options)
    : authenticateNobody({ ...options, requireApproval: config.requireApproval });
}
