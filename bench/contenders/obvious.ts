import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startServerProcess } from "../lab/children.ts";
import { type Contender, PRODUCER_ID, SECRET } from "./contender.ts";

const MAIN = fileURLToPath(new URL("../baseline/obviousServer.ts", import.meta.url));

/** The obvious server: plain Connect, single-row inserts. */
export function obvious(kind: "json" | "grpc"): Contender {
  return {
    name: "obvious server",
    async start({ databaseUrl, dir }) {
      const server = await startServerProcess({
        script: MAIN,
        args: [kind === "grpc" ? "http2" : "http1"],
        env: { DATABASE_URL: databaseUrl, PRODUCER_ID, HMAC_PRODUCER_SECRET: SECRET },
        logFile: join(dir, "obvious.log"),
      });
      return {
        target: { kind, url: server.url },
        pid: server.pid,
        [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
      };
    },
  };
}
