/**
 * The command that sends signals again without storing any of them twice: with the keys and
 * the times that they had, as the same producer, to the same server. Pure.
 */
import path from "node:path";
import { SIGNAL_FIELD_LIST } from "../../signal/index.ts";
import type { Environment } from "../environment.ts";
import { STANDARD_INPUT } from "../input.ts";
import { printable } from "../output.ts";
import { optionOf, RETRIES_DEFAULT, type SendOptions, type SignalSource } from "./options.ts";
import { type PlacedItem, resendJson } from "./report.ts";

/** What the operating system tells about the call. */
export interface Invocation {
  /** The absolute path of Node.js. */
  readonly execPath: string;
  /** The absolute path of the script, or of the link to it. */
  readonly script: string;
  readonly environment: Environment;
}

/** How the signals were sent. */
export interface Sent {
  readonly options: SendOptions;
  readonly source: SignalSource;
  /** Whether the source is a file that can be read once more, as a pipe cannot. */
  readonly isSourceKept: boolean;
  /** As whom and where to, however that was found out. */
  readonly producerId: string;
  readonly url: string;
  readonly invocation: Invocation;
}

/**
 * The command line, of several lines if it holds the signals.
 *
 * @param items what is to be sent again, at least one.
 */
export function repeatCommand(sent: Sent, items: readonly PlacedItem[]): string {
  const { source, isSourceKept, options } = sent;
  const common = [...programWords(sent.invocation), "send", ...commonWords(sent)];
  const [first] = items;
  if (source.kind === "options" && first !== undefined) {
    const command = shellCommand([...common, ...signalWords(first)]);
    // Characters that nobody sees do not survive being copied from a terminal.
    if (printable(command) === command) return command;
  }
  if (source.kind !== "options" && isSourceKept && items.every((item) => item.isNamedBySource)) {
    const validateOnly = options.validateOnly === true ? ["--validate-only"] : [];
    return shellCommand([...common, ...validateOnly, "--file", source.path]);
  }
  const lines = items.map(({ item }) => asciiJson(resendJson(item)));
  return [`${shellCommand([...common, STANDARD_INPUT])} <<'END'`, ...lines, "END"].join("\n");
}

/** What does not concern the signals themselves. */
function commonWords({ options, producerId, url }: Sent): string[] {
  return [
    ...word("--url", url),
    ...word("--protocol", options.protocol),
    ...word("--codec", options.codec),
    ...word("--timeout", options.timeout),
    ...word("--retries", options.retries === RETRIES_DEFAULT ? undefined : options.retries),
    ...word("--producer-id", producerId),
    ...word("--env-file", options.envFile),
    ...word("--secret-file", options.secretFile),
    ...(options.json === true ? ["--json"] : []),
  ];
}

function signalWords({ item }: PlacedItem): string[] {
  return [
    ...SIGNAL_FIELD_LIST.flatMap(({ field, name }) => word(optionOf(name), item.signal[field])),
    ...word("--idempotency-key", item.idempotencyKey),
    ...(item.validateOnly === true ? ["--validate-only"] : []),
  ];
}

function word(option: string, value: unknown): string[] {
  if (value === undefined) return [];
  return [option, typeof value === "object" ? JSON.stringify(value) : String(value)];
}

/** JSON in which every character beyond ASCII is escaped, so that it can be copied safely. */
function asciiJson(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[^\x20-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

const NAME = "countersign";

/** The words that call this program, to which those of a command are added. */
export function programWords({ execPath, script, environment }: Invocation): string[] {
  // npm tells what it runs to all that is started below it, so the script must fit too.
  const isBin = path.basename(script) === NAME;
  if (!isBin && environment.npm_lifecycle_event === NAME) return ["npm", "run", "-s", NAME, "--"];
  if (!isBin) return [execPath, "--", script];
  if (environment.npm_command === "exec") return ["npx", NAME];
  const folders = (environment.PATH ?? "").split(path.delimiter);
  return folders.includes(path.dirname(script)) ? [NAME] : [script];
}

/** Words as a shell reads them (POSIX, "Shell Command Language", 2.2). */
function shellCommand(words: readonly string[]): string {
  return words.map(shellWord).join(" ");
}

/** One word. Inside of single quotes no character means anything but itself. */
export function shellWord(word: string): string {
  if (/^[A-Za-z0-9_/:.,@%+=-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", "'\\''")}'`;
}
