import { spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { ConfigError, type ServerConfig, serverConfigFromEnv } from "../../src/server/index.ts";
import { TEST_MASTER_KEY, TEST_SECRET } from "../support/server.ts";

/** A database with a password, so that it can be searched for. */
const DATABASE_URL = "postgres://countersign:hunter2-hunter2@db.example.com/signals";

function messageOf(env: NodeJS.ProcessEnv): string {
  try {
    serverConfigFromEnv(env);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  }
  return expect.unreachable("the configuration was taken");
}

test("an empty environment gives the defaults, and exposes nothing", () => {
  const config = serverConfigFromEnv({});
  expect(config).toMatchObject({
    host: "127.0.0.1",
    port: 8080,
    workers: 1,
    opsHost: "127.0.0.1",
    opsPort: 9090,
    dataDir: resolve(".countersign"),
    databaseUrl: undefined,
    databasePoolSize: 10,
    masterKey: undefined,
    isSigningRequired: true,
    producer: undefined,
    requireApproval: false,
    payloadMaxBytes: 32_768,
    tls: undefined,
    logLevel: "info",
  });
});

test("an empty variable counts as unset", () => {
  const names = ["HOST", "PORT", "DATABASE_URL", "COUNTERSIGN_MASTER_KEY", "PRODUCER_ID"];
  const empty = Object.fromEntries(names.map((name) => [name, ""]));
  expect(serverConfigFromEnv(empty)).toEqual(serverConfigFromEnv({}));
});

test("variables of other programs are passed over", () => {
  const others = { constructor: "x", toString: "x", PORTS: "x" } as unknown as NodeJS.ProcessEnv;
  expect(serverConfigFromEnv(others)).toEqual(serverConfigFromEnv({}));
});

describe("a value in its range is taken", () => {
  test.each<[NodeJS.ProcessEnv, Partial<ServerConfig>]>([
    [{ PORT: "0" }, { port: 0 }],
    [{ PORT: "65535" }, { port: 65_535 }],
    [{ HOST: "0.0.0.0" }, { host: "0.0.0.0" }],
    [{ WORKERS: "1" }, { workers: 1 }],
    [{ WORKERS: "64" }, { workers: 64 }],
    [{ OPS_HOST: "0.0.0.0" }, { opsHost: "0.0.0.0" }],
    [{ OPS_PORT: "0" }, { opsPort: 0 }],
    [
      { PORT: "0", OPS_PORT: "0" },
      { port: 0, opsPort: 0 },
    ],
    [{ OPS_PORT: "65535" }, { opsPort: 65_535 }],
    [{ OPS_PORT: "off" }, { opsPort: undefined }],
    [{ DATABASE_POOL_SIZE: "1" }, { databasePoolSize: 1 }],
    [{ DATABASE_POOL_SIZE: "100" }, { databasePoolSize: 100 }],
    [{ SIGNALS_PAYLOAD_MAX_BYTES: "2" }, { payloadMaxBytes: 2 }],
    [{ SIGNALS_PAYLOAD_MAX_BYTES: "65536" }, { payloadMaxBytes: 65_536 }],
    [{ HMAC_PRODUCER_ENABLED: "false" }, { isSigningRequired: false }],
    [{ HMAC_PRODUCER_ENABLED: "true" }, { isSigningRequired: true }],
    [{ REQUIRE_APPROVAL: "true" }, { requireApproval: true }],
    [{ DATA_DIR: "/data" }, { dataDir: "/data" }],
    [{ TLS_CERT_FILE: "a", TLS_KEY_FILE: "b" }, { tls: { certFile: "a", keyFile: "b" } }],
    [
      { COUNTERSIGN_MASTER_KEY: TEST_MASTER_KEY },
      { masterKey: Buffer.from(TEST_MASTER_KEY, "base64") },
    ],
    [
      { DATABASE_URL: "postgresql://a/b", COUNTERSIGN_MASTER_KEY: TEST_MASTER_KEY },
      { databaseUrl: "postgresql://a/b" },
    ],
    ...(["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const).map(
      (logLevel): [NodeJS.ProcessEnv, Partial<ServerConfig>] => [
        { LOG_LEVEL: logLevel },
        { logLevel },
      ],
    ),
  ])("%j", (env, expected) => {
    expect(serverConfigFromEnv(env)).toMatchObject(expected);
  });

  test("a producer and its secret", () => {
    for (const secret of ["sixteen-bytes-16", "ü".repeat(8)]) {
      const env = { PRODUCER_ID: "a".repeat(64), HMAC_PRODUCER_SECRET: secret };
      const { producer } = serverConfigFromEnv(env);
      expect(producer?.producerId).toBe("a".repeat(64));
      expect(producer?.secret.reveal()).toBe(secret);
    }
  });
});

describe("a value out of its range stops the start, and its variable is named", () => {
  const urlWithKey = { DATABASE_URL, COUNTERSIGN_MASTER_KEY: TEST_MASTER_KEY };
  test.each([
    [{ PORT: "-1" }, "PORT"],
    [{ PORT: "65536" }, "PORT"],
    [{ PORT: "80.5" }, "PORT"],
    [{ PORT: "0x50" }, "PORT"],
    [{ PORT: " 80" }, "PORT"],
    [{ PORT: "http" }, "PORT"],
    [{ WORKERS: "0" }, "WORKERS"],
    [{ WORKERS: "65" }, "WORKERS"],
    [{ WORKERS: "auto" }, "WORKERS"],
    [{ OPS_PORT: "-1" }, "OPS_PORT"],
    [{ OPS_PORT: "65536" }, "OPS_PORT"],
    [{ OPS_PORT: "Off" }, "OPS_PORT"],
    [{ OPS_PORT: "8080" }, "OPS_PORT"],
    [{ PORT: "9090" }, "OPS_PORT"],
    [{ DATABASE_POOL_SIZE: "0" }, "DATABASE_POOL_SIZE"],
    [{ DATABASE_POOL_SIZE: "101" }, "DATABASE_POOL_SIZE"],
    [{ SIGNALS_PAYLOAD_MAX_BYTES: "1" }, "SIGNALS_PAYLOAD_MAX_BYTES"],
    [{ SIGNALS_PAYLOAD_MAX_BYTES: "65537" }, "SIGNALS_PAYLOAD_MAX_BYTES"],
    [{ SIGNALS_PAYLOAD_MAX_BYTES: "9999999999" }, "SIGNALS_PAYLOAD_MAX_BYTES"],
    [{ HMAC_PRODUCER_ENABLED: "0" }, "HMAC_PRODUCER_ENABLED"],
    [{ HMAC_PRODUCER_ENABLED: "False" }, "HMAC_PRODUCER_ENABLED"],
    [{ REQUIRE_APPROVAL: "yes" }, "REQUIRE_APPROVAL"],
    [{ LOG_LEVEL: "loud" }, "LOG_LEVEL"],
    [{ TLS_CERT_FILE: "cert.pem" }, "TLS_KEY_FILE"],
    [{ TLS_KEY_FILE: "key.pem" }, "TLS_CERT_FILE"],
    [{ PRODUCER_ID: "-bot", HMAC_PRODUCER_SECRET: TEST_SECRET }, "PRODUCER_ID"],
    [{ PRODUCER_ID: "a".repeat(65), HMAC_PRODUCER_SECRET: TEST_SECRET }, "PRODUCER_ID"],
    [{ PRODUCER_ID: "bot" }, "HMAC_PRODUCER_SECRET"],
    [{ HMAC_PRODUCER_SECRET: TEST_SECRET }, "PRODUCER_ID"],
    [{ PRODUCER_ID: "bot", HMAC_PRODUCER_SECRET: "fifteen-bytes-1" }, "HMAC_PRODUCER_SECRET"],
    [{ PRODUCER_ID: "bot", HMAC_PRODUCER_SECRET: `\ud800${TEST_SECRET}` }, "HMAC_PRODUCER_SECRET"],
    [{ DATABASE_URL }, "COUNTERSIGN_MASTER_KEY"],
    [{ ...urlWithKey, DATABASE_URL: "mysql://root:hunter2-hunter2@a/b" }, "DATABASE_URL"],
    [{ ...urlWithKey, DATABASE_URL: "hunter2-hunter2" }, "DATABASE_URL"],
    [{ ...urlWithKey, DATABASE_URL: "postgres://a:hunter2-hunter2@[/b" }, "DATABASE_URL"],
    [{ COUNTERSIGN_MASTER_KEY: Buffer.alloc(31).toString("base64") }, "COUNTERSIGN_MASTER_KEY"],
    [{ COUNTERSIGN_MASTER_KEY: Buffer.alloc(33).toString("base64") }, "COUNTERSIGN_MASTER_KEY"],
    [{ COUNTERSIGN_MASTER_KEY: Buffer.alloc(32).toString("hex") }, "COUNTERSIGN_MASTER_KEY"],
    [
      { COUNTERSIGN_MASTER_KEY: Buffer.alloc(32, 0xff).toString("base64url") },
      "COUNTERSIGN_MASTER_KEY",
    ],
    [{ COUNTERSIGN_MASTER_KEY: ` ${TEST_MASTER_KEY}` }, "COUNTERSIGN_MASTER_KEY"],
  ])("%j", (env, name) => {
    const message = messageOf(env);
    expect(message).toContain(name);
    for (const secret of ["hunter2", "fifteen-bytes", TEST_SECRET, TEST_MASTER_KEY]) {
      expect(message).not.toContain(secret);
    }
    for (const key of ["COUNTERSIGN_MASTER_KEY", "HMAC_PRODUCER_SECRET", "DATABASE_URL"] as const) {
      const value = (env as NodeJS.ProcessEnv)[key];
      if (value !== undefined) expect(message).not.toContain(value);
    }
  });

  test("all of them at once", () => {
    const message = messageOf({ PORT: "x", LOG_LEVEL: "x", REQUIRE_APPROVAL: "x" });
    for (const name of ["PORT", "LOG_LEVEL", "REQUIRE_APPROVAL"]) expect(message).toContain(name);
  });
});

describe("without signatures, only this machine is listened to", () => {
  test.each(["127.0.0.1", "127.1.2.3", "::1", "localhost"])("%s is taken", (HOST) => {
    expect(serverConfigFromEnv({ HMAC_PRODUCER_ENABLED: "false", HOST }).host).toBe(HOST);
  });

  test.each([
    "0.0.0.0",
    "::",
    "*",
    "10.0.0.1",
    "192.168.1.1",
    "128.0.0.1",
    "example.com",
    "localhost.example.com",
    "127.0.0.1.example.com",
    "127.0.0.1 ",
    "127.0.0.999",
    "::ffff:0.0.0.0",
    "fe80::1",
  ])("%s is refused", (HOST) => {
    const message = messageOf({ HMAC_PRODUCER_ENABLED: "false", HOST });
    expect(message).toMatch(/HOST must be a loopback address.*HMAC_PRODUCER_ENABLED is false/s);
  });

  test("also on the operations port, if there is one", () => {
    const OPS_HOST = "0.0.0.0";
    const message = messageOf({ HMAC_PRODUCER_ENABLED: "false", OPS_HOST });
    expect(message).toMatch(/OPS_HOST must be a loopback address.*HMAC_PRODUCER_ENABLED is false/s);
    const without = { HMAC_PRODUCER_ENABLED: "false", OPS_HOST, OPS_PORT: "off" };
    expect(serverConfigFromEnv(without).opsPort).toBeUndefined();
  });

  test("and the command says so, and ends", async () => {
    const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
    const child = spawn(process.execPath, [main, "serve"], {
      env: { PATH: process.env.PATH, HMAC_PRODUCER_ENABLED: "false", HOST: "0.0.0.0" },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString("utf8");
    });
    const [code] = await once(child, "close");
    expect(code).toBe(2);
    expect(stderr).toContain("HOST must be a loopback address");
  });
});

test("the secret does not print with the configuration", () => {
  const config = serverConfigFromEnv({ PRODUCER_ID: "bot", HMAC_PRODUCER_SECRET: TEST_SECRET });
  for (const text of [inspect(config, { depth: 9, showHidden: true }), JSON.stringify(config)]) {
    expect(text).toContain("[redacted]");
    expect(text).not.toContain(TEST_SECRET);
  }
});
