/**
 * Where the commands of a producer take its id and its secret from. A secret never comes
 * by an option, since every user of the machine can read the command lines of all
 * processes.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { isProducerId, PRODUCER_ID_RULE, Secret } from "../signing/index.ts";
import { usageError } from "./cliError.ts";
import { type Environment, readEnvFile, readEnvironment } from "./environment.ts";
import { readTextInput } from "./input.ts";
import { note } from "./output.ts";

/** The options that {@link addCredentialOptions} adds. */
export interface CredentialOptions {
  readonly producerId?: string;
  readonly envFile?: string;
  readonly secretFile?: string;
}

/** Where a producer's settings are, and who it is. */
export interface ProducerEnvironment {
  readonly environment: Environment;
  /**
   * Says that the local server's own producer signs, if it does, since nobody has named it. To
   * be called once all of the command line is judged, before anything is signed; only the
   * first call says it.
   */
  announce(): void;
}

/** The options and what is told about them, the same for each command. */
export function addCredentialOptions(command: Command): Command {
  return command
    .option("--producer-id <id>", "who signs (PRODUCER_ID)")
    .option("--env-file <path>", "read environment variables from this file first")
    .option(
      "--secret-file <path>",
      "read the secret from this file; one final newline is not part of it",
    );
}

/** For the help of the commands that sign. */
export const CREDENTIALS_HELP = `The secret comes from HMAC_PRODUCER_SECRET, --env-file or --secret-file, never from an
option: other users could read it in the list of processes. If there is none, the producer
that "countersign serve" made for this directory is used (.countersign/producer.env).`;

/**
 * The environment of a producer: the variables that are set, overridden by options, and
 * completed by the local server's own producer if there is no secret.
 *
 * @throws CliError if a file cannot be read, or there is no secret.
 */
export async function producerEnvironment(
  options: CredentialOptions,
): Promise<ProducerEnvironment> {
  const environment: Record<string, string | undefined> = { ...readEnvironment(options.envFile) };
  if (options.producerId !== undefined) environment.PRODUCER_ID = options.producerId;
  if (options.secretFile !== undefined) {
    const text = await readTextInput("--secret-file", options.secretFile);
    environment.HMAC_PRODUCER_SECRET = secretText(text);
    return { environment, announce() {} };
  }
  if (environment.HMAC_PRODUCER_SECRET) return { environment, announce() {} };

  const path = join(environment.DATA_DIR ?? ".countersign", "producer.env");
  if (!existsSync(path)) throw usageError(noSecret(options, path));
  const completed = withLocalProducer(environment, readEnvFile("The file", path), path);
  const announcement = `signing as ${completed.PRODUCER_ID}, with the secret in ${path}`;
  return { environment: completed, announce: once(() => note(announcement)) };
}

/** Tells where a secret was looked for, so that a wrong directory is seen. */
function noSecret({ envFile }: CredentialOptions, path: string): string {
  const inFile = envFile === undefined ? "" : ` and not in ${envFile}`;
  return (
    `There is no secret: HMAC_PRODUCER_SECRET is not set${inFile}, and there is no file ` +
    `${resolve(path)}. Set HMAC_PRODUCER_SECRET, or give --env-file or --secret-file.`
  );
}

function once(work: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) work();
    isDone = true;
  };
}

/**
 * Adds the local producer to an environment without a secret.
 *
 * @throws CliError if another producer is wanted: its secret would be a wrong one.
 */
export function withLocalProducer(
  environment: Environment,
  local: Environment,
  path: string,
): Environment {
  const wanted = environment.PRODUCER_ID;
  if (wanted !== undefined && wanted !== local.PRODUCER_ID) {
    throw usageError(
      `There is no secret for ${wanted}; ${path} is that of ${local.PRODUCER_ID}. ` +
        "Set HMAC_PRODUCER_SECRET, or give --env-file or --secret-file.",
    );
  }
  return {
    ...environment,
    PRODUCER_ID: local.PRODUCER_ID,
    HMAC_PRODUCER_SECRET: local.HMAC_PRODUCER_SECRET,
    OUTBOUND_SERVER_URL: environment.OUTBOUND_SERVER_URL ?? local.OUTBOUND_SERVER_URL,
  };
}

/** @throws CliError if the environment's secret cannot sign. It is not repeated. */
export function secretOf(environment: Environment): Secret {
  try {
    return Secret.fromString(environment.HMAC_PRODUCER_SECRET ?? "");
  } catch (error) {
    throw usageError((error as Error).message);
  }
}

/** @throws CliError if the environment names no producer, or one that cannot be. */
export function producerIdOf(environment: Environment): string {
  const producerId = environment.PRODUCER_ID;
  if (producerId === undefined) {
    throw usageError("There is no producer id. Set PRODUCER_ID, or give --producer-id.");
  }
  if (!isProducerId(producerId)) throw usageError(`The producer id ${PRODUCER_ID_RULE}.`);
  return producerId;
}

/** Editors and `echo` end a file with a newline, and some begin it with a mark, that nobody means. */
function secretText(text: string): string {
  return text.replace(/^\ufeff/, "").replace(/\r?\n$/, "");
}
