/**
 * What the commands on a database have in common: its configuration, and what its
 * failures mean to a person.
 */
import { existsSync } from "node:fs";
import { pino } from "pino";
import { sentence } from "../alerts/index.ts";
import { StoreUnavailableError } from "../ingest/index.ts";
// Not by the index, which would load the whole server for a migration.
import { ConfigError, type ServerConfig, serverConfigFromEnv } from "../server/config/config.ts";
import {
  type Database,
  DatabaseError,
  DatabaseUrlError,
  openDatabase,
  startEmbeddedPostgres,
} from "../store/index.ts";
import { configurationError, failedError, unavailableError, usageError } from "./cliError.ts";
import type { Environment } from "./environment.ts";

/** @throws CliError naming every wrong variable. */
export function readServerConfig(environment: Environment): ServerConfig {
  try {
    return serverConfigFromEnv(environment);
  } catch (error) {
    throw configFailure(error);
  }
}

/**
 * Only what concerns the database, so that nothing else has to be right.
 *
 * @throws CliError naming every wrong variable.
 */
export function readDatabaseConfig({ DATABASE_URL, DATA_DIR }: Environment): ServerConfig {
  // A server must have a key to read producers' secrets; who calls this reads none.
  const COUNTERSIGN_MASTER_KEY = Buffer.alloc(32).toString("base64");
  return readServerConfig({ DATABASE_URL, DATA_DIR, COUNTERSIGN_MASTER_KEY });
}

/** Makes an error of the configuration one for the terminal; any other stays what it is. */
export function configFailure(error: unknown): unknown {
  if (!(error instanceof ConfigError)) return error;
  return configurationError(error.faults);
}

/** What a command does is printed; a log would say the same again. */
export const silentLog = pino({ level: "silent" });

/** How a command uses a database. */
export interface DatabaseUse {
  /** Whether the embedded one is made if it is not there. */
  readonly mayCreate: boolean;
  /** What `pg_stat_activity` shows. */
  readonly applicationName: string;
}

/**
 * Opens the database of a configuration, or the embedded one, also while servers run on it, and
 * closes it after the work.
 *
 * @throws CliError if it cannot be used, or if there is no embedded one and none may be made.
 */
export async function withDatabase<T>(
  { databaseUrl, dataDir }: Pick<ServerConfig, "databaseUrl" | "dataDir">,
  { mayCreate, applicationName }: DatabaseUse,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  await using parts = new AsyncDisposableStack();
  let url = databaseUrl;
  if (url === undefined) {
    // To look at a database that is not there must not make one.
    if (!mayCreate && !existsSync(dataDir)) {
      throw usageError(`There is no database under ${dataDir}. Set DATABASE_URL or DATA_DIR.`);
    }
    const postgres = await startEmbeddedPostgres({ dataDir, log: silentLog });
    parts.defer(() => postgres.close());
    url = postgres.url;
  }
  try {
    const database = openDatabase({ url, poolSize: 1, log: silentLog, applicationName });
    parts.defer(() => database.close());
    return await work(database);
  } catch (error) {
    throw storeFailure(error);
  }
}

/** SQLSTATE classes that pass by themselves: connection, resources, operator intervention. */
const PASSING_SQLSTATE = /^(08|53|57)/;

/** What to do after a refusal by the server, by its SQLSTATE. */
const ADVICE: readonly (readonly [RegExp, string])[] = [
  [
    /^28/,
    "Correct the user or the password in DATABASE_URL, or let that role log in (pg_hba.conf).",
  ],
  [/^42(P01|883)$/, 'The schema is not that of this version: run "countersign migrate up".'],
  [/^3D000$/, "Create the database, or correct its name in DATABASE_URL."],
];

/** Makes an error of the store one for the terminal; any other error stays what it is. */
export function storeFailure(error: unknown): unknown {
  if (error instanceof DatabaseUrlError) return usageError(`${error.message}.`);
  if (!(error instanceof StoreUnavailableError)) return error;
  const { cause } = error;
  if (cause instanceof DatabaseError && !PASSING_SQLSTATE.test(cause.code)) {
    const [, advice] = ADVICE.find(([sqlstate]) => sqlstate.test(cause.code)) ?? [];
    return failedError([sentence(error.message), advice].filter(Boolean).join(" "));
  }
  return unavailableError(
    `${sentence(error.message)} See that PostgreSQL runs and that DATABASE_URL is right, then try again.`,
  );
}
