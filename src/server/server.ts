/**
 * The server put together. Concrete parts are made here, in the part that takes signals
 * ({@link serveSignals}), and nowhere else.
 *
 * What must be made once (the database, its schema, the master key, the first producer,
 * the operations port) is made by the first process. The part that takes signals is in that
 * same process, or in several workers on one port and one database.
 */
import type { AddressInfo } from "node:net";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import type { DestinationStream, Logger } from "pino";
import type { AccessStore } from "../access/index.ts";
import type { HiddenText } from "../alerts/index.ts";
import {
  assertMayStart,
  assertSafe,
  connectionLimit,
  createAccessStore,
  createSignaturePurge,
  type Database,
  listenToChannel,
  migrateUp,
  openDatabase,
  startEmbeddedPostgres,
} from "../store/index.ts";
import { type Access, openAccess } from "./access.ts";
import { ensureProducer, type ProducerCredentials } from "./auth/ensureProducer.ts";
import {
  ensureLocalAdmin,
  type LocalUrls,
  localAdminFile,
  writeLocalAdmin,
} from "./auth/localAdmin.ts";
import { localProducer, localProducerFile, writeLocalProducer } from "./auth/localProducer.ts";
import type { SecretBox } from "./auth/secretBox.ts";
import { systemClock, systemTimers } from "./clock.ts";
import type { ServerConfig, SignalServerConfig } from "./config/config.ts";
import { masterKeysOf, openSecretBox } from "./config/masterKey.ts";
import {
  hostInCertificate,
  readTls,
  readTlsFiles,
  type TlsFiles,
  type TlsPair,
} from "./config/tls.ts";
import { watchTls } from "./config/tlsWatch.ts";
import { isLoopbackAddress, isWildcardAddress, urlHost } from "./http/host.ts";
import type { TlsMaterial } from "./http/tlsOptions.ts";
import { createLog, openProcessLog, type ProcessLog } from "./ops/log.ts";
import {
  createMaintenanceMetrics,
  createServerMetrics,
  type MetricsSnapshot,
} from "./ops/metrics.ts";
import { metricsText } from "./ops/metricsSum.ts";
import { startPurger } from "./ops/purger.ts";
import { type DatabaseWatch, watchDatabase } from "./ops/readiness.ts";
import { type OpsServerParts, serveOps } from "./opsServer.ts";
import { serveSignals } from "./signalServer.ts";
import { VERSION } from "./version.ts";
import { startWorkers } from "./workers/workers.ts";

/** A server that takes signals. */
export interface RunningServer {
  /** Where it listens, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Where its metrics and health are, such as `http://127.0.0.1:9090`, if anywhere. */
  readonly opsUrl: string | undefined;
  /** The file with a producer's credentials, if the server made a producer of its own. */
  readonly producerFile: string | undefined;
  /** The file with a token that administers, if the server made one. */
  readonly adminFile: string | undefined;
  /** Takes no more, finishes what is under way, and lets go of everything. */
  close(): Promise<void>;
}

/** What the database tells of each change of who may do what. */
const ACCESS_CHANNEL = "countersign_access";
const PRODUCERS_TIMEOUT_MS = 10_000;
/** The program of a worker: of the same kind as this file, compiled or not. */
const WORKER_FILE = fileURLToPath(
  new URL(`./worker${extname(import.meta.filename)}`, import.meta.url),
);
/** A first process with workers takes no signals: it administers, and looks after the database. */
const POOL_SIZE_BESIDE_WORKERS = 3;
/** The connection for notifications. */
const LISTENING_CONNECTIONS = 1;

/**
 * Starts the server: database, migrations, producers, operations port, port, in this order.
 *
 * @param logDestination where the log goes; standard output by default.
 * @throws Error if any of them cannot be had; what was started before is stopped again.
 */
