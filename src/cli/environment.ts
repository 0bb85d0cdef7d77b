/**
 * The environment variables of the commands. The only place of the command line that
 * reads them.
 */
import { readFileSync } from "node:fs";
import { fileFault, usageError } from "./cliError.ts";
import { parseEnvFile } from "./envFile.ts";
import { decodeText } from "./input.ts";
import { note } from "./output.ts";

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
    for (const [name, value] of Object.entries(readEnvFile("--env-file", envFile))) {
      if (!process.env[name]) process.env[name] = value;
    }
  }
  return Object.fromEntries(Object.entries(process.env).filter(([, value]) => value !== ""));
}

/**
 * The variables of a file. Says so if a value ends at a `#` that was hardly meant as a comment.
 *
 * @param option how the path was given, for the messages.
 * @throws CliError if it cannot be read.
 */
export function readEnvFile(option: string, path: string): Environment {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw usageError(`${option} ${path} cannot be read: ${fileFault(error)}.`);
  }
  const { variables, cutAtHash } = parseEnvFile(decodeText(option, path, bytes));
  for (const name of cutAtHash) {
    note(
      `${option} ${path}: the value of ${name} ends before its first #, since outside of quotes ` +
        "a # begins a comment. If it belongs to the value, put the value in quotes.",
    );
  }
  return variables;
}
