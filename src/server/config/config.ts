/**
 * The server's configuration, read once from the environment. A wrong value stops the
 * start with a message that names the variable, never a secret's value.
 */
import { isIP } from "node:net";
import { hostname } from "node:os";
import { resolve } from "node:path";
import { inspect } from "node:util";
import { z } from "zod";
import {
  DEFAULT_PAYLOAD_MAX_BYTES,
  LOWEST_PAYLOAD_MAX_BYTES,
  SIGNAL_REQUEST_MAX_BYTES,
} from "../../signal/index.ts";
import {
  credentialFault,
  isProducerId,
  PRODUCER_ID_RULE,
  SECRET_MIN_BYTES,
} from "../../signing/index.ts";
// Not by the index, which would load the driver to read a configuration.
import { DatabaseUrlError, parseDatabaseUrl } from "../../store/connection/databaseUrl.ts";
import { SecretText } from "../auth/secretBox.ts";
import { isLoopbackAddress } from "../http/host.ts";
import type { TlsMaterial } from "../http/tlsOptions.ts";

/** Everything that the server must be told. */
export interface ServerConfig {
  /** The address to listen on. Default 127.0.0.1, so that nothing is exposed unasked. */
  readonly host: string;
  /** The port for gRPC, gRPC-Web, Connect and REST. 0 takes any free one. Default 8080. */
  readonly port: number;
  /** How many processes serve the port, 1 to 64. Default 1. */
  readonly workers: number;
  /** The address of the operations port. Default 127.0.0.1: metrics are not for strangers. */
  readonly opsHost: string;
  /** The port for metrics and health. 0 takes any free one; `undefined`: none. Default 9090. */
  readonly opsPort: number | undefined;
  /** Where the embedded database and generated keys live. Default `.countersign`. */
  readonly dataDir: string;
  /** A PostgreSQL URL; `undefined` starts the embedded database. */
  readonly databaseUrl: string | undefined;
  /** Connections to the database of each worker, 1 to 100. Default 10. */
  readonly databasePoolSize: number;
  /** 32 bytes that encrypt producer secrets at rest; `undefined` makes one in `dataDir`. */
  readonly masterKey: Buffer | undefined;
  /** The one before it, while the master key is rotated. */
  readonly previousMasterKey: Buffer | undefined;
  /** Whether requests must be signed. Default true. */
  readonly isSigningRequired: boolean;
  /** A producer to make sure of at the start. */
  readonly producer: { readonly producerId: string; readonly secret: SecretText } | undefined;
  /** Whether every signal needs a person's approval, whatever its producer's setting. */
  readonly requireApproval: boolean;
  /** The greatest payload, in bytes of compact UTF-8 JSON. Default 32768. */
  readonly payloadMaxBytes: number;
  /** Files of the TLS certificate and key, PEM; `undefined` serves clear text. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  readonly logLevel: "fatal" | "error" | "warn" | "info" | "debug" | "trace" | "silent";
  /** The name of this machine, for the log. */
  readonly hostname: string;
}

/** Under which keys producer secrets are sealed. */
export interface MasterKeys {
  /** The current one first. While it is rotated, the one before it follows. */
  readonly keys: readonly Buffer[];
  /** The file that they are from, if any: a rotation changes it while the server runs. */
  readonly file: string | undefined;
}

/**
 * What the part of the server that takes signals must be told, in each process that has
 * one: its share of the configuration, and what the start found out.
 */
export interface SignalServerConfig
  extends Pick<
    ServerConfig,
    | "host"
    | "port"
    | "databasePoolSize"
    | "isSigningRequired"
    | "requireApproval"
    | "payloadMaxBytes"
    | "logLevel"
    | "hostname"
  > {
  readonly databaseUrl: string;
  readonly masterKeys: MasterKeys;
  /** The certificate and key that are in force; `undefined` serves clear text. */
  readonly tls: TlsMaterial | undefined;
  /** Whether other processes listen on the same port. */
  readonly isPortShared: boolean;
}

/** At least one environment variable is wrong. The message names each, one a line. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  /** What is wrong, each with the name of its variable, and never with a secret value. */
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(`The configuration is wrong:\n${faults.map((fault) => `  ${fault}`).join("\n")}`);
    this.faults = faults;
  }
}

const flag = z
  .enum(["true", "false"], "must be true or false")
  .transform((text) => text === "true");

