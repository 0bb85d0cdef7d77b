/**
 * The server put together. All concrete parts are made here and nowhere else, so this
 * page shows the whole of it: what a signal passes through, top-down, is the router, the
 * authentication, the main job, and the store.
 */
import { randomUUIDv7 } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import type { DestinationStream, Logger } from "pino";
import { createBatcher, createIngest } from "../ingest/index.ts";
import {
  assertSafe,
  createProducerStore,
  createSignalStore,
  type Database,
  migrateUp,
  openDatabase,
  type ProducerStore,
  startEmbeddedPostgres,
} from "../store/index.ts";
import { type Authenticate, authenticateBySignature, authenticateNobody } from "./authenticate.ts";
import { systemClock, systemTimers } from "./clock.ts";
import type { ServerConfig } from "./config.ts";
import {
  ensureProducer,
  localProducer,
  localProducerFile,
  type ProducerCredentials,
  writeLocalProducer,
} from "./ensureProducer.ts";
import { cachedReadiness } from "./health.ts";
import { listen } from "./listener.ts";
import { createLog } from "./log.ts";
import { loadMasterKey } from "./masterKey.ts";
import { openProducerDirectory, type ProducerDirectory } from "./producerDirectory.ts";
import { createRateLimit } from "./rateLimit.ts";
import { createRouter } from "./router.ts";
import { createSecretBox, type SecretBox } from "./secretBox.ts";
import { VERSION } from "./version.ts";

/** A server that takes signals. */
export interface RunningServer {
  /** Where it listens, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  /** The file with a producer's credentials, if the server made a producer of its own. */
  readonly producerFile: string | undefined;
  /** Takes no more, finishes what is under way, and lets go of everything. */
  close(): Promise<void>;
}

/** The longest that a request waits for the store. */
const STORE_TIMEOUT_MS = 5_000;
/** Signals in one statement. More only delays those that wait for it. */
const BATCH_MAX_SIZE = 256;
/** While one batch waits for its commit, the next is on its way. */
const BATCHES_IN_FLIGHT_MAX = 2;
/** Signals that wait: about what the database stores in a second. Beyond it, `OVERLOADED`. */
const QUEUED_MAX = 10_000;
const PRODUCERS_TIMEOUT_MS = 5_000;
const READINESS_TIMEOUT_MS = 2_000;
/** How long requests under way may take to finish when the server closes. */
const CLOSE_GRACE_MS = 10_000;

/**
 * Starts the server: database, migrations, producers, port, in this order.
 *
 * @param logDestination where the log goes; standard output by default.
 * @throws Error if any of them cannot be had; what was started before is stopped again.
 */
export async function startServer(
  config: ServerConfig,
  logDestination?: DestinationStream,
): Promise<RunningServer> {
  const log = createLog(config, logDestination);
  // Undone in reverse order, at the end or when the start fails half-way.
  const parts = new AsyncDisposableStack();
  try {
    const server = await start(config, log, parts);
    log.info({ url: server.url, version: VERSION }, "ready");
    return {
      ...server,
      async close() {
        log.info("closing");
        await parts.disposeAsync();
        log.info("closed");
      },
    };
  } catch (error) {
    await parts.disposeAsync();
    throw error;
  }
}

