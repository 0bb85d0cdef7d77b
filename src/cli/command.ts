/**
 * What all commands have in common: how they report a wrong command line, the end of their
 * help, and values of options.
 */
import { Command, InvalidArgumentError, Option } from "commander";
import { isKeptByDouble } from "../signal/index.ts";
import { note } from "./output.ts";

/** The parts at the end of a command's help. */
export interface HelpParts {
  /** What the options do not tell, in paragraphs. */
  readonly notes?: string;
  /** Command lines that work as they stand. */
  readonly examples: readonly string[];
  /** What each exit code means for this command, by code. */
  readonly exitCodes: Readonly<Record<number, string>>;
}

/** A command that throws a `CommanderError` where commander would end the process. */
export function createCommand(name: string): Command {
  return new Command(name)
    .exitOverride()
    .helpCommand(false)
    .configureOutput({ outputError: (text) => note(oneLine(text)) });
}

/**
 * A command whose commands do the work, some of which delete: these are never suggested, since
 * whoever mistypes a name must not be led to one of them.
 *
 * @param deleting their names.
 */
export function createCommandGroup(name: string, deleting: readonly string[]): Command {
  return createCommand(name).configureOutput({
    outputError: (text) => note(oneLine(withoutSuggestionOf(deleting, text))),
  });
}

/** Commander writes its suggestions in brackets. */
function withoutSuggestionOf(names: readonly string[], text: string): string {
  const suggestion = /\(Did you mean (?:one of )?(.*)\?\)/.exec(text);
  const suggested = suggestion?.[1]?.split(", ") ?? [];
  return names.some((name) => suggested.includes(name))
    ? text.replace(suggestion?.[0] ?? "", "")
    : text;
}

/** Commander puts its suggestions on a second line. */
function oneLine(text: string): string {
  return text
    .replace(/^error: /, "")
    .trim()
    .replaceAll(/\s*\n\s*/g, " ");
}

/**
 * Adds an option that must be given. Commander's own would complain that it is missing before
 * it looks for unknown options, and so not name the one that was misspelt.
 */
export function addRequiredOption(
  command: Command,
  flags: string,
  description: string,
  parse: (text: string) => unknown = String,
): Command {
  const option = new Option(flags, description).argParser(parse);
  return command.addOption(option).hook("preAction", () => {
    if (command.getOptionValue(option.attributeName()) !== undefined) return;
    command.error(`error: required option '${flags}' not specified`);
  });
}

/** What a terminal has at least. */
const HELP_WIDTH = 80;

/** Ends the help of a command, at the same width for every terminal. */
export function addHelp(command: Command, { notes, examples, exitCodes }: HelpParts): Command {
  const help = Object.assign(command.createHelp(), { helpWidth: HELP_WIDTH });
  // Lists and commands are indented, and stay as they are.
  const fitted = (paragraph: string) =>
    /^ /m.test(paragraph) ? paragraph : help.boxWrap(paragraph.replaceAll("\n", " "), HELP_WIDTH);
  const codes = Object.entries(exitCodes).map(([code, meaning]) =>
    help.formatItem(code, code.length, meaning, help),
  );
  const sections = [
    ...(notes?.split("\n\n").map(fitted) ?? []),
    `Examples:\n${examples.map((example) => `  ${example}`).join("\n")}`,
    `Exit codes:\n${codes.join("\n")}`,
  ];
  return command.addHelpText("after", `\n${sections.join("\n\n")}`);
}

/** Takes a number as JSON writes it: `Number()` would take "", "0x1f" and " 7" too. */
export function parseNumber(text: string): number {
  const isNumber = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/.test(text);
  if (!isNumber) throw new InvalidArgumentError("It must be a number such as 1950.5.");
  if (!isKeptByDouble(text)) {
    throw new InvalidArgumentError("It has more digits than a double holds; round it to 15.");
  }
  return Number(text);
}

/** Makes a parser of whole numbers in a range, both ends included. */
export function parseInteger(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}
