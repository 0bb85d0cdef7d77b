/**
 * The environment variables of the commands. The only place of the command line that
 * reads them.
 */
import { fileFault, usageError } from "./cliError.ts";

/** Variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the environment, after the variables of a file are added. A variable that is set
 * already wins over the file, as is usual; an empty one counts as unset.
 *
 * @throws CliError if the file cannot be read.
 */
export function readEnvironment(envFile: string | undefined): Environment {
  if (envFile !== undefined) {
    try {
      process.loadEnvFile(envFile);
    } catch (error) {
      throw usageError(`--env-file ${envFile} cannot be read: ${fileFault(error)}.`);
    }
  }
  return Object.fromEntries(Object.entries(process.env).filter(([, value]) => value !== ""));
}
