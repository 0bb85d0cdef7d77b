/** Makes the first token on the database itself, where nobody has one yet. */
import { hash } from "node:crypto";
import { generateCredential } from "../../signing/index.ts";
import { createAccessStore } from "../../store/index.ts";
import { confirm } from "../admin/confirm.ts";
import { handOver } from "../admin/handOver.ts";
import type { ConfirmOptions, JsonOptions } from "../admin/options.ts";
import { takeNewFile } from "../admin/secretFile.ts";
import { tokenVariables } from "../admin/tokenFile.ts";
import { failedError } from "../cliError.ts";
import { readDatabaseConfig, withDatabase } from "../database.ts";
import { readEnvironment } from "../environment.ts";
import { interruptible } from "../interruption.ts";
import { note } from "../output.ts";

/** The options of `tokens bootstrap`. */
export interface BootstrapOptions extends JsonOptions, ConfirmOptions {
  readonly force?: boolean;
  readonly envFile?: string;
}

const NAME = "admin";
const ACTOR = "countersign tokens bootstrap";
const TIMEOUT_MS = 15_000;

/** @throws CliError if there is such a token already, or the database does not do it. */
export async function bootstrapToken(options: BootstrapOptions): Promise<void> {
  const { force = false, envFile, json } = options;
  const environment = readEnvironment(options.adminEnvFile, "--admin-env-file");
  if (force) {
    const what = "This makes a token that may do everything, although there may be one already.";
    const interruption = interruptible();
    try {
      await confirm(what, { yes: options.yes, signal: interruption.signal });
    } finally {
      interruption.end();
    }
  }
  const file = envFile === undefined ? undefined : takeNewFile(envFile);
  try {
    const { id: tokenId, text } = generateCredential("tok");
    const token = { tokenId, tokenSha256: hash("sha256", text, "buffer"), name: NAME };
    const outcome = await withDatabase(
      readDatabaseConfig(environment),
      { mayCreate: false, applicationName: ACTOR },
      (database) => createAccessStore(database).bootstrapToken(token, force, ACTOR, TIMEOUT_MS),
    );
    if (outcome === "already_exists") throw failedError(THERE_IS_ONE);
    if (outcome === "too_many") {
      throw failedError("There are as many live tokens as can be: revoke some first.");
    }
    const variables = tokenVariables(text, {
      url: environment.COUNTERSIGN_URL,
      opsUrl: environment.COUNTERSIGN_OPS_URL,
    });
    const isInFile = await handOver(
      { name: "token", value: text, variables, ifLost: "Make another with --force." },
      { file, fileText: variables, json, others: { token_id: tokenId } },
    );
    note(
      isInFile
        ? `${envFile} has the token ${tokenId}, which may do everything; servers take it within a second`
        : `the token ${tokenId}, which may do everything, is shown this once; servers take it within a second`,
    );
  } catch (error) {
    file?.discard();
    throw error;
  }
}

const THERE_IS_ONE =
  "There is a live token already that may do everything, so none was made. Whoever has it makes others " +
  'with "countersign tokens create". If it is lost, add --force, and then revoke the lost one.';