export async function startServer(
  config: ServerConfig,
  logDestination?: DestinationStream,
): Promise<RunningServer> {
  const processLog =
    logDestination === undefined
      ? openProcessLog(config, systemClock.monotonicMs)
      : logTo(config, logDestination);
  const { log } = processLog;
  // Undone in reverse order, at the end or when the start fails half-way.
  const parts = new AsyncDisposableStack();
  try {
    const server = await start(config, processLog, parts);
    const facts = { url: server.url, ops_url: server.opsUrl, version: VERSION };
    log.info({ ...facts, workers: config.workers }, "ready");
    return {
      ...server,
      async close() {
        log.info("closing");
        await parts.disposeAsync();
        log.info("closed");
        await processLog.end();
      },
    };
  } catch (error) {
    await parts.disposeAsync();
    await processLog.end();
    throw error;
  }
}

/** A log that somebody else bounds and ends. */
function logTo(config: ServerConfig, destination: DestinationStream): ProcessLog {
  const dropped = { destination: 0, unproven: 0 };
  return {
    log: createLog(config, destination),
    dropped,
    onLine: (line) => destination.write(line),
    onLeftOut() {
      dropped.unproven += 1;
    },
    end: async () => undefined,
  };
}

async function start(
  config: ServerConfig,
  processLog: ProcessLog,
  parts: AsyncDisposableStack,
): Promise<Omit<RunningServer, "close">> {
  const { log } = processLog;
  if (!config.isSigningRequired) {
    log.warn(
      "HMAC_PRODUCER_ENABLED is false: unsigned signals are taken from anyone on this machine",
    );
  }
  // First of all, so that wrong files cost nothing.
  const tls = config.tls && (await readTls(config.tls));
  const { database, databaseUrl } = await openSafeDatabase(config, log, parts);
  await assertMayStart(database);
  const accessStore = createAccessStore(database);
  // Before anything is written, so that a wrong key changes nothing.
  const masterKeys = await masterKeysOf(config, () =>
    accessStore.loadSealedSecrets(PRODUCERS_TIMEOUT_MS),
  );
  await migrateUp(database, log);
  const ownProducer = needsOwnProducer(config) ? await localProducer(config.dataDir) : undefined;
  const box = openSecretBox(masterKeys);
  await makeSureOfProducer(config.producer ?? ownProducer, accessStore, box, log);

  const isEmbedded = config.databaseUrl === undefined;
  const adminToken = isEmbedded
    ? await ensureLocalAdmin(config.dataDir, accessStore, log)
    : undefined;

  const maintenance = createMaintenanceMetrics();
  const onFailure = maintenance.accessReadFailed;
  const { requireApproval } = config;
  const access = await openAccess({ database, box, requireApproval, log, onFailure, parts });

  // It opens before signals are taken, so that a port that cannot be had costs none, and
  // closes after them, so that their end can be watched.
  let serving: Serving | undefined;
  const watch = watchDatabase({ database, monotonicMs: systemClock.monotonicMs, log });
  parts.defer(() => watch.close());
  const opsAddress = await openOpsPort(config, {
    access,
    box,
    metricsText: async () => metricsText((await serving?.snapshots()) ?? []),
    metrics: maintenance,
    isReady: async () => serving?.isServing() === true && watch.isReady(),
    processLog,
    parts,
  });
  const started = await serve(
    config,
    { databaseUrl, masterKeys, tls: tls && { cert: tls.cert, key: tls.key } },
    { database, access, watch, processLog, parts },
  );
  const notifications = listenToChannel({
    url: databaseUrl,
    channel: ACCESS_CHANNEL,
    onWake: started.wakeAccess,
    log,
  });
  parts.defer(() => notifications.close());
  if (config.tls !== undefined && tls !== undefined) {
    const tlsWatch = renewTls(config.tls, tls, started, log);
    parts.defer(() => tlsWatch.close());
    maintenance.watchCertificate(() => tlsWatch.expiryMs);
  }
  serving = {
    ...started,
    snapshots: async () => [...(await started.snapshots()), await maintenance.snapshot()],
  };
  parts.defer(() => {
    serving = { ...started, isServing: () => false };
  });
  const purger = startPurger({
    purge: createSignaturePurge(database),
    timers: systemTimers,
    monotonicMs: systemClock.monotonicMs,
    random: Math.random,
    onPurged: maintenance.signaturesPurged,
    onFailure: (error) => log.warn({ err: error }, "old request signatures were not purged"),
  });
  parts.defer(() => purger.close());
  const urls = {
    url: urlForClients(started.address, tls?.cert),
    opsUrl: opsAddress && urlForClients(opsAddress, undefined),
  };
  await writeLocalFiles(config.dataDir, { ownProducer, adminToken }, urls, log);
  return {
    url: urlOf(tls === undefined ? "http" : "https", started.address),
    opsUrl: opsAddress && urlOf("http", opsAddress),
    producerFile: ownProducer && localProducerFile(config.dataDir),
    adminFile: adminToken && localAdminFile(config.dataDir),
  };
}

