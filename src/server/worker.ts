/**
 * The program of a worker. It does what the first process tells it, and ends when that
 * process is gone.
 */
import { openDatabase } from "../store/index.ts";
import { type Access, openAccess } from "./access.ts";
import { systemClock } from "./clock.ts";
import type { SignalServerConfig } from "./config/config.ts";
import { openSecretBox } from "./config/masterKey.ts";
import type { TlsMaterial } from "./http/tlsOptions.ts";
import { openProcessLog, type ProcessLog } from "./ops/log.ts";
import { createServerMetrics } from "./ops/metrics.ts";
import { watchDatabase } from "./ops/readiness.ts";
import { serveSignals } from "./signalServer.ts";
import type { FromWorker, StartFailure, ToWorker } from "./workers/workerProcess.ts";

const metrics = createServerMetrics(systemClock.monotonicMs);
const parts = new AsyncDisposableStack();
let starting: Promise<void> | undefined;
let processLog: ProcessLog | undefined;
let access: Access | undefined;
let useCertificate: ((material: TlsMaterial) => void) | undefined;

// A shell sends Ctrl-C to the whole process group, a terminal that is closed its SIGHUP,
// and systemd its SIGTERM to the whole service. There must be one that decides: the first
// process, which then says so.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);
// Without the first process nobody would end this one, and a new server would find the
// port taken. Nothing that was acknowledged is lost, and what was not is sent again.
process.on("disconnect", () => process.exit(1));
if (!process.connected) process.exit(1);
process.on("message", (message: ToWorker) => {
  switch (message.kind) {
    case "start":
      starting = start(message.config).catch(fail);
      break;
    case "report":
      report(message.number).catch((error) => processLog?.log.error({ err: error }, "no metrics"));
      break;
    case "access":
      access?.directory.wake();
      break;
    case "certificate":
      // One that comes before this process listens waits for that.
      starting
        ?.then(() => useCertificate?.(message.material))
        .catch((error) => processLog?.log.error({ err: error }, "the certificate was not taken"));
      break;
    case "close":
      void close();
      break;
  }
});

async function start(config: SignalServerConfig): Promise<void> {
  processLog = openProcessLog(config, systemClock.monotonicMs);
  const { log } = processLog;
  const { databaseUrl, databasePoolSize } = config;
  const database = openDatabase({ url: databaseUrl, poolSize: databasePoolSize, log });
  parts.defer(() => database.close());
  metrics.watchDatabase(() => database.usage);
  metrics.watchLog(processLog.dropped);
  const { monotonicMs } = systemClock;
  const watch = watchDatabase({ database, monotonicMs, log });
  parts.defer(() => watch.close());
  metrics.watchDatabaseProblems(() => watch.problems);
  const { isReady } = watch;
  const { requireApproval } = config;
  const box = openSecretBox(config.masterKeys);
  const onFailure = metrics.accessReadFailed;
  access = await openAccess({ database, box, requireApproval, log, onFailure, parts });
  const made = { config, database, access, isReady, metrics, processLog, parts };
  const served = await serveSignals(made);
  useCertificate = served.useCertificate;
  tell({ kind: "ready", address: served.address });
}

function fail(error: StartFailure): void {
  const { message, code, syscall } = error;
  tell({ kind: "failed", failure: { message, code, syscall } }, () => process.exit(1));
}

async function report(number: number): Promise<void> {
  tell({ kind: "report", number, snapshot: await metrics.snapshot() });
}

async function close(): Promise<void> {
  await starting;
  await parts.disposeAsync();
  await processLog?.end();
  process.exit(0);
}

function tell(message: FromWorker, onTold: () => void = () => undefined): void {
  // If the first process is gone, "disconnect" ends this one.
  process.send?.(message, onTold);
}
