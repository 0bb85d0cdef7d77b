/**
 * A PostgreSQL of our own, for whoever has none: the real server, on this machine only,
 * with its data under DATA_DIR and every safety on.
 *
 * It is shared. Every process that starts on the same DATA_DIR uses the one server, the
 * first starts it and the last to close stops it. It outlives a process that is killed,
 * and the next start finds it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { chooseAccount, EmbeddedPostgresError } from "./embedded/account.ts";
import { findInstallation, prepareBinaries } from "./embedded/binaries.ts";
import {
  checkCluster,
  createCluster,
  DATABASE_USER,
  findCluster,
  makeDataDir,
  reachableDir,
  readPassword,
  unusableDataDir,
} from "./embedded/cluster.ts";
import { acquireLease, type Lease } from "./embedded/lease.ts";
import { type ClusterContext, ensurePostmaster, stopPostmaster } from "./embedded/postmaster.ts";
import { endOfConnections, toStoreUnavailableError } from "./failure.ts";

export interface EmbeddedPostgresOptions {
  /** Countersign's DATA_DIR. It is made if it is not there. */
  readonly dataDir: string;
  readonly log: Logger;
  /** How long a start may take once the cluster is made. Default 15,000 ms. */
  readonly startTimeoutMs?: number;
}

export interface EmbeddedPostgres {
  /** Where to connect, with the password. */
  readonly url: string;
  /**
   * Stops using the server, and stops it if nobody else uses it. Close what is connected
   * to it first.
   *
   * @throws EmbeddedPostgresError if it does not stop.
   */
  close(): Promise<void>;
}

const DEFAULT_START_TIMEOUT_MS = 15_000;

/** How long the running server may take to give a lease. */
const LEASE_TIMEOUT_MS = 5_000;
const LEASE_RETRY_INTERVAL_MS = 50;

/** A pause between attempts to start a server again that died. */
const RESTART_INTERVAL_MS = 1_000;

/**
 * Gives a running server, which it starts if need be. Resolves when it accepts
 * connections. Should the server die later, it is started again under the same URL.
 *
 * @throws NoEmbeddedPostgresError if there is none for this platform.
 * @throws EmbeddedPostgresError if it cannot be made or started.
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  const { log } = options;
  const context = await openCluster(options).catch((error: NodeJS.ErrnoException) => {
    throw error.syscall === undefined ? error : unusableDataDir(options.dataDir, error);
  });
  let isClosed = false;
  let server = leaseServer(context, options, onLost, undefined);

  function onLost(): void {
    if (!isClosed) {
      log.warn("connection to embedded PostgreSQL is lost, finding or starting it again");
      server = leaseAgain();
    }
  }

  async function leaseAgain(): Promise<LeasedServer> {
    for (;;) {
      try {
        const found = await leaseServer(context, options, onLost, port);
        if (found.port !== port) {
          log.error("embedded PostgreSQL has another port now, this process must be restarted");
        }
        return found;
      } catch (error) {
        if (isClosed) {
          throw error;
        }
        log.error({ err: error }, "embedded PostgreSQL cannot be started again yet");
        await sleep(RESTART_INTERVAL_MS);
      }
    }
  }

  const { url, port } = await server;
  log.info({ dataDir: options.dataDir }, "embedded PostgreSQL is ready");

  return {
    url,
    async close() {
      isClosed = true;
      let lease: Lease;
      try {
        ({ lease } = await server);
      } catch (error) {
        // It died before and did not come back, so there is nothing to release.
        log.warn({ err: error }, "embedded PostgreSQL was lost and is given up");
        return;
      }
      try {
        if (await lease.release()) {
          await stopPostmaster(context);
        }
      } catch (error) {
        if (error instanceof EmbeddedPostgresError) {
          throw error;
        }
        log.warn({ err: error }, "embedded PostgreSQL cannot be asked whether others use it");
      } finally {
        lease.end();
      }
    },
  };
}

/** Finds the cluster of DATA_DIR or makes it. */
async function openCluster({ dataDir, log }: EmbeddedPostgresOptions): Promise<ClusterContext> {
  const realDataDir = await makeDataDir(dataDir);
  const existing = await findCluster(realDataDir);
  const account = await chooseAccount(existing);
  const copyDir = await reachableDir(realDataDir, account);
  const binaries = await prepareBinaries(await findInstallation(), account, copyDir, log);
  const clusterDir = existing ?? (await createCluster(realDataDir, binaries, account, log));
  await checkCluster(clusterDir, binaries, account);
  return { clusterDir, binaries, account };
}

/** A server that stays while this process has its lease. */
interface LeasedServer {
  readonly url: string;
  readonly port: number;
  readonly lease: Lease;
}

/** Finds or starts the server and makes sure that it stays while this process needs it. */
async function leaseServer(
  context: ClusterContext,
  { log, startTimeoutMs = DEFAULT_START_TIMEOUT_MS }: EmbeddedPostgresOptions,
  onLost: () => void,
  knownPort: number | undefined,
): Promise<LeasedServer> {
  const password = await readPassword(context.clusterDir);
  const deadline = AbortSignal.timeout(startTimeoutMs);
  for (;;) {
    const { port } = await ensurePostmaster(context, deadline, knownPort);
    const url = `postgres://${DATABASE_USER}:${password}@127.0.0.1:${port}/postgres`;
    try {
      const lease = await acquireLease({ url, log, timeoutMs: LEASE_TIMEOUT_MS, onLost });
      return { url, port, lease };
    } catch (error) {
      // The last user may have stopped it in the moment between: then look again.
      if (deadline.aborted || endOfConnections(error) !== "broken") {
        throw new EmbeddedPostgresError("The embedded PostgreSQL cannot be used", {
          cause: toStoreUnavailableError(error),
        });
      }
      await sleep(LEASE_RETRY_INTERVAL_MS);
    }
  }
}
