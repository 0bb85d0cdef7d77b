/**
 * Real servers for tests: in this process, or as processes of their own that can be
 * killed. Both listen on a free port and use a real PostgreSQL.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { serverConfigFromEnv, startServer } from "../../src/server/index.ts";
import { formatTimestamp, Secret, signatureHeaders } from "../../src/signing/index.ts";
import { coverageEnv } from "./processCoverage.ts";
import { recordLog } from "./recordLog.ts";
import { plantEnvironment, planted } from "./secrecy/canaries.ts";

/** The producer that every test server knows. */
export const TEST_PRODUCER_ID = "test-bot";
/** Its secret. */
export const TEST_SECRET = planted("producer's secret", "test-secret-of-the-test-bot-0001");
/** Seals the secrets in test databases, so that several servers can share one. */
export const TEST_MASTER_KEY = planted("master key", Buffer.alloc(32, 7).toString("base64"));

/** A server that a test started. */
export interface TestServer {
  /** Such as `http://127.0.0.1:43211`. */
  readonly url: string;
  readonly port: number;
  /** Where its metrics are, if it was given an `OPS_PORT`. */
  readonly opsUrl: string | undefined;
  /** What it logged so far, one object a line. */
  readonly logLines: readonly Record<string, unknown>[];
  close(): Promise<void>;
}

/** Lets a server take requests that nobody signed, as one for development does. */
export const UNSIGNED = {
  HMAC_PRODUCER_ENABLED: "false",
  PRODUCER_ID: undefined,
  HMAC_PRODUCER_SECRET: undefined,
} as const;

/** The environment of a test server on this database. */
export function testServerEnv(
  databaseUrl: string,
  overrides: Readonly<Record<string, string | undefined>> = {},
): NodeJS.ProcessEnv {
  return {
    PORT: "0",
    OPS_PORT: "off",
    DATABASE_URL: databaseUrl,
    COUNTERSIGN_MASTER_KEY: TEST_MASTER_KEY,
    PRODUCER_ID: TEST_PRODUCER_ID,
    HMAC_PRODUCER_SECRET: TEST_SECRET,
    ...overrides,
  };
}

/** Starts a server in this process. */
export async function startTestServer(
  databaseUrl: string,
  overrides: Readonly<Record<string, string | undefined>> = {},
): Promise<TestServer> {
  const log = recordLog();
  const env = testServerEnv(databaseUrl, overrides);
  plantEnvironment(env);
  const config = serverConfigFromEnv(env);
  const server = await startServer(config, log.stream);
  return {
    url: server.url,
    port: Number(new URL(server.url).port),
    opsUrl: server.opsUrl,
    logLines: log.lines,
    close: () => server.close(),
  };
}

/** A server in a process of its own. */
export interface ServerProcess {
  readonly url: string;
  readonly port: number;
  /** Where its metrics are, if it was given an `OPS_PORT`. */
  readonly opsUrl: string | undefined;
  /** What it and its workers logged so far, one object a line. */
  logLines(): Record<string, unknown>[];
  readonly child: ChildProcess;
  /** Sends the signal and waits for the end. @returns the exit code, `null` if it was killed. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const START_TIMEOUT_MS = 30_000;

/**
 * Starts `countersign serve` and waits until it is ready.
 *
 * @param hasOwnGroup whether it leads a process group of its own, as a shell gives a command
 *   that can be ended with Ctrl-C.
 */
export async function spawnServer(
  env: NodeJS.ProcessEnv,
  { hasOwnGroup = false }: { readonly hasOwnGroup?: boolean } = {},
): Promise<ServerProcess> {
  const child = spawn(process.execPath, [MAIN, "serve"], {
    env: { PATH: process.env.PATH, ...coverageEnv(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: hasOwnGroup,
  });
  const lines: string[] = [];
  const { url, ops_url: opsUrl } = await readyLine(child, lines);
  return {
    url,
    port: Number(new URL(url).port),
    opsUrl,
    logLines: () => lines.map((line) => JSON.parse(line)),
    child,
    async stop(signal = "SIGTERM") {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
      const exit = once(child, "exit");
      child.kill(signal);
      return (await exit)[0];
    },
  };
}

/** Where a server says that it is. */
interface ReadyLine {
  readonly url: string;
  readonly ops_url?: string;
}

/** Reads the log, and resolves at the line that says where the server listens. */
function readyLine(child: ChildProcess, lines: string[]): Promise<ReadyLine> {
  return new Promise((resolve, reject) => {
    let errors = "";
    const fail = (why: string) => {
      clearTimeout(timer);
      child.kill("SIGKILL");
      reject(new Error(`The server ${why}: ${errors}${lines.join("\n")}`));
    };
    const timer = setTimeout(() => fail("did not start in time"), START_TIMEOUT_MS);
    const onEarlyExit = () => fail("ended at its start");
    child.once("exit", onEarlyExit);
    child.stderr?.on("data", (chunk: Buffer) => {
      errors += chunk.toString("utf8");
    });
    // Reading goes on to the end, since a full pipe would stop the server.
    createInterface({ input: child.stdout as Readable }).on("line", (line) => {
      lines.push(line);
      if (!line.includes('"msg":"ready"')) return;
      clearTimeout(timer);
      child.off("exit", onEarlyExit);
      resolve(JSON.parse(line));
    });
  });
}

/** The three headers of the test producer for these bytes, as of now or of the given time. */
export function testHeaders(
  endpoint: string,
  body: Uint8Array,
  overrides: {
    readonly producerId?: string;
    readonly secret?: string;
    readonly timestamp?: string;
  } = {},
): Record<string, string> {
  const headers = signatureHeaders({
    secret: Secret.fromString(overrides.secret ?? TEST_SECRET),
    producerId: overrides.producerId ?? TEST_PRODUCER_ID,
    endpoint,
    body,
    timestamp: overrides.timestamp ?? formatTimestamp(BigInt(Date.now()) * 1_000_000n),
  });
  return { ...headers };
}