/** Lets who owns the data directory send and administer at once. */
async function writeLocalFiles(
  dataDir: string,
  {
    ownProducer,
    adminToken,
  }: {
    readonly ownProducer: ProducerCredentials | undefined;
    readonly adminToken: HiddenText | undefined;
  },
  urls: LocalUrls,
  log: Logger,
): Promise<void> {
  const otherUrl =
    ownProducer && (await writeLocalProducer(dataDir, ownProducer, urls.url, systemClock));
  if (otherUrl !== undefined) {
    log.info(
      { file: localProducerFile(dataDir), other_url: otherUrl },
      "the file names another server of this directory that runs: left as it is",
    );
  }
  if (adminToken !== undefined) {
    await writeLocalAdmin(dataDir, adminToken, urls, otherUrl !== undefined);
  }
}

/** A URL of this server that clients on this machine take; `undefined` if none is known. */
function urlForClients({ address, port }: AddressInfo, cert: Buffer | undefined) {
  if (cert !== undefined) {
    const host = hostInCertificate(cert, isWildcardAddress(address) ? undefined : address);
    return host && `https://${host}:${port}`;
  }
  if (isWildcardAddress(address))
    return `http://${address === "::" ? "[::1]" : "127.0.0.1"}:${port}`;
  // Clients send in clear text to this machine only.
  return isLoopbackAddress(address) ? `http://${urlHost(address)}:${port}` : undefined;
}

/** Lets a certificate that is renewed be served, in this process or in workers. */
function renewTls(files: TlsFiles, pair: TlsPair, { useCertificate }: Serving, log: Logger) {
  return watchTls({
    files,
    pair,
    read: () => readTlsFiles(files),
    apply: useCertificate,
    now: systemClock.now,
    monotonicMs: systemClock.monotonicMs,
    timers: systemTimers,
    log,
  });
}

/** The part that takes signals, wherever it is. */
interface Serving {
  readonly address: AddressInfo;
  /** Whether any process takes signals. */
  readonly isServing: () => boolean;
  /** The metrics of each process. */
  readonly snapshots: () => Promise<readonly MetricsSnapshot[]>;
  /** Lets every process look who may do what. */
  readonly wakeAccess: () => void;
  /** Serves this certificate to all that connect from now on. */
  readonly useCertificate: (material: TlsMaterial) => void;
}

/** What the start found out. */
type Found = Pick<SignalServerConfig, "databaseUrl" | "masterKeys" | "tls">;

/** What the first process has when it begins to take signals. */
interface Started {
  readonly database: Database;
  readonly access: Access;
  readonly watch: DatabaseWatch;
  readonly processLog: ProcessLog;
  readonly parts: AsyncDisposableStack;
}

