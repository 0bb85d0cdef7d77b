/**
 * The main process of the embedded PostgreSQL ("postmaster"): finding a running one,
 * starting one, stopping it.
 *
 * `postmaster.pid` in the cluster is PostgreSQL's own lock: of two postmasters that start
 * at once on one cluster, the second ends by itself. So whoever starts one and sees it end
 * looks again, and finds the other one.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { type FileHandle, link, lstat, rename, rm } from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Account,
  EmbeddedPostgresError,
  PROGRAM_ENVIRONMENT,
  runProgram,
  startFailure,
} from "./account.ts";
import type { Binaries } from "./binaries.ts";
import { appendPlainFile, readPlainFile } from "./files.ts";
import { servesCluster } from "./process.ts";

/** A cluster and all that is needed to serve it. */
export interface ClusterContext {
  /** Its real path. */
  readonly clusterDir: string;
  readonly binaries: Binaries;
  readonly account: Account | undefined;
}

/** A postmaster that accepts connections. */
export interface Postmaster {
  readonly pid: number;
  /** Its port on 127.0.0.1. */
  readonly port: number;
}

const LOCK_FILE = "postmaster.pid";
const LOG_FILE = "postgres.log";

/** Above this, a start puts the log aside, in place of the one put aside before. */
const LOG_MAX_BYTES = 1_048_576;

/** How much of the log an error carries. */
const LOG_TAIL_BYTES = 2_000;

const POLL_INTERVAL_MS = 10;

/** A pause between attempts to start, for what is in the way to go. */
const RETRY_INTERVAL_MS = 250;

/** After how many attempts that found the port of before taken another one is chosen. */
const PORT_TAKEN_MAX = 4;

/** How long to wait for the other sessions to be ended, and again for a hard stop. */
const STOP_TIMEOUT_SECONDS = 10;

/**
 * The settings, as the command line carries them, so that they are the code's and not
 * those of the version that made the cluster. Memory is for a small machine; everything
 * that decides durability is said outright.
 */
const SETTINGS: Readonly<Record<string, string | number>> = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  // For the largest DATABASE_POOL_SIZE, 100, twice while a pool is replaced, and for other
  // servers on the same DATA_DIR. One that is not used costs 50 KB of shared memory.
  max_connections: 300,
  fsync: "on",
  full_page_writes: "on",
  synchronous_commit: "on",
  shared_buffers: "64MB",
  // Keeps recovery after a crash within seconds.
  max_wal_size: "256MB",
  max_parallel_workers_per_gather: 0,
  io_method: "sync",
  jit: "off",
  timezone: "UTC",
  log_timezone: "UTC",
  log_line_prefix: "%m [%p] ",
  // The log must not hold what producers sent.
  log_min_error_statement: "panic",
  log_error_verbosity: "terse",
};

/**
 * Finds the postmaster that serves the cluster, or starts one: where the last one was, if that
 * can be, since that one had clients, and they know its port.
 *
 * @param deadline when to give up; a postmaster that this call started is then killed.
 * @param knownPort where this process knew the server before.
 * @throws EmbeddedPostgresError with the end of PostgreSQL's log.
 */
export async function ensurePostmaster(
  context: ClusterContext,
  deadline: AbortSignal,
  knownPort: number | undefined,
): Promise<Postmaster> {
  let preferredPort = knownPort ?? 0;
  let timesTaken = 0;
  let started: ChildProcess | undefined;
  while (!deadline.aborted) {
    const lock = await readLock(context.clusterDir);
    const isServed = lock !== undefined && (await servesCluster(lock.pid, context.clusterDir));
    if (isServed && lock.isReady) {
      return lock;
    }
    if (!isServed && (started === undefined || hasEnded(started))) {
      if (lock !== undefined) {
        preferredPort ||= lock.port;
        await clearLock(context.clusterDir, lock);
      }
      if (started !== undefined) {
        await sleep(RETRY_INTERVAL_MS);
        // Not asked before the first attempt: that would bind the port, and get in the way of
        // another process that starts the same server.
        if (preferredPort !== 0 && !(await isFree(preferredPort))) timesTaken += 1;
      }
      const isPreferred = preferredPort !== 0 && timesTaken < PORT_TAKEN_MAX;
      started = await startPostmaster(context, isPreferred ? preferredPort : await bindPort(0));
    }
    await sleep(POLL_INTERVAL_MS);
  }
  started?.kill("SIGQUIT");
  throw new EmbeddedPostgresError(
    `PostgreSQL did not start in time. Its log ends with: ${await readLogTail(context.clusterDir)}`,
  );
}

