/**
 * Sends signals: reads them in batches, hands each batch over, and prints what became of
 * every signal before it reads on. So memory stays bounded however long the input is.
 */

import { sentence } from "../../alerts/index.ts";
import { silentLogger } from "../../client/clientLogger.ts";
import { type ClientClock, epochMs, systemClock } from "../../client/clock.ts";
import { failureRecordOf } from "../../client/errorReason.ts";
import {
  ConfigError,
  clientOptionsFromEnv,
  createSignalClient,
  type SignalClient,
  type SignalError,
} from "../../client/index.ts";
import {
  configurationError,
  EXIT_FAILED,
  EXIT_OK,
  EXIT_UNAVAILABLE,
  usageError,
} from "../cliError.ts";
import { producerEnvironment } from "../credentials.ts";
import type { Environment } from "../environment.ts";
import { interruptible } from "../interruption.ts";
import { note, noteCommand } from "../output.ts";
import { type SendOptions, signalSource } from "./options.ts";
import { offsetSeconds, prepare } from "./prepare.ts";
import { Printer } from "./printer.ts";
import { repeatCommand, type Sent } from "./repeat.ts";
import type { Outcome, PlacedItem, Report } from "./report.ts";
import { deliver } from "./sender.ts";
import { isKeptFile, readSource } from "./source.ts";
import { gatherBatches } from "./streams.ts";

/** Few enough that a lost answer leaves few signals in doubt. */
const BATCH_MAX_ITEMS = 100;
/** How long a signal from a slow pipe waits for company. */
const BATCH_MAX_WAIT_MS = 20;

/** @throws CliError if the command line or the configuration is wrong. */
export async function send(options: SendOptions): Promise<void> {
  const source = signalSource(options);
  const { environment, announce } = await producerEnvironment(options);
  await using client = connect(options, environment);
  const interruption = interruptible();
  const sent: Sent = {
    options,
    source,
    isSourceKept: source.kind !== "options" && isKeptFile(source.path),
    producerId: client.destination?.producerId ?? "",
    url: options.url ?? environment.OUTBOUND_SERVER_URL ?? "",
    invocation: { execPath: process.execPath, script: process.argv[1] ?? "", environment },
  };
  const tellClock = clockTeller(client.clock);
  const printer = new Printer(options.json === true);
  const { retries } = options;
  const sender = { client, retries, signal: interruption.signal, onWait: noteWait };
  const reading = new AbortController();
  const items = readSource(source, AbortSignal.any([interruption.signal, reading.signal]));
  let stop: SignalError | undefined;
  let doubtful: readonly PlacedItem[] = [];
  for await (const batch of gatherBatches(items, BATCH_MAX_ITEMS, BATCH_MAX_WAIT_MS)) {
    tellRepeat(sent, doubtful);
    const { ready, unreadable } = prepare(batch, options, client.clock);
    if (ready.length > 0) announce();
    const delivery = ready.length > 0 ? await deliver(ready, sender) : { reports: [], stop };
    await printer.print([...delivery.reports, ...unreadable].sort(byPlace));
    tellClock();
    stop = delivery.stop;
    doubtful = unconfirmed(ready, delivery.reports);
    if (stop !== undefined || interruption.signal.aborted) break;
  }
  // Otherwise an open pipe would keep the process waiting for input that nobody reads.
  reading.abort();
  interruption.end();
  printer.sumUp(stop !== undefined || interruption.signal.aborted);
  if (stop !== undefined && stop.reason !== "CANCELLED") advise(stop);
  tellRepeat(sent, doubtful);
  process.exitCode = exitCode(printer.counts, interruption.signal.aborted);
}

/** How a setting is given on the command line. */
const OPTION_BY_SETTING: Readonly<Record<string, string>> = {
  OUTBOUND_SERVER_URL: "OUTBOUND_SERVER_URL (--url)",
  PRODUCER_ID: "PRODUCER_ID (--producer-id)",
  codec: "--codec",
  timeoutMs: "--timeout, in milliseconds,",
};

/**
 * The client of the command line.
 *
 * @throws CliError naming every wrong setting, or if the client is switched off.
 */
function connect(options: SendOptions, producer: Environment): SignalClient {
  const environment = { ...producer };
  if (options.url !== undefined) environment.OUTBOUND_SERVER_URL = options.url;
  try {
    const configured = clientOptionsFromEnv(environment);
    if (configured.enabled === false) {
      throw usageError("HMAC_PRODUCER_ENABLED is false, so nothing is sent. Unset it to send.");
    }
    const { protocol, codec, timeout } = options;
    return createSignalClient({
      ...configured,
      protocol,
      codec,
      // The sender repeats by itself, what still waits only, and says what it waits for.
      retry: false,
      circuitBreaker: false,
      logger: silentLogger,
      ...(timeout !== undefined && { timeoutMs: Math.round(timeout * 1_000) }),
    });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw configurationError(
      error.problems.map(({ name, rule }) => `${OPTION_BY_SETTING[name] ?? name} ${rule}`),
    );
  }
}

/** The items of which nothing proves that they are stored. */
function unconfirmed(
  items: readonly PlacedItem[],
  reports: readonly Report[],
): readonly PlacedItem[] {
  const doubtful = new Set(
    reports.filter(({ outcome }) => outcome === "unconfirmed").map(({ item }) => item),
  );
  return items.filter(({ item }) => doubtful.has(item));
}

function tellRepeat(sent: Sent, items: readonly PlacedItem[]): void {
  if (items.length === 0) return;
  const what = items.length === 1 ? "To send it again" : `To send these ${items.length} again`;
  noteCommand(
    `${what} without storing anything twice, with the same key and time`,
    repeatCommand(sent, items),
  );
}

/** Tells once that the clock of this machine is wrong, after the client has corrected its own. */
function clockTeller(clock: ClientClock): () => void {
  let isTold = false;
  return () => {
    const seconds = offsetSeconds(clock);
    if (isTold || seconds === 0) return;
    isTold = true;
    const direction = seconds > 0 ? "behind" : "ahead of";
    note(
      `The clock of this machine is ${Math.abs(seconds)} s ${direction} the server's. Signatures, and ` +
        "the times of signals that have none, follow the server's. Set the clock of this machine.",
    );
  };
}

function byPlace(a: Report, b: Report): number {
  return (a.place?.number ?? 0) - (b.place?.number ?? 0);
}

/** An unconfirmed signal needs a repeat, which is more urgent than to fix a refused one. */
function exitCode(counts: Partial<Record<Outcome, number>>, isInterrupted: boolean): number {
  if (isInterrupted || (counts.unconfirmed ?? 0) > 0) return EXIT_UNAVAILABLE;
  return (counts.refused ?? 0) > 0 ? EXIT_FAILED : EXIT_OK;
}

function advise({ reason, metadata }: SignalError): void {
  // The client has not corrected its clock, so the server's time is one that it cannot believe.
  const advice =
    reason === "CLOCK_SKEW"
      ? `This machine's clock shows ${new Date(epochMs(systemClock)).toISOString()}, and the server's ` +
        `${metadata.server_time ?? "another time"}. Set the one that is wrong, then send again.`
      : failureRecordOf(reason).advice;
  note(advice);
}

/** Nobody should have to guess why nothing happens. */
function noteWait({ message }: SignalError, delayMs: number): void {
  note(`${sentence(message)} Trying again in ${(delayMs / 1_000).toFixed(1)} s.`);
}