async function start(
  config: ServerConfig,
  log: Logger,
  parts: AsyncDisposableStack,
): Promise<Omit<RunningServer, "close">> {
  const database = await openSafeDatabase(config, log, parts);
  const box = createSecretBox(config.masterKey ?? (await loadMasterKey(config.dataDir)));
  const producers = createProducerStore(database);
  const ownProducer = needsOwnProducer(config) ? await localProducer(config.dataDir) : undefined;
  await makeSureOfProducer(config.producer ?? ownProducer, producers, box, log);

  const directory = await openProducerDirectory({
    load: () => producers.loadProducers(PRODUCERS_TIMEOUT_MS),
    box,
    requireApproval: config.requireApproval,
    onFailure: (message, error) => log.error({ err: error }, message),
  });
  parts.defer(() => directory.close());

  const shutdown = new AbortController();
  const { monotonicMs } = systemClock;
  const batcher = createBatcher({
    store: createSignalStore(database),
    clock: systemClock,
    timers: systemTimers,
    maxBatchSize: BATCH_MAX_SIZE,
    maxBatchesInFlight: BATCHES_IN_FLIGHT_MAX,
    maxQueued: QUEUED_MAX,
    storeTimeoutMs: STORE_TIMEOUT_MS,
    onStoreFailure: (error) => log.error({ err: error }, "the store failed"),
  });
  parts.defer(() => batcher.close());
  const router = createRouter({
    authenticate: authentication(config, directory, log),
    ingest: createIngest({
      batcher,
      newSignalId: randomUUIDv7,
      payloadMaxBytes: config.payloadMaxBytes,
    }),
    isReady: cachedReadiness(() => answers(database), monotonicMs),
    monotonicMs,
    log,
    version: VERSION,
    isLoopbackOnly: !config.isSigningRequired,
    shutdownSignal: shutdown.signal,
  });
  const listener = await listen({
    host: config.host,
    port: config.port,
    tls: config.tls && (await readTls(config.tls)),
    onRequest: router,
  });
  parts.defer(async () => {
    shutdown.abort();
    await listener.close(CLOSE_GRACE_MS);
  });

  const url = urlOf(config, listener.address);
  if (ownProducer !== undefined) await writeLocalProducer(config.dataDir, ownProducer, url);
  return { url, producerFile: ownProducer && localProducerFile(config.dataDir) };
}

/** Connects to the database that the configuration names, or starts the embedded one. */
async function openSafeDatabase(
  config: ServerConfig,
  log: Logger,
  parts: AsyncDisposableStack,
): Promise<Database> {
  let url = config.databaseUrl;
  if (url === undefined) {
    const embedded = await startEmbeddedPostgres({ dataDir: config.dataDir, log });
    parts.defer(() => embedded.close());
    url = embedded.url;
  }
  const database = openDatabase({ url, poolSize: config.databasePoolSize, log });
  parts.defer(() => database.close());
  await assertSafe(database);
  await migrateUp(database, log);
  return database;
}

/** A stranger who starts the server on its embedded database can send a signal at once. */
function needsOwnProducer(config: ServerConfig): boolean {
  const isEmbedded = config.databaseUrl === undefined;
  return isEmbedded && config.isSigningRequired && config.producer === undefined;
}

async function makeSureOfProducer(
  credentials: ProducerCredentials | undefined,
  store: ProducerStore,
  box: SecretBox,
  log: Logger,
): Promise<void> {
  if (credentials === undefined) return;
  const isLive = await ensureProducer(credentials, store, box);
  if (isLive) return;
  const facts = { producer_id: credentials.producerId };
  log.warn(facts, "the configured secret of this producer has expired; it does not sign");
}

function authentication(
  config: ServerConfig,
  directory: ProducerDirectory,
  log: Logger,
): Authenticate {
  const options = { directory, rateLimit: createRateLimit(), now: systemClock.now };
  if (config.isSigningRequired) return authenticateBySignature(options);
  log.warn(
    "HMAC_PRODUCER_ENABLED is false: unsigned signals are taken from anyone on this machine",
  );
  return authenticateNobody({ ...options, requireApproval: config.requireApproval });
}

async function answers(database: Database): Promise<boolean> {
  return database
    .query(READINESS_TIMEOUT_MS, (sql) => sql`SELECT 1`)
    .then(
      () => true,
      () => false,
    );
}

async function readTls({ certFile, keyFile }: NonNullable<ServerConfig["tls"]>) {
  const [cert, key] = await Promise.all([readFile(certFile), readFile(keyFile)]);
  return { cert, key };
}

function urlOf(config: ServerConfig, { address, family, port }: AddressInfo): string {
  const host = family === "IPv6" ? `[${address}]` : address;
  return `${config.tls === undefined ? "http" : "https"}://${host}:${port}`;
}
