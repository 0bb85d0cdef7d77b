/**
 * More than one core: several processes that serve one port, and a first process that
 * starts them, replaces the ones that die, adds up their metrics and ends them.
 *
 * Each worker listens on the port by itself (`SO_REUSEPORT`), and the kernel gives each
 * connection to one of them. The other way, node:cluster, accepts in the first process and
 * hands connections over in turn. That shares a few connections more evenly, but a
 * connection that is being handed to a worker when that worker dies stays open without
 * anybody to answer: under load, each of 20 kills left a caller hanging until its own
 * timeout, while with a shared port none did, since the kernel resets what a process
 * leaves behind. By the kernel's way TLS and HTTP/2 work as in one process, and no
 * connection depends on the first process. Its prices: connections are shared by a hash,
 * which is even over many and uneven over a few; and only some systems can, Linux and
 * FreeBSD among them, so elsewhere the start fails with `ENOTSUP`.
 */

import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { SignalServerConfig } from "../config/config.ts";
import type { TlsMaterial } from "../http/tlsOptions.ts";
import type { ProcessLog } from "../ops/log.ts";
import { createWorkersMetrics, type MetricsSnapshot } from "../ops/metrics.ts";
import { addEnded } from "../ops/metricsSum.ts";
import { claimPort, type PortClaim } from "./portClaim.ts";
import { startWorkerProcess, type WorkerProcess } from "./workerProcess.ts";

const REPLACE_FIRST_MS = 100;
const REPLACE_MAX_MS = 10_000;
/** Workers that died together are started apart: each up to a quarter of its delay later. */
const REPLACE_JITTER = 0.25;
/** A worker that lived so long did not die of what the one before died of. */
const STEADY_AFTER_MS = 60_000;

/** Workers that serve. */
export interface Workers {
  readonly address: AddressInfo;
  /** How many can take signals now. */
  readonly servingCount: number;
  /** The metrics of all workers, also of those that have ended, and of how they are kept. */
  snapshots(): Promise<MetricsSnapshot[]>;
  /** Lets all look who may do what. */
  wakeAccess(): void;
  /** Lets all, and those that take their places, serve this certificate from now on. */
  useCertificate(material: TlsMaterial): void;
  /**
   * Lets all finish what is under way, and resolves when all have ended.
   *
   * @throws Error then, if one of them had to be killed or died of something else.
   */
  close(): Promise<void>;
}

/** What {@link startWorkers} is told. */
export interface WorkersOptions {
  /** How many, at least 1. */
  readonly count: number;
  /** The program that each of them runs. */
  readonly workerFile: string;
  readonly config: SignalServerConfig;
  readonly processLog: ProcessLog;
  readonly monotonicMs: () => number;
}

/**
 * Starts the workers. Resolves when all of them listen.
 *
 * @throws Error if one cannot; the others are then ended.
 */
export async function startWorkers(options: WorkersOptions): Promise<Workers> {
  const { count, workerFile, monotonicMs } = options;
  let { config } = options;
  const { log, dropped, onLine } = options.processLog;
  const closing = new AbortController();
  const living = new Set<WorkerProcess>();
  const serving = new Set<WorkerProcess>();
  const metrics = createWorkersMetrics(() => serving.size, dropped);
  let ended = Promise.resolve<MetricsSnapshot>([]);
  let claim: PortClaim | undefined;

  function startOne(port: number): WorkerProcess {
    const worker = startWorkerProcess(workerFile, { ...config, port, isPortShared: true }, onLine);
    living.add(worker);
    worker.ready.then(
      () => {
        serving.add(worker);
        // Not by the worker, whose log may come later than its message.
        log.info({ worker_pid: worker.pid }, "worker is ready");
      },
      () => undefined,
    );
    void worker.ended.then(() => {
      serving.delete(worker);
      living.delete(worker);
      ended = ended.then((sum) => addEnded(sum, worker.lastReport));
    });
    return worker;
  }

  /** Sees to it that in the place of one worker there is always one, until the end. */
  async function keepServing(first: WorkerProcess, port: number): Promise<void> {
    let worker = first;
    const replaceDelay = createReplaceDelays();
    for (;;) {
      const startMs = monotonicMs();
      const { exitCode, signal } = await worker.ended;
      if (closing.signal.aborted) return;
      metrics.workerEnded();
      const delayMs = Math.round(replaceDelay(monotonicMs() - startMs));
      const facts = {
        worker_pid: worker.pid,
        exit_code: exitCode,
        signal,
        replaced_in_ms: delayMs,
      };
      log.error(facts, "a worker has ended, another takes its place");
      const next = await startAfter(delayMs, port, replaceDelay);
      if (next === undefined) return;
      worker = next;
    }
  }

  /** Starts a worker as soon as it can be. @returns `undefined` if the end came before. */
  async function startAfter(
    firstDelayMs: number,
    port: number,
    replaceDelay: ReplaceDelays,
  ): Promise<WorkerProcess | undefined> {
    let delayMs = firstDelayMs;
    for (;;) {
      await sleep(delayMs, undefined, { signal: closing.signal }).catch(() => undefined);
      if (closing.signal.aborted) return undefined;
      try {
        const worker = startOne(port);
        worker.ready.catch((error) => log.error({ err: error }, "a worker cannot start"));
        return worker;
      } catch (error) {
        // A machine that has no room for a process now may have it later.
        log.error({ err: error }, "a worker cannot start");
        delayMs = replaceDelay(0);
      }
    }
  }

  async function close(): Promise<void> {
    closing.abort();
    // Whoever waits for this takes the database away then, so one that died is no reason to
    // leave the others alone.
    const ends = await Promise.allSettled([...living].map((worker) => worker.close()));
    claim?.release();
    const failure = ends.find((end) => end.status === "rejected");
    if (failure !== undefined) throw failure.reason;
  }

  try {
    if (config.port !== 0) claim = await claimPort(config);
    // The first one alone, since a port that the system chooses is known only afterwards.
    const first = startOne(config.port);
    const address = await first.ready;
    const others = Array.from({ length: count - 1 }, () => startOne(address.port));
    await Promise.all(others.map((worker) => worker.ready));
    for (const worker of [first, ...others]) void keepServing(worker, address.port);
    return {
      address,
      get servingCount() {
        return serving.size;
      },
      snapshots: () =>
        Promise.all([ended, metrics.snapshot(), ...[...living].map((worker) => worker.report())]),
      wakeAccess() {
        for (const worker of living) worker.wakeAccess();
      },
      useCertificate(material) {
        config = { ...config, tls: material };
        for (const worker of living) worker.useCertificate(material);
      },
      close,
    };
  } catch (error) {
    // Why it cannot start is what matters, and not how the one that cannot has ended.
    await close().catch(() => undefined);
    throw error;
  }
}

/** Tells how long to wait, in milliseconds, after a worker that lived so many milliseconds. */
type ReplaceDelays = (livedMs: number) => number;

/**
 * How long the place of a worker that died stays empty: almost no time at first, since a
 * port that is short of a worker is slower, and longer and longer for workers that die one
 * after the other, which must not keep the machine busy with starting them.
 *
 * @param random from 0 to 1.
 */
export function createReplaceDelays(random: () => number = Math.random): ReplaceDelays {
  let nextMs = REPLACE_FIRST_MS;
  return function replaceDelay(livedMs) {
    if (livedMs >= STEADY_AFTER_MS) nextMs = REPLACE_FIRST_MS;
    const delayMs = nextMs;
    nextMs = Math.min(2 * nextMs, REPLACE_MAX_MS);
    return delayMs * (1 + REPLACE_JITTER * random());
  };
}
