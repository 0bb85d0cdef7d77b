/** Starts the server, tells where it is, and closes it when asked to. */
import { isatty } from "node:tty";
import {
  OpsPortError,
  type RunningServer,
  type ServerConfig,
  startServer,
} from "../../server/index.ts";
import { EXIT_FAILED, EXIT_OK, failedError } from "../cliError.ts";
import { configFailure, readServerConfig, storeFailure } from "../database.ts";
import { readEnvironment } from "../environment.ts";
import { note } from "../output.ts";

/** @throws CliError if it cannot start. */
export async function serve({ envFile }: { readonly envFile?: string }): Promise<void> {
  const config = readServerConfig(readEnvironment(envFile));
  // Before the start, whose last line in the log already invites signals to come.
  const stop = watchStopRequests();
  let server: RunningServer;
  try {
    server = await startServer(config);
  } catch (error) {
    const failure = listenFailure(error, config) ?? configFailure(storeFailure(error));
    if (!stop.isRequested) throw failure;
    // A signal to all processes ends workers that only begin to start, and the start fails.
    note((failure as Error).message);
    process.exit(EXIT_OK);
  }
  greet(server);
  stop.requested.then(() => close(server));
}

/** The log is for machines; a person at the terminal is told what to do next. */
function greet({ url, opsUrl, producerFile, adminFile }: RunningServer): void {
  const lines = [`Countersign takes signals at ${url}`];
  if (opsUrl !== undefined) lines.push(`Its metrics are at ${opsUrl}/metrics`);
  if (producerFile !== undefined) lines.push(`A producer's credentials are in ${producerFile}`);
  if (adminFile !== undefined) lines.push(`A token that administers is in ${adminFile}`);
  process.stderr.write(`${lines.join("\n")}\n`);
}

/** Explains why a port cannot be had; `undefined` if that is not what failed. */
function listenFailure(error: unknown, config: ServerConfig): Error | undefined {
  const isOperations = error instanceof OpsPortError;
  const failure = (isOperations ? error.cause : error) as NodeJS.ErrnoException;
  if (failure.syscall !== "listen" && failure.syscall !== "getaddrinfo") return undefined;
  const { hostName, host, portName, port } = isOperations
    ? { hostName: "OPS_HOST", host: config.opsHost, portName: "OPS_PORT", port: config.opsPort }
    : { hostName: "HOST", host: config.host, portName: "PORT", port: config.port };
  switch (failure.code) {
    case "EADDRINUSE":
      return failedError(
        `Port ${port} on ${host} is in use. Stop the program that has it, or set ${portName} to another one.`,
      );
    case "EACCES":
      return failedError(
        `Port ${port} is for privileged programs. Set ${portName} to one above 1023.`,
      );
    case "ENOTSUP":
      return failedError("This system does not let processes share a port. Set WORKERS to 1.");
    default:
      return failedError(
        `${hostName} ${host} is not an address of this machine (${failure.code}). Set another.`,
      );
  }
}

/** Whether the process was asked to end. */
interface StopRequests {
  readonly isRequested: boolean;
  /** Resolves at the first request. */
  readonly requested: Promise<void>;
}

/** Watches for signals that ask for an end; a second one ends the process. */
function watchStopRequests(): StopRequests {
  const { promise: requested, resolve } = Promise.withResolvers<void>();
  let isRequested = false;
  function onSignal(): void {
    // Whoever asks a second time does not want to wait.
    if (isRequested) process.exit(EXIT_FAILED);
    isRequested = true;
    resolve();
  }
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  // The terminal was closed. `nohup` has this ignored, which Node.js forgets at its start, but
  // it takes the terminal away from standard input, too. And what was never at a terminal, such
  // as a service, is not to be ended by a signal that asks most services to reload.
  process.on("SIGHUP", isatty(0) ? onSignal : () => undefined);
  return {
    get isRequested() {
      return isRequested;
    },
    requested,
  };
}

async function close(server: RunningServer): Promise<never> {
  try {
    await server.close();
  } catch (error) {
    note((error as Error).message);
    process.exit(EXIT_FAILED);
  }
  process.exit(EXIT_OK);
}