function integer(min: number, max: number) {
  const rule = `must be a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,9}$/, rule)
    .transform(Number)
    .pipe(z.number().gte(min, rule).lte(max, rule));
}

const HOST_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/;

/** What can be listened on. Whether it is an address of this machine, listening shows. */
const host = z.string().refine((text) => isIP(text) !== 0 || HOST_NAME.test(text), {
  error: "must be an IP address or a name of this machine, without scheme, port or brackets",
});

const PORT_MAX = 65_535;

/** A port, or the word that goes without one. */
const optionalPort = z
  .string()
  .regex(/^(off|\d{1,5})$/, `must be a whole number from 0 to ${PORT_MAX}, or off`)
  .transform((text) => (text === "off" ? text : Number(text)))
  .refine((port) => port === "off" || port <= PORT_MAX, {
    error: `must be a whole number from 0 to ${PORT_MAX}, or off`,
  });

const masterKey = z
  .string()
  .transform((text) => ({ text, bytes: Buffer.from(text, "base64") }))
  .refine(({ text, bytes }) => bytes.length === 32 && bytes.toString("base64") === text, {
    error: "must be 32 bytes in standard base64; make one with: openssl rand -base64 32",
  })
  .transform(({ bytes }) => bytes);

const secret = z.string().transform((text, context) => {
  try {
    return new SecretText(text);
  } catch {
    // What is told here is all that the secret's own error would tell.
    const message =
      credentialFault(text, "sec") ??
      `must be at least ${SECRET_MIN_BYTES} bytes of well-formed UTF-8; make one with: openssl rand -base64 32`;
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  }
});

const databaseUrl = z.string().superRefine((text, context) => {
  try {
    parseDatabaseUrl(text);
  } catch (error) {
    if (!(error instanceof DatabaseUrlError)) throw error;
    for (const message of error.problems) context.addIssue({ code: "custom", message });
  }
});

const variables = z.object({
  HOST: host.default("127.0.0.1"),
  PORT: integer(0, PORT_MAX).default(8080),
  WORKERS: integer(1, 64).default(1),
  OPS_HOST: host.default("127.0.0.1"),
  OPS_PORT: optionalPort.default(9090),
  DATA_DIR: z.string().default(".countersign"),
  DATABASE_URL: databaseUrl.optional(),
  DATABASE_POOL_SIZE: integer(1, 100).default(10),
  COUNTERSIGN_MASTER_KEY: masterKey.optional(),
  COUNTERSIGN_PREVIOUS_MASTER_KEY: masterKey.optional(),
  HMAC_PRODUCER_ENABLED: flag.default(true),
  PRODUCER_ID: z.string().refine(isProducerId, { error: PRODUCER_ID_RULE }).optional(),
  HMAC_PRODUCER_SECRET: secret.optional(),
  REQUIRE_APPROVAL: flag.default(false),
  SIGNALS_PAYLOAD_MAX_BYTES: integer(LOWEST_PAYLOAD_MAX_BYTES, SIGNAL_REQUEST_MAX_BYTES).default(
    DEFAULT_PAYLOAD_MAX_BYTES,
  ),
  TLS_CERT_FILE: z.string().optional(),
  TLS_KEY_FILE: z.string().optional(),
  ALLOW_CLEARTEXT: flag.default(false),
  LOG_LEVEL: z
    .enum(
      ["fatal", "error", "warn", "info", "debug", "trace", "silent"],
      "must be fatal, error, warn, info, debug, trace or silent",
    )
    .default("info"),
});

type Variables = z.infer<typeof variables>;

/** The name of every variable that configures the server. */
export const SERVER_VARIABLES: readonly string[] = Object.keys(variables.shape);

/**
 * Reads the configuration. An empty variable counts as unset.
 *
 * @throws ConfigError naming every wrong variable.
 */
export function serverConfigFromEnv(env: NodeJS.ProcessEnv = process.env): ServerConfig {
  const given = Object.entries(env).filter(([name, value]) => name in variables.shape && value);
  const read = variables.safeParse(Object.fromEntries(given));
  if (!read.success) {
    throw new ConfigError(
      read.error.issues.map((issue) => `${issue.path.join(".")} ${issue.message}`),
    );
  }
  const faults = relationFaults(read.data);
  if (faults.length > 0) throw new ConfigError(faults);
  return configOf(read.data);
}

/** The environment without anything that configures this server, for processes that it starts. */
export function unconfiguredEnv(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const others = Object.entries(env).filter(([name]) => !(name in variables.shape));
  return Object.fromEntries(others);
}

/** What must hold between variables. */
function relationFaults(read: Variables): string[] {
  const faults: string[] = [];
  if ((read.TLS_CERT_FILE === undefined) !== (read.TLS_KEY_FILE === undefined)) {
    const [missing, given] =
      read.TLS_KEY_FILE === undefined
        ? ["TLS_KEY_FILE", "TLS_CERT_FILE"]
        : ["TLS_CERT_FILE", "TLS_KEY_FILE"];
    faults.push(`${missing} must be set with ${given}`);
  }
  if (read.PORT === read.OPS_PORT && read.PORT !== 0) {
    faults.push("OPS_PORT must be another port than PORT");
  }
  if ((read.PRODUCER_ID === undefined) !== (read.HMAC_PRODUCER_SECRET === undefined)) {
    const [missing, given] =
      read.PRODUCER_ID === undefined
        ? ["PRODUCER_ID", "HMAC_PRODUCER_SECRET"]
        : ["HMAC_PRODUCER_SECRET", "PRODUCER_ID"];
    faults.push(`${missing} must be set with ${given}`);
  }
  faults.push(...masterKeyFaults(read));
  if (!read.ALLOW_CLEARTEXT) faults.push(...cleartextFaults(read));
  if (!read.HMAC_PRODUCER_ENABLED && !isLoopbackAddress(read.HOST)) {
    faults.push(
      "HOST must be a loopback address (127.0.0.1, ::1 or localhost) while HMAC_PRODUCER_ENABLED is " +
        "false: without signatures anyone who reaches the port could place signals",
    );
  }
  if (!read.HMAC_PRODUCER_ENABLED && read.OPS_PORT !== "off" && !isLoopbackAddress(read.OPS_HOST)) {
    faults.push(
      "OPS_HOST must be a loopback address (127.0.0.1, ::1 or localhost) while HMAC_PRODUCER_ENABLED " +
        "is false: such a server is for development on this machine",
    );
  }
  return faults;
}

function masterKeyFaults(read: Variables): string[] {
  const { COUNTERSIGN_MASTER_KEY: key, COUNTERSIGN_PREVIOUS_MASTER_KEY: previous } = read;
  if (read.DATABASE_URL !== undefined && key === undefined) {
    return [
      "COUNTERSIGN_MASTER_KEY must be set with DATABASE_URL, so that every server of this database " +
        "can read the producers' secrets; make one with: openssl rand -base64 32",
    ];
  }
  if (previous === undefined) return [];
  if (key === undefined) {
    return ["COUNTERSIGN_MASTER_KEY must be set with COUNTERSIGN_PREVIOUS_MASTER_KEY"];
  }
  if (!previous.equals(key)) return [];
  return [
    "COUNTERSIGN_PREVIOUS_MASTER_KEY must be the key before COUNTERSIGN_MASTER_KEY, not the same one",
  ];
}

/** What would be sent in clear text over a network. */
function cleartextFaults({ HOST, OPS_HOST, OPS_PORT, TLS_CERT_FILE }: Variables): string[] {
  const faults: string[] = [];
  if (TLS_CERT_FILE === undefined && !isLoopbackAddress(HOST)) {
    faults.push(
      "HOST is not a loopback address, and without TLS whoever is on the way could read signals or " +
        "hold them back: set TLS_CERT_FILE and TLS_KEY_FILE, or ALLOW_CLEARTEXT=true if the network " +
        "between is yours or a proxy in front speaks TLS",
    );
  }
  if (OPS_PORT !== "off" && !isLoopbackAddress(OPS_HOST)) {
    faults.push(
      "OPS_HOST is not a loopback address, and the operations port has no TLS: set " +
        "ALLOW_CLEARTEXT=true if the network between is yours, or OPS_PORT=off",
    );
  }
  return faults;
}

function configOf(read: Variables): ServerConfig {
  const { PRODUCER_ID, HMAC_PRODUCER_SECRET, TLS_CERT_FILE, TLS_KEY_FILE } = read;
  return withoutShowing(["databaseUrl", "masterKey", "previousMasterKey"], {
    host: read.HOST,
    port: read.PORT,
    workers: read.WORKERS,
    opsHost: read.OPS_HOST,
    opsPort: read.OPS_PORT === "off" ? undefined : read.OPS_PORT,
    dataDir: resolve(read.DATA_DIR),
    databaseUrl: read.DATABASE_URL,
    databasePoolSize: read.DATABASE_POOL_SIZE,
    masterKey: read.COUNTERSIGN_MASTER_KEY,
    previousMasterKey: read.COUNTERSIGN_PREVIOUS_MASTER_KEY,
    isSigningRequired: read.HMAC_PRODUCER_ENABLED,
    producer:
      PRODUCER_ID !== undefined && HMAC_PRODUCER_SECRET !== undefined
        ? { producerId: PRODUCER_ID, secret: HMAC_PRODUCER_SECRET }
        : undefined,
    requireApproval: read.REQUIRE_APPROVAL,
    payloadMaxBytes: read.SIGNALS_PAYLOAD_MAX_BYTES,
    tls:
      TLS_CERT_FILE !== undefined && TLS_KEY_FILE !== undefined
        ? { certFile: TLS_CERT_FILE, keyFile: TLS_KEY_FILE }
        : undefined,
    logLevel: read.LOG_LEVEL,
    hostname: hostname(),
  });
}

/** The same object, of which JSON and inspection do not show these values. */
function withoutShowing<T extends object>(names: readonly (keyof T)[], object: T): T {
  const show = () => {
    const set = names.filter((name) => object[name] !== undefined);
    return { ...object, ...Object.fromEntries(set.map((name) => [name, "[redacted]"])) };
  };
  return Object.defineProperties(object, {
    toJSON: { value: show },
    [inspect.custom]: { value: show },
  });
}