/** Takes signals from now on, in this process or in workers. */
async function serve(
  config: ServerConfig,
  found: Found,
  { database, access, watch, processLog, parts }: Started,
): Promise<Serving> {
  const { monotonicMs } = systemClock;
  if (config.workers === 1) {
    const metrics = createServerMetrics(monotonicMs);
    metrics.watchDatabase(() => database.usage);
    metrics.watchDatabaseProblems(() => watch.problems);
    metrics.watchLog(processLog.dropped);
    const own = signalServerConfig(config, found, false);
    const { isReady } = watch;
    const { address, useCertificate } = await serveSignals({
      config: own,
      database,
      access,
      isReady,
      metrics,
      processLog,
      parts,
    });
    return {
      address,
      isServing: () => true,
      snapshots: async () => [await metrics.snapshot()],
      wakeAccess: access.directory.wake,
      useCertificate,
    };
  }
  const workers = await startWorkers({
    count: config.workers,
    workerFile: WORKER_FILE,
    config: signalServerConfig(config, found, true),
    processLog,
    monotonicMs,
  });
  parts.defer(() => workers.close());
  return {
    address: workers.address,
    isServing: () => workers.servingCount > 0,
    snapshots: workers.snapshots,
    wakeAccess() {
      access.directory.wake();
      workers.wakeAccess();
    },
    useCertificate: workers.useCertificate,
  };
}

/** Of the configuration no more than it needs: it goes to workers by a message. */
function signalServerConfig(
  config: ServerConfig,
  found: Found,
  isPortShared: boolean,
): SignalServerConfig {
  return {
    host: config.host,
    port: config.port,
    databasePoolSize: config.databasePoolSize,
    isSigningRequired: config.isSigningRequired,
    requireApproval: config.requireApproval,
    payloadMaxBytes: config.payloadMaxBytes,
    logLevel: config.logLevel,
    hostname: config.hostname,
    ...found,
    isPortShared,
  };
}

/** Where the operations port is, if there is to be one. */
async function openOpsPort(
  { opsHost, opsPort }: ServerConfig,
  server: Omit<OpsServerParts, "host" | "port">,
): Promise<AddressInfo | undefined> {
  return opsPort === undefined ? undefined : serveOps({ host: opsHost, port: opsPort, ...server });
}

/** Connects to the database that the configuration names, or starts the embedded one. */
async function openSafeDatabase(
  config: ServerConfig,
  log: Logger,
  parts: AsyncDisposableStack,
): Promise<{ readonly database: Database; readonly databaseUrl: string }> {
  let url = config.databaseUrl;
  if (url === undefined) {
    const embedded = await startEmbeddedPostgres({ dataDir: config.dataDir, log });
    parts.defer(() => embedded.close());
    url = embedded.url;
  }
  const poolSize = config.workers === 1 ? config.databasePoolSize : POOL_SIZE_BESIDE_WORKERS;
  const database = openDatabase({ url, poolSize, log });
  parts.defer(() => database.close());
  await assertSafe(database);
  await warnOfTooManyConnections(config, database, log);
  return { database, databaseUrl: url };
}

/** Under load, a connection too many is refused, and signals with it: better told at the start. */
async function warnOfTooManyConnections(
  { workers, databasePoolSize }: ServerConfig,
  database: Database,
  log: Logger,
): Promise<void> {
  const limit = await connectionLimit(database);
  const besides = LISTENING_CONNECTIONS + (workers === 1 ? 0 : POOL_SIZE_BESIDE_WORKERS);
  const most = databasePoolSize * workers + besides;
  if (most <= limit) return;
  log.warn(
    { connections_max: most, database_takes: limit },
    "this server may open more connections than the database takes: lower WORKERS or DATABASE_POOL_SIZE, or raise max_connections",
  );
}

/** A stranger who starts the server on its embedded database can send a signal at once. */
function needsOwnProducer(config: ServerConfig): boolean {
  const isEmbedded = config.databaseUrl === undefined;
  return isEmbedded && config.isSigningRequired && config.producer === undefined;
}

async function makeSureOfProducer(
  credentials: ProducerCredentials | undefined,
  store: AccessStore,
  box: SecretBox,
  log: Logger,
): Promise<void> {
  if (credentials === undefined) return;
  const state = await ensureProducer(credentials, store, box);
  if (state !== "live") log.warn({ producer_id: credentials.producerId }, WHY_NOT_LIVE[state]);
}

const WHY_NOT_LIVE = {
  ended: "the configured secret of this producer has expired; it does not sign",
  taken: "the configured secret of this producer has the id of another secret; it does not sign",
} as const;

function urlOf(scheme: "http" | "https", { address, port }: AddressInfo): string {
  return `${scheme}://${urlHost(address)}:${port}`;
}
