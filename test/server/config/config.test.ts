import { resolve } from "node:path";
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { SERVER_VARIABLES } from "../../../src/server/config/config.ts";
import { ConfigError, type ServerConfig, serverConfigFromEnv } from "../../../src/server/index.ts";
import { generateCredential } from "../../../src/signing/index.ts";
import { TEST_MASTER_KEY, TEST_SECRET } from "../../support/server.ts";

const PREVIOUS_MASTER_KEY = Buffer.alloc(32, 8).toString("base64");
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
    previousMasterKey: undefined,
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

/** Right values, each with what the configuration says then. */
const RIGHT_VALUES: readonly (readonly [NodeJS.ProcessEnv, Partial<ServerConfig>])[] = [
  [{ PORT: "0" }, { port: 0 }],
  [{ PORT: "65535" }, { port: 65_535 }],
  [{ HOST: "::1" }, { host: "::1" }],
  [{ HOST: "0.0.0.0", ALLOW_CLEARTEXT: "true" }, { host: "0.0.0.0" }],
  [{ HOST: "::", TLS_CERT_FILE: "a", TLS_KEY_FILE: "b" }, { host: "::" }],
  [{ HOST: "bots.example.com", ALLOW_CLEARTEXT: "true" }, { host: "bots.example.com" }],
  [{ WORKERS: "1" }, { workers: 1 }],
  [{ WORKERS: "64" }, { workers: 64 }],
  [{ OPS_HOST: "0.0.0.0", ALLOW_CLEARTEXT: "true" }, { opsHost: "0.0.0.0" }],
  [{ OPS_HOST: "0.0.0.0", OPS_PORT: "off" }, { opsPort: undefined }],
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
    {
      COUNTERSIGN_MASTER_KEY: TEST_MASTER_KEY,
      COUNTERSIGN_PREVIOUS_MASTER_KEY: PREVIOUS_MASTER_KEY,
    },
    { previousMasterKey: Buffer.from(PREVIOUS_MASTER_KEY, "base64") },
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
];