/**
 * Stops the postmaster, ending the sessions that are left.
 *
 * @throws EmbeddedPostgresError with the end of PostgreSQL's log.
 */
export async function stopPostmaster({
  clusterDir,
  binaries,
  account,
}: ClusterContext): Promise<void> {
  const stop = (mode: "fast" | "immediate") =>
    runProgram(
      binaries.pgCtl,
      ["stop", "-D", clusterDir, "-m", mode, "-w", "-t", String(STOP_TIMEOUT_SECONDS)],
      account,
      (STOP_TIMEOUT_SECONDS + 5) * 1000,
    );
  try {
    await stop("fast");
  } catch (error) {
    const lock = await readLock(clusterDir);
    if (lock === undefined || !(await servesCluster(lock.pid, clusterDir))) {
      return;
    }
    // A session that hangs holds up a fast stop. An immediate one loses nothing that was
    // committed: the next start recovers it from the log.
    await stop("immediate").catch(async () => {
      throw new EmbeddedPostgresError(
        `PostgreSQL did not stop. Its log ends with: ${await readLogTail(clusterDir)}`,
        { cause: error },
      );
    });
  }
}

/** What `postmaster.pid` says. */
interface Lock extends Postmaster {
  /** 0 while the postmaster is still writing its lock. */
  readonly port: number;
  readonly isReady: boolean;
}

/** Its lines are listed in PostgreSQL's source, `src/include/utils/pidfile.h`. */
async function readLock(clusterDir: string): Promise<Lock | undefined> {
  const text = await readPlainFile(path.join(clusterDir, LOCK_FILE)).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") {
        throw error;
      }
    },
  );
  const lines = text?.split("\n") ?? [];
  const pid = Number.parseInt(lines[0] ?? "", 10);
  if (!(pid > 0)) {
    return undefined;
  }
  return { pid, port: Number(lines[3]) || 0, isReady: lines[7]?.trim() === "ready" };
}

/**
 * Removes the lock of a postmaster that is not there any more. PostgreSQL does this by
 * itself when the process id is gone, but not when a zombie or a stranger has it.
 */
async function clearLock(clusterDir: string, stale: Lock): Promise<void> {
  const lockFile = path.join(clusterDir, LOCK_FILE);
  const aside = `${lockFile}.${randomUUID()}`;
  try {
    await rename(lockFile, aside);
  } catch {
    return;
  }
  // Meanwhile a new postmaster may have put its own lock there: that one goes back.
  const taken = await readPlainFile(aside);
  if (Number.parseInt(taken, 10) !== stale.pid) {
    await link(aside, lockFile).catch(() => {});
  }
  await rm(aside);
}

async function startPostmaster(context: ClusterContext, port: number): Promise<ChildProcess> {
  const { clusterDir, binaries, account } = context;
  const settings = { ...SETTINGS, port };
  const log = await openLog(clusterDir, account);
  try {
    const child = spawn(
      binaries.postgres,
      [
        "-D",
        clusterDir,
        ...Object.entries(settings).flatMap(([key, value]) => ["-c", `${key}=${value}`]),
      ],
      {
        ...account,
        env: PROGRAM_ENVIRONMENT,
        cwd: clusterDir,
        // A session of its own: Ctrl-C in the terminal must not reach it, since it outlives
        // this process if another one uses it too.
        detached: true,
        stdio: ["ignore", log.fd, log.fd],
      },
    );
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", reject);
    });
    child.unref();
    return child;
  } catch (error) {
    throw startFailure(binaries.postgres, account, error);
  } finally {
    await log.close();
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function openLog(clusterDir: string, account: Account | undefined): Promise<FileHandle> {
  const file = path.join(clusterDir, LOG_FILE);
  const size = await lstat(file).then(
    (stats) => stats.size,
    () => 0,
  );
  if (size > LOG_MAX_BYTES) {
    await rename(file, `${file}.1`);
  }
  return appendPlainFile(file, account);
}

async function readLogTail(clusterDir: string): Promise<string> {
  const log = await readPlainFile(path.join(clusterDir, LOG_FILE)).catch(() => "");
  return log.slice(-LOG_TAIL_BYTES).trim() || "(nothing)";
}

async function isFree(port: number): Promise<boolean> {
  return bindPort(port).then(
    () => true,
    () => false,
  );
}

/**
 * Binds a port on 127.0.0.1 and lets it go.
 *
 * @param port 0 for any that is free.
 * @returns its number.
 */
async function bindPort(port: number): Promise<number> {
  const server = net.createServer().listen(port, "127.0.0.1");
  await once(server, "listening");
  const { port: bound } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return bound;
}
