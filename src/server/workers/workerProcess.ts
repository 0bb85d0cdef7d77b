/**
 * One worker as the first process sees it, and what the two tell each other.
 */

import { fork } from "node:child_process";
import type { AddressInfo } from "node:net";
import type { Readable } from "node:stream";
import { type SignalServerConfig, unconfiguredEnv } from "../config/config.ts";
import type { TlsMaterial } from "../http/tlsOptions.ts";
import type { MetricsSnapshot } from "../ops/metrics.ts";

/** What a worker is told. */
export type ToWorker =
  | { readonly kind: "start"; readonly config: SignalServerConfig }
  /** Tell the metrics, under this number. */
  | { readonly kind: "report"; readonly number: number }
  /** Look who may do what: it may have changed. */
  | { readonly kind: "access" }
  /** Serve this certificate to all that connect from now on. */
  | { readonly kind: "certificate"; readonly material: TlsMaterial }
  /** Finish what is under way, and end. */
  | { readonly kind: "close" };

/** What a worker tells. */
export type FromWorker =
  | { readonly kind: "ready"; readonly address: AddressInfo }
  | { readonly kind: "failed"; readonly failure: StartFailure }
  | { readonly kind: "report"; readonly number: number; readonly snapshot: MetricsSnapshot };

/** What of an error matters to the first process, since an error does not travel whole. */
export interface StartFailure {
  readonly message: string;
  /** As in Node's errors of the operating system, where it is one. */
  readonly code?: string | undefined;
  readonly syscall?: string | undefined;
}

/** How a process ended. */
export interface WorkerEnd {
  /** `null` if a signal ended it. */
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A worker that was started. */
export interface WorkerProcess {
  /** `undefined` if there could be no process. */
  readonly pid: number | undefined;
  /** Where it listens, as soon as it does. Rejects if it cannot. */
  readonly ready: Promise<AddressInfo>;
  /** Resolves when it is gone, however that came. */
  readonly ended: Promise<WorkerEnd>;
  /** What it last told of its metrics; empty as long as nobody asked. */
  readonly lastReport: MetricsSnapshot;
  /** Asks for its metrics. A worker that is too busy to answer tells what it last told. */
  report(): Promise<MetricsSnapshot>;
  /** Lets it look who may do what. */
  wakeAccess(): void;
  /** Lets it serve this certificate to all that connect from now on. */
  useCertificate(material: TlsMaterial): void;
  /**
   * Lets it finish what is under way, and resolves when it has ended.
   *
   * @throws Error if it served, and did not end in time and had to be killed, or ended
   *   otherwise than well: then what it had under way may not be answered.
   */
  close(): Promise<void>;
}

const START_TIMEOUT_MS = 30_000;
const REPORT_TIMEOUT_MS = 1_000;
/**
 * A worker gives its requests 10 s, its batches 6 s, its connections to the database 5 s and
 * its log 2 s, each from the end of the one before. After that it is stuck.
 */
const CLOSE_TIMEOUT_MS = 25_000;

/**
 * Starts a worker.
 *
 * @param file its program.
 * @param onLogLine told each line of its log, with its end.
 */
export function startWorkerProcess(
  file: string,
  config: SignalServerConfig,
  onLogLine: (line: string) => void,
): WorkerProcess {
  // The configuration goes by a message and not by the environment, which other programs
  // of this user can read: it holds the master key.
  // It inherits no output either: Node.js would make that block whoever writes to it, also
  // this process, each time a worker starts or ends.
  const child = fork(file, {
    serialization: "advanced",
    env: unconfiguredEnv(),
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  if (child.stdout !== null) relayLines(child.stdout, onLogLine);
  if (child.stderr !== null) relayLines(child.stderr, (line) => process.stderr.write(line));
  const ready = Promise.withResolvers<AddressInfo>();
  const ended = Promise.withResolvers<WorkerEnd>();
  const reports = new Map<number, (snapshot: MetricsSnapshot) => void>();
  let reportCount = 0;
  let lastReport: MetricsSnapshot = [];
  let hasServed = false;

  function tell(message: ToWorker): void {
    // A worker that is gone cannot be told anything; its end is known from "close".
    if (child.connected) child.send(message, () => undefined);
  }

  function onMessage(message: FromWorker): void {
    switch (message.kind) {
      case "ready":
        hasServed = true;
        ready.resolve(message.address);
        break;
      case "failed":
        ready.reject(Object.assign(new Error(message.failure.message), message.failure));
        break;
      case "report":
        lastReport = message.snapshot;
        reports.get(message.number)?.(message.snapshot);
        break;
    }
  }

  function onEnd(end: WorkerEnd, cause?: Error): void {
    clearTimeout(startTimer);
    ready.reject(new Error("A worker ended before it could serve", { cause }));
    ended.resolve(end);
  }

  // Whoever is not interested in the start is told of the end.
  ready.promise.catch(() => undefined);
  const startTimer = setTimeout(() => child.kill("SIGKILL"), START_TIMEOUT_MS);
  ready.promise.then(
    () => clearTimeout(startTimer),
    () => undefined,
  );
  child.on("message", onMessage);
  // Unlike "exit", it comes after the last line of the log.
  child.once("close", (exitCode, signal) => onEnd({ exitCode, signal }));
  child.on("error", (error) => {
    // Without a process there is no "close"; any other error leaves the process there.
    if (child.pid === undefined) onEnd({ exitCode: null, signal: null }, error);
  });
  tell({ kind: "start", config });

  return {
    pid: child.pid,
    ready: ready.promise,
    ended: ended.promise,
    get lastReport() {
      return lastReport;
    },

    async report() {
      const number = ++reportCount;
      const { promise, resolve } = Promise.withResolvers<MetricsSnapshot>();
      reports.set(number, resolve);
      const timer = setTimeout(() => resolve(lastReport), REPORT_TIMEOUT_MS);
      void ended.promise.then(() => resolve(lastReport));
      tell({ kind: "report", number });
      const snapshot = await promise;
      clearTimeout(timer);
      reports.delete(number);
      return snapshot;
    },

    wakeAccess: () => tell({ kind: "access" }),
    useCertificate: (material) => tell({ kind: "certificate", material }),

    async close() {
      tell({ kind: "close" });
      let isKilled = false;
      const timer = setTimeout(() => {
        isKilled = true;
        child.kill("SIGKILL");
      }, CLOSE_TIMEOUT_MS);
      const { exitCode, signal } = await ended.promise;
      clearTimeout(timer);
      // What it had under way is nothing then. A service manager that sends SIGTERM to all
      // processes ends one that has not come far enough to leave that to the first.
      if (!hasServed) return;
      if (isKilled) throw new Error(`Worker ${child.pid} did not end in time and was killed`);
      if (exitCode !== 0) {
        throw new Error(
          `Worker ${child.pid} ended with ${signal ?? exitCode} while it was closing`,
        );
      }
    },
  };
}

/**
 * Hands on what another process writes, line by line, for as long as it does. The lines of
 * several processes are then never mixed, whatever one of them had written when it died.
 *
 * @param onLine told each line, with its end.
 */
function relayLines(stream: Readable, onLine: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(`${line}\n`);
  });
  stream.once("end", () => {
    if (rest !== "") onLine(`${rest}\n`);
  });
  // A process that dies may break the pipe; its end is known from elsewhere.
  stream.on("error", () => undefined);
}
