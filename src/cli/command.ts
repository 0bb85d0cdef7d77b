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
export function addRequiredOption(command: Command, flags: string, description: string): Command {
  const option = new Option(flags, description);
  return command.addOption(option).hook("preAction", () => {
    if (command.getOptionValue(option.attributeName()) !== undefined) return;
    command.error(`error: required option '${flags}' not specified`);
  });
}

/** Ends the help of a command. */
export function addHelp(command: Command, { notes, examples, exitCodes }: HelpParts): Command {
  const sections = () => [
    ...(notes === undefined ? [] : [fitHelp(notes)]),
    `Examples:\n${examples.map((example) => `  ${example}`).join("\n")}`,
    fitHelp(
      `Exit codes:\n${Object.entries(exitCodes)
        .map(([code, meaning]) => `  ${code}  ${meaning}`)
        .join("\n")}`,
    ),
  ];
  return command.addHelpText("after", () => `\n${sections().join("\n\n")}`);
}

/** What a terminal has at least. */
const HELP_WIDTH = 80;

/**
 * Brings the texts of help to the width of a terminal.
 *
 * Paragraphs of prose are filled anew; of a list of two columns the second is broken below
 * itself; all other lines that are indented are commands, and stay as they are.
 */
export function fitHelp(text: string, width = HELP_WIDTH): string {
  return text
    .split("\n\n")
    .map((paragraph) => fitParagraph(paragraph, width))
    .join("\n\n");
}

function fitParagraph(paragraph: string, width: number): string {
  const lines = paragraph.split("\n");
  const isProse = lines.every((line) => !line.startsWith(" "));
  if (isProse) return wrap(lines.join(" "), width).join("\n");
  return lines.flatMap((line) => fitLine(line, width)).join("\n");
}

/** The name of a list's line with what stands before and after it, and its meaning. */
const LIST_LINE = /^( +\S+(?:, \S+)* {2,})(\S.*)$/;

function fitLine(line: string, width: number): string[] {
  const [, name = "", meaning = ""] = LIST_LINE.exec(line) ?? [];
  if (name === "" || line.length <= width) return [line];
  const [first, ...others] = wrap(meaning, width - name.length);
  return [`${name}${first}`, ...others.map((other) => " ".repeat(name.length) + other)];
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
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