describe("a value in its range is taken", () => {
  test("of every variable", () => {
    // Those of a producer are below, since its secret is not to be compared as a whole.
    const names = RIGHT_VALUES.flatMap(([env]) => Object.keys(env));
    expect(new Set([...names, "PRODUCER_ID", "HMAC_PRODUCER_SECRET"])).toEqual(
      new Set(SERVER_VARIABLES),
    );
  });

  test.each(RIGHT_VALUES)("%j", (env, expected) => {
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

/** Wrong values of each variable, each with what is said of it. */
const WRONG_VALUES: Readonly<Record<string, readonly (readonly [NodeJS.ProcessEnv, string])[]>> = {
  HOST: [
    [
      { HOST: "http://127.0.0.1" },
      "HOST must be an IP address or a name of this machine, without scheme, port or brackets",
    ],
    [{ HOST: "127.0.0.1:8080" }, "HOST must be an IP address"],
    [{ HOST: "[::1]" }, "HOST must be an IP address"],
    [{ HOST: "*" }, "HOST must be an IP address"],
    [{ HOST: "127.0.0.1 " }, "HOST must be an IP address"],
    [
      { HOST: "0.0.0.0" },
      "HOST is not a loopback address, and without TLS whoever is on the way could read signals or hold them back: set TLS_CERT_FILE and TLS_KEY_FILE, or ALLOW_CLEARTEXT=true if",
    ],
    [{ HOST: "::" }, "HOST is not a loopback address"],
    [{ HOST: "10.0.0.5" }, "HOST is not a loopback address"],
    [{ HOST: "bots.example.com" }, "HOST is not a loopback address"],
  ],
  PORT: ["-1", "65536", "80.5", "0x50", " 80", "http", "1e3"].map((PORT) => [
    { PORT },
    "PORT must be a whole number from 0 to 65535",
  ]),
  WORKERS: ["0", "65", "auto"].map((WORKERS) => [
    { WORKERS },
    "WORKERS must be a whole number from 1 to 64",
  ]),
  OPS_HOST: [
    [{ OPS_HOST: "https://x" }, "OPS_HOST must be an IP address or a name of this machine"],
    [
      { OPS_HOST: "0.0.0.0" },
      "OPS_HOST is not a loopback address, and the operations port has no TLS: set ALLOW_CLEARTEXT=true if",
    ],
    [
      { OPS_HOST: "0.0.0.0", TLS_CERT_FILE: "a", TLS_KEY_FILE: "b" },
      "OPS_HOST is not a loopback address",
    ],
  ],
  OPS_PORT: [
    ...["-1", "65536", "Off", "99999"].map(
      (OPS_PORT) =>
        [{ OPS_PORT }, "OPS_PORT must be a whole number from 0 to 65535, or off"] as const,
    ),
    [{ OPS_PORT: "8080" }, "OPS_PORT must be another port than PORT"],
    [{ PORT: "9090" }, "OPS_PORT must be another port than PORT"],
  ],
  DATA_DIR: [],
  DATABASE_URL: [
    [{ DATABASE_URL }, "COUNTERSIGN_MASTER_KEY must be set with DATABASE_URL"],
    ...[
      "mysql://root:hunter2-hunter2@a/b",
      "hunter2-hunter2",
      "postgres://a:hunter2-hunter2@[/b",
      "postgres://a:%zz@b/c",
    ].map(
      (url) =>
        [{ COUNTERSIGN_MASTER_KEY: TEST_MASTER_KEY, DATABASE_URL: url }, "DATABASE_URL "] as const,
    ),
  ],
  DATABASE_POOL_SIZE: ["0", "101", "ten"].map((DATABASE_POOL_SIZE) => [
    { DATABASE_POOL_SIZE },
    "DATABASE_POOL_SIZE must be a whole number from 1 to 100",
  ]),
  COUNTERSIGN_MASTER_KEY: [
    Buffer.alloc(31).toString("base64"),
    Buffer.alloc(33).toString("base64"),
    Buffer.alloc(32).toString("hex"),
    Buffer.alloc(32, 0xff).toString("base64url"),
    ` ${TEST_MASTER_KEY}`,
    "hunter2-hunter2",
  ].map((COUNTERSIGN_MASTER_KEY) => [
    { COUNTERSIGN_MASTER_KEY },
    "COUNTERSIGN_MASTER_KEY must be 32 bytes in standard base64; make one with: openssl rand -base64 32",
  ]),
  COUNTERSIGN_PREVIOUS_MASTER_KEY: [
    [
      {
        COUNTERSIGN_MASTER_KEY: TEST_MASTER_KEY,
        COUNTERSIGN_PREVIOUS_MASTER_KEY: "hunter2-hunter2",
      },
      "COUNTERSIGN_PREVIOUS_MASTER_KEY must be 32 bytes in standard base64",
    ],
    [
      { COUNTERSIGN_PREVIOUS_MASTER_KEY: PREVIOUS_MASTER_KEY },
      "COUNTERSIGN_MASTER_KEY must be set with COUNTERSIGN_PREVIOUS_MASTER_KEY",
    ],
    [
      {
        COUNTERSIGN_MASTER_KEY: TEST_MASTER_KEY,
        COUNTERSIGN_PREVIOUS_MASTER_KEY: TEST_MASTER_KEY,
      },
      "COUNTERSIGN_PREVIOUS_MASTER_KEY must be the key before COUNTERSIGN_MASTER_KEY, not the same one",
    ],
  ],
  HMAC_PRODUCER_ENABLED: ["0", "False", "no"].map((HMAC_PRODUCER_ENABLED) => [
    { HMAC_PRODUCER_ENABLED },
    "HMAC_PRODUCER_ENABLED must be true or false",
  ]),
  PRODUCER_ID: [
    [{ PRODUCER_ID: "-bot", HMAC_PRODUCER_SECRET: TEST_SECRET }, "PRODUCER_ID must"],
    [{ PRODUCER_ID: "a".repeat(65), HMAC_PRODUCER_SECRET: TEST_SECRET }, "PRODUCER_ID must"],
    [{ HMAC_PRODUCER_SECRET: TEST_SECRET }, "PRODUCER_ID must be set with HMAC_PRODUCER_SECRET"],
  ],
  HMAC_PRODUCER_SECRET: [
    ...["abc", "fifteen-bytes-1", `\ud800${TEST_SECRET}`].map(
      (HMAC_PRODUCER_SECRET) =>
        [
          { PRODUCER_ID: "bot", HMAC_PRODUCER_SECRET },
          "HMAC_PRODUCER_SECRET must be at least 16 bytes of well-formed UTF-8; make one with: openssl rand -base64 32",
        ] as const,
    ),
    [
      { PRODUCER_ID: "bot", HMAC_PRODUCER_SECRET: generateCredential("sec").text.slice(0, -1) },
      "HMAC_PRODUCER_SECRET is a Countersign secret with a typo: its checksum is wrong",
    ],
    [
      { PRODUCER_ID: "bot", HMAC_PRODUCER_SECRET: generateCredential("tok").text },
      "HMAC_PRODUCER_SECRET is a token (cs_tok_…), and must be a producer's secret",
    ],
    [{ PRODUCER_ID: "bot" }, "HMAC_PRODUCER_SECRET must be set with PRODUCER_ID"],
  ],
  REQUIRE_APPROVAL: ["yes", "1", "TRUE"].map((REQUIRE_APPROVAL) => [
    { REQUIRE_APPROVAL },
    "REQUIRE_APPROVAL must be true or false",
  ]),
  SIGNALS_PAYLOAD_MAX_BYTES: ["1", "65537", "9999999999", "32k"].map(
    (SIGNALS_PAYLOAD_MAX_BYTES) => [
      { SIGNALS_PAYLOAD_MAX_BYTES },
      "SIGNALS_PAYLOAD_MAX_BYTES must be a whole number from 2 to 65536",
    ],
  ),
  TLS_CERT_FILE: [[{ TLS_KEY_FILE: "key.pem" }, "TLS_CERT_FILE must be set with TLS_KEY_FILE"]],
  TLS_KEY_FILE: [[{ TLS_CERT_FILE: "cert.pem" }, "TLS_KEY_FILE must be set with TLS_CERT_FILE"]],
  ALLOW_CLEARTEXT: ["yes", "1"].map((ALLOW_CLEARTEXT) => [
    { ALLOW_CLEARTEXT },
    "ALLOW_CLEARTEXT must be true or false",
  ]),
  LOG_LEVEL: ["loud", "Info", "warning"].map((LOG_LEVEL) => [
    { LOG_LEVEL },
    "LOG_LEVEL must be fatal, error, warn, info, debug, trace or silent",
  ]),
};

describe("a wrong value stops the start, and its variable is named with its rule", () => {
  test("of every variable but those that only the start can judge", () => {
    expect(Object.keys(WRONG_VALUES).sort()).toEqual([...SERVER_VARIABLES].sort());
  });

  test.each(Object.values(WRONG_VALUES).flat())("%j", (env, rule) => {
    const message = messageOf(env);
    expect(message).toMatch(/^The configuration is wrong:\n {2}[A-Z_]+ (must|is|has) /);
    expect(message).toContain(`\n  ${rule}`);
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
    "10.0.0.1",
    "192.168.1.1",
    "128.0.0.1",
    "example.com",
    "localhost.example.com",
    "127.0.0.1.example.com",
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
});

test("the secret does not print with the configuration", () => {
  const config = serverConfigFromEnv({ PRODUCER_ID: "bot", HMAC_PRODUCER_SECRET: TEST_SECRET });
  for (const text of [inspect(config, { depth: 9, showHidden: true }), JSON.stringify(config)]) {
    expect(text).toContain("[redacted]");
    expect(text).not.toContain(TEST_SECRET);
  }
});
