/**
 * The options of `countersign send`, and what they say about the signals. Pure.
 */
import type { ClientCodec, ClientProtocol } from "../../client/index.ts";
import { SIGNAL_FIELD_LIST, type SignalField } from "../../signal/index.ts";
import { usageError } from "../cliError.ts";
import type { CredentialOptions } from "../credentials.ts";
import { STANDARD_INPUT } from "../input.ts";

/** As commander gives them. */
export interface SendOptions extends CredentialOptions, SignalOptions {
  /** The argument without a name. */
  readonly source?: string;
  readonly file?: string;
  readonly stdin?: boolean;
  readonly idempotencyKey?: string;
  readonly validateOnly?: boolean;
  readonly url?: string;
  readonly protocol?: ClientProtocol;
  readonly codec?: ClientCodec;
  /** In seconds. */
  readonly timeout?: number;
  readonly retries: number;
  readonly json?: boolean;
}

/** The fields of a signal. Their values are judged with those of files. */
type SignalOptions = { readonly [Name in SignalField]?: unknown };

/** How often a failed attempt is repeated unless told otherwise. */
export const RETRIES_DEFAULT = 3;

/** The option of a field, such as `--entry-price`. */
export function optionOf(name: string): string {
  return `--${name.replaceAll("_", "-")}`;
}

/** Where the signals come from. */
export type SignalSource =
  | { readonly kind: "options"; readonly signal: Readonly<Record<string, unknown>> }
  | { readonly kind: "json"; readonly path: string }
  | { readonly kind: "lines"; readonly path: string };

/** @throws CliError unless there is exactly one source. */
export function signalSource(options: SendOptions): SignalSource {
  const { source, file, stdin } = options;
  if (source !== undefined && source !== STANDARD_INPUT) {
    throw usageError(`What is ${source}? To send a file, give --file ${source}.`);
  }
  const fromStdin = stdin === true || source === STANDARD_INPUT || file === STANDARD_INPUT;
  const signal = Object.fromEntries(
    SIGNAL_FIELD_LIST.map(({ field }) => [field, options[field]]).filter(
      ([, value]) => value !== undefined,
    ),
  );
  const hasSignal = Object.keys(signal).length > 0;
  const hasFile = file !== undefined && file !== STANDARD_INPUT;
  if (Number(fromStdin) + Number(hasFile) + Number(hasSignal) > 1) {
    throw usageError("Give a signal by options, or --file, or --stdin, but only one of them.");
  }
  if (fromStdin) return { kind: "lines", path: STANDARD_INPUT };
  if (hasFile) return { kind: /\.(ndjson|jsonl)$/i.test(file) ? "lines" : "json", path: file };
  if (hasSignal) return { kind: "options", signal };
  throw usageError(
    "There is no signal. Give --instrument, --side and --entry-price, or --file, or --stdin.",
  );
}
