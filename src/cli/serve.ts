/** `countersign serve`: runs the server until it is told to stop. */
import { Command } from "commander";
import { ConfigError, type RunningServer, serverConfigFromEnv, startServer } from "../server/index.ts";

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

const ENVIRONMENT_HELP = `
Environment:
  HOST                       address to listen on (127.0.0.1)
  PORT                       port for gRPC, gRPC-Web, Connect and REST (8080)
  DATABASE_URL               PostgreSQL to use; unset, an embedded one is started
  DATABASE_POOL_SIZE         connections to the database (10)
  DATA_DIR                   embedded database and generated keys (.countersign)
  COUNTERSIGN_MASTER_KEY     32 bytes in base64 that encrypt producer secrets;
                             required with DATABASE_URL
  PRODUCER_ID                a producer to make sure of, with
  HMAC_PRODUCER_SECRET       its secret, at least 16 bytes
  HMAC_PRODUCER_ENABLED      false accepts unsigned requests, on loopback only (true)
  REQUIRE_APPROVAL           true holds every signal until a person approves it (false)
  SIGNALS_PAYLOAD_MAX_BYTES  greatest payload of a signal (32768)
  TLS_CERT_FILE, TLS_KEY_FILE  certificate and key in PEM; unset, clear text is served
  LOG_LEVEL                  fatal, error, warn, info, debug, trace or silent (info)

The log is written to standard output, one JSON object a line.`;

/** Makes the command. */
export function serveCommand(): Command {
  return new Command("serve")
    .description("run the server")
    .option("--env-file <path>", "read environment variables from this file first")
    .addHelpText("after", ENVIRONMENT_HELP)
    .action(serve);
}

async function serve({ envFile }: { readonly envFile?: string }): Promise<void> {
  let server: RunningServer;
  try {
    if (envFile !== undefined) process.loadEnvFile(envFile);
    server = await startServer(serverConfigFromEnv());
  } catch (error) {
    process.stderr.write(`countersign: ${(error as Error).message}\n`);
    process.exitCode = error instanceof ConfigError ? EXIT_USAGE : EXIT_FAILURE;
    return;
  }
  greet(server);
  closeOnSignal(server);
}

/** The log is for machines; a person at the terminal is told what to do next. */
function greet({ url, producerFile }: RunningServer): void {
  const lines = [`Countersign takes signals at ${url}`];
  if (producerFile !== undefined) lines.push(`A producer's credentials are in ${producerFile}`);
  process.stderr.write(`${lines.join("\n")}\n`);
}

function closeOnSignal(server: RunningServer): void {
  let isClosing = false;
  function onSignal(): void {
    // Whoever asks a second time does not want to wait.
    if (isClosing) process.exit(EXIT_FAILURE);
    isClosing = true;
    server.close().then(
      () => process.exit(0),
      (error: Error) => {
        process.stderr.write(`countersign: ${error.message}\n`);
        process.exit(EXIT_FAILURE);
      },
    );
  }
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
}
