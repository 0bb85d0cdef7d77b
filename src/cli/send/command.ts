import { type Command, InvalidArgumentError, Option } from "commander";
import { type FieldKind, parseJsonText, SIGNAL_FIELD_LIST } from "../../signal/index.ts";
import { EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE } from "../cliError.ts";
import { addHelp, createCommand, parseInteger, parseNumber } from "../command.ts";
import { addCredentialOptions, CREDENTIALS_HELP } from "../credentials.ts";
import { optionOf, RETRIES_DEFAULT, type SendOptions } from "./options.ts";

const NOTES = `A signal comes from options, from a JSON file with one object or an array of them, or,
one object a line, from standard input or from a file whose name ends in .ndjson or .jsonl.
The fields are those of REST (entry_price) or of the RPCs (entryPrice). An object may also
have idempotency_key and validate_only. A field that no signal has is an error.

Of many signals, each is stored or refused by itself; a line that is wrong is told by its
number and the others are sent. An attempt that fails for a passing reason is repeated
under the same idempotency key, which can store nothing twice. What is then still not known
to be stored has the outcome "unconfirmed". The command that sends such signals again safely,
with the keys and the times that they had, is printed; the JSON output has each as "resend".
Send it as the same producer, and what "outbox export" prints as the producer whose outbox it was (both
by --env-file): a key names a signal of one producer only, and sent as another, the signal
is stored a second time.

If the clock of this machine is wrong, the server's is followed, and that is told.

Results go to standard output, what is said to people goes to standard error.

${CREDENTIALS_HELP}
Without --url, the server is OUTBOUND_SERVER_URL, or that of .countersign/producer.env.`;

/** `countersign send`: sends signals to a server. */
export function sendCommand(): Command {
  const command = createCommand("send")
    .description("sign and send signals")
    .argument("[-]", "a dash reads from standard input, as --stdin does");
  addSourceOptions(command);
  addSignalOptions(command);
  addConnectionOptions(command);
  addCredentialOptions(command);
  command
    .option("--json", "print one JSON object a line")
    .action(async (source: string | undefined, options: SendOptions) => {
      const { send } = await import("./run.ts");
      await send({ ...options, ...(source !== undefined && { source }) });
    });
  return addHelp(command, {
    notes: NOTES,
    examples: [
      "countersign send --instrument GOLD --side buy --entry-price 1950.5",
      "countersign send --file signal.json --validate-only",
      "countersign send --json - < signals.ndjson > results.ndjson",
      `jq -c 'select(.outcome == "unconfirmed").resend' results.ndjson |`,
      "  countersign send -",
    ],
    exitCodes: {
      [EXIT_OK]: "all signals are stored, were stored before, or are valid with --validate-only",
      [EXIT_FAILED]: "at least one signal is refused",
      [EXIT_USAGE]: "the command line, a file or the configuration is wrong; nothing was sent",
      [EXIT_UNAVAILABLE]: "at least one signal is not known to be stored; run the printed command",
    },
  });
}

function addSourceOptions(command: Command): void {
  command
    .option("--file <path>", "read signals from this file")
    .option("--stdin", "read signals from standard input, one JSON object a line");
}

function addSignalOptions(command: Command): void {
  const parsers: Partial<Record<FieldKind, (text: string) => unknown>> = {
    number: parseNumber,
    object: parsePayload,
  };
  for (const { name, kind, help } of SIGNAL_FIELD_LIST) {
    const option = new Option(`${optionOf(name)} <${help[0]}>`, help[1]);
    const parse = parsers[kind];
    command.addOption(parse === undefined ? option : option.argParser(parse));
  }
  command
    .option("--idempotency-key <key>", "names this signal for good (a new UUIDv7)")
    .option("--validate-only", "have everything checked, but store nothing");
}

/** Takes the JSON object of `--payload`. What it may hold, the rules of signals tell. */
function parsePayload(text: string): object {
  let value: unknown;
  try {
    value = parseJsonText(text);
  } catch {
    value = undefined;
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new InvalidArgumentError(`It must be a JSON object such as '{"timeframe":"H1"}'.`);
}

const RETRIES_MAX = 100;

function addConnectionOptions(command: Command): void {
  command
    .option("--url <url>", "the server (OUTBOUND_SERVER_URL)")
    .addOption(
      new Option("--protocol <protocol>", "how to call it (connect)").choices([
        "connect",
        "grpc",
        "grpc-web",
      ]),
    )
    .addOption(
      new Option(
        "--codec <codec>",
        "how messages become bytes; json needs connect (binary)",
      ).choices(["binary", "json"]),
    )
    .option(
      "--timeout <seconds>",
      "how long an attempt may take, up to 300 (OUTBOUND_TIMEOUT_SECONDS, 30)",
      parseNumber,
    )
    .addOption(
      new Option("--retries <n>", "how often to repeat an attempt that failed for a passing reason")
        .argParser(parseInteger(0, RETRIES_MAX))
        .default(RETRIES_DEFAULT),
    );
}
