/**
 * The environment variables of the commands, and the files that complete them. The only
 * place of the command line that reads them.
 */
import { readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import { fileFault, usageError } from "./cliError.ts";
import { decodeText } from "./input.ts";
import { note } from "./output.ts";

/** Variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the environment, after the variables of a file are added. A variable that is set
 * already wins over the file, as is usual; an empty one counts as unset.
 *
 * @param option how the file was given, for the messages.
 * @throws CliError if the file cannot be read.
 */
export function readEnvironment(envFile: string | undefined, option = "--env-file"): Environment {
  if (envFile !== undefined) {
    for (const [name, value] of Object.entries(readEnvFile(option, envFile))) {
      if (!process.env[name]) process.env[name] = value;
    }
  }
  return Object.fromEntries(Object.entries(process.env).filter(([, value]) => value !== ""));
}

/**
 * The variables of a file, as Node.js reads them (`.env`), but with a byte order mark left
 * out. Says so if a value ends at a `#` that was hardly meant as a comment.
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
  const text = decodeText(option, path, bytes).replace(/^\ufeff/, "");
  const variables = parseEnv(text) as Environment;
  for (const name of namesCutAtHash(text, variables)) {
    note(
      `${option} ${path}: the value of ${name} ends before its first #, since outside of quotes ` +
        "a # begins a comment. If it belongs to the value, put the value in quotes.",
    );
  }
  return variables;
}

/**
 * A value without quotes and what follows its first `#`. The last character before it is no
 * blank, or there is none.
 */
const CUT_VALUE =
  /^[ \t]*(?:export[ \t]+)?([^\s=#]+)[ \t]*=[ \t]*((?:[^\s"'`#][^\n#]*)?)(?<!\s)#/gm;

/**
 * The variables whose value ends at a `#` that was probably meant to be part of it: it is
 * not in quotes, and no blank stands before it, as before a comment.
 */
export function namesCutAtHash(text: string, variables: Environment): string[] {
  const names = new Set<string>();
  for (const [, name = "", value] of text.matchAll(CUT_VALUE)) {
    // Of several lines with one name only the last counts, and a line may be in quotes as a whole.
    if (variables[name] === value) names.add(name);
  }
  return [...names];
}
