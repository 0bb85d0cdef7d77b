/**
 * What all commands over the operations port have in common on the command line.
 */
import { type Command, InvalidArgumentError } from "commander";
import { EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE } from "../cliError.ts";
import { addHelp } from "../command.ts";

/** The option that {@link addAdminEnvFile} adds. */
export interface AdminOptions {
  readonly adminEnvFile?: string;
}

/** The options of a command that can print for programs. */
export interface JsonOptions extends AdminOptions {
  readonly json?: boolean;
}

/** The options of a command that asks before it does what cannot be undone. */
export interface ConfirmOptions extends AdminOptions {
  readonly yes?: boolean;
}

const NOTES = `Environment:
  COUNTERSIGN_OPS_URL  the operations port, such as http://127.0.0.1:9090
  COUNTERSIGN_URL      the public port, which bots are told; the operations
                       port, too, unless COUNTERSIGN_OPS_URL says where that is
  COUNTERSIGN_TOKEN    a token with the scope admin

What is not set is taken from .countersign/admin.env (under DATA_DIR), which "countersign
serve" writes on its embedded database. A token never comes by an option: other users could
read it in the list of processes.`;

const EXIT_CODES: Readonly<Record<number, string>> = {
  [EXIT_OK]: "done",
  [EXIT_FAILED]: "the server refused it: an unknown name, or a token that may not",
  [EXIT_USAGE]: "the command line, a variable or a file is wrong; nothing was done",
  [EXIT_UNAVAILABLE]: "the server cannot be reached, or gave no answer in time",
};

/** For commands that ask first. */
const CONFIRM_EXIT_CODES: Readonly<Record<number, string>> = {
  ...EXIT_CODES,
  [EXIT_FAILED]: "the server refused it, or whoever was asked",
  [EXIT_USAGE]: "as else, or --yes is missing where nobody can be asked",
};

/** Adds the option that says where the environment is. */
export function addAdminEnvFile(command: Command): Command {
  return command.option(
    "--admin-env-file <path>",
    "read environment variables from this file first",
  );
}

/**
 * Ends a command that calls the operations port, or a group of such: adds the last option, unless
 * it is a group, and the end of the help.
 */
export function addAdminHelp(
  command: Command,
  {
    notes = [],
    examples,
  }: { readonly notes?: readonly string[]; readonly examples: readonly string[] },
): Command {
  const asksFirst = command.options.some(({ long }) => long === "--yes");
  if (command.commands.length === 0) addAdminEnvFile(command);
  return addHelp(command, {
    notes: [...notes, NOTES].join("\n\n"),
    examples,
    exitCodes: asksFirst ? CONFIRM_EXIT_CODES : EXIT_CODES,
  });
}

/** Takes names with commas between. */
export function parseList(text: string): string[] {
  const items = text.split(",").map((item) => item.trim());
  if (items.includes("")) {
    throw new InvalidArgumentError("It must be names with commas between, such as a,b.");
  }
  return items;
}

/** Takes true or false. */
export function parseFlag(text: string): boolean {
  if (text !== "true" && text !== "false") {
    throw new InvalidArgumentError("It must be true or false.");
  }
  return text === "true";
}

const SECONDS_BY_UNIT: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** Takes a time such as 24h. @returns seconds. */
export function parseDuration(text: string): number {
  const [, number = "", unit = ""] = /^([0-9]{1,6})([smhd])$/.exec(text) ?? [];
  const seconds = text === "0" ? 0 : Number(number) * (SECONDS_BY_UNIT[unit] ?? Number.NaN);
  if (!Number.isNaN(seconds)) return seconds;
  throw new InvalidArgumentError("It must be 0, or a time such as 90s, 30m, 24h or 7d.");
}
