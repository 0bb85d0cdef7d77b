/**
 * What the commands on a database have in common: its configuration, and what its
 * failures mean to a person.
 */
import { sentence } from "../alerts/index.ts";
import { StoreUnavailableError } from "../ingest/index.ts";
// Not by the index, which would load the whole server for a migration.
import { ConfigError, type ServerConfig, serverConfigFromEnv } from "../server/config/config.ts";
import { DatabaseError, DatabaseUrlError } from "../store/index.ts";
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

/** Makes an error of the configuration one for the terminal; any other stays what it is. */
export function configFailure(error: unknown): unknown {
  if (!(error instanceof ConfigError)) return error;
  return configurationError(error.faults);
}

/** SQLSTATE classes that pass by themselves: connection, resources, operator intervention. */
const PASSING_SQLSTATE = /^(08|53|57)/;

/** What to do after a refusal by the server, by its SQLSTATE. */
const ADVICE: readonly (readonly [RegExp, string])[] = [
  [
    /^28/,
    "Correct the user or the password in DATABASE_URL, or let that role log in (pg_hba.conf).",
  ],
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
