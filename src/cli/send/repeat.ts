/**
 * The command that sends signals again without storing any of them twice: with the keys and
 * the times that they had, as the same producer, to the same server. Pure.
 */
import { SIGNAL_FIELD_LIST } from "../../signal/index.ts";
import { STANDARD_INPUT } from "../input.ts";
import { type Invocation, programWords, shellCommand } from "../invocation.ts";
import { printable } from "../output.ts";
import { optionOf, RETRIES_DEFAULT, type SendOptions, type SignalSource } from "./options.ts";
import { type PlacedItem, resendJson } from "./report.ts";

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
