import type { Command } from "commander";
import { EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE } from "../cliError.ts";
import { addHelp, createCommand } from "../command.ts";

const NOTES = `Environment:
  HOST                       address to listen on (127.0.0.1)
  PORT                       port for gRPC, gRPC-Web, Connect and REST (8080)
  WORKERS                    processes that serve the port, 1 to 64 (1)
  OPS_HOST                   address of the operations port (127.0.0.1)
  OPS_PORT                   port for metrics and health, or off (9090)
  DATABASE_URL               PostgreSQL to use; unset, an embedded one is
                             started
  DATABASE_POOL_SIZE         connections to the database, of each worker (10)
  DATA_DIR                   embedded database and generated keys (.countersign)
  COUNTERSIGN_MASTER_KEY     32 bytes in base64 that encrypt producer secrets;
                             required with DATABASE_URL
  COUNTERSIGN_PREVIOUS_MASTER_KEY  the one before it, while it is rotated
  PRODUCER_ID                a producer to make sure of, with
  HMAC_PRODUCER_SECRET       its secret, at least 16 bytes
  HMAC_PRODUCER_ENABLED      false accepts unsigned requests, on loopback only
                             (true)
  REQUIRE_APPROVAL           true holds every signal until a person approves it
                             (false)
  SIGNALS_PAYLOAD_MAX_BYTES  greatest payload of a signal (32768)
  TLS_CERT_FILE, TLS_KEY_FILE  certificate and key in PEM, taken again when they
                               change; unset, clear text is served
  ALLOW_CLEARTEXT            true lets HOST and OPS_HOST be reachable without
                             TLS (false)
  LOG_LEVEL                  fatal, error, warn, info, debug, trace or silent
                             (info)

The log is written to standard output, one JSON object a line, or on a terminal one readable
line. SIGINT or SIGTERM ends the server when the requests under way are finished; a second one
ends it at once.`;

/** `countersign serve`: runs the server until it is told to stop. */
export function serveCommand(): Command {
  const command = createCommand("serve")
    .description("run the server")
    .option("--env-file <path>", "read environment variables from this file first")
    .action(async (options: { readonly envFile?: string }) => {
      const { serve } = await import("./run.ts");
      await serve(options);
    });
  return addHelp(command, {
    notes: NOTES,
    examples: [
      "countersign serve",
      "PORT=8081 LOG_LEVEL=warn countersign serve",
      "countersign serve --env-file /etc/countersign.env",
    ],
    exitCodes: {
      [EXIT_OK]: "ended because it was told to",
      [EXIT_FAILED]: "cannot start: the port is in use, the database is not safe, or the like",
      [EXIT_USAGE]: "the command line or a variable is wrong",
      [EXIT_UNAVAILABLE]: "the database cannot be reached",
    },
  });
}
