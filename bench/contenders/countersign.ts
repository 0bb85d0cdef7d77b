/** Countersign itself, as `npm start` starts it. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type ServerProcess, startServerProcess } from "../lab/children.ts";
import { type Contender, PRODUCER_ID, SECRET } from "./contender.ts";

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
/** Those of `npm start`. */
const NODE_FLAGS = ["--max-semi-space-size=8", "--max-old-space-size=1024"];
const MASTER_KEY = Buffer.alloc(32, 7).toString("base64");

/**
 * Over one of its protocols, with one log line a request into a file, as it is by default.
 *
 * @param workers processes that serve the port.
 */
export function countersign(kind: "json" | "grpc", workers = 1): Contender {
  return {
    name: workers === 1 ? "Countersign" : `Countersign, ${workers} workers`,
    async start({ databaseUrl, dir }) {
      const server = await serve(dir, {
        DATABASE_URL: databaseUrl,
        COUNTERSIGN_MASTER_KEY: MASTER_KEY,
        PRODUCER_ID,
        HMAC_PRODUCER_SECRET: SECRET,
        WORKERS: `${workers}`,
      });
      return {
        target: { kind, url: server.url },
        pid: server.pid,
        [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
      };
    },
  };
}

/** Starts `countersign serve` on a free port. */
export function serve(dir: string, env: Readonly<Record<string, string>>): Promise<ServerProcess> {
  return startServerProcess({
    nodeFlags: NODE_FLAGS,
    script: MAIN,
    args: ["serve"],
    env: { PORT: "0", OPS_PORT: "0", LOG_LEVEL: "info", ...env },
    logFile: join(dir, "countersign.log"),
  });
}
