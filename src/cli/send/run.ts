/**
 * Sends signals: reads them in batches, hands each batch over, and prints what became of
 * every signal before it reads on. So memory stays bounded however long the input is.
 */

import { sentence } from "../../alerts/index.ts";
import { type ClientClock, epochMs, systemClock } from "../../client/clock.ts";
import { failureRecordOf } from "../../client/errorReason.ts";
import type { SignalError } from "../../client/index.ts";
import { producerEnvironment } from "../credentials.ts";
import { EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE } from "../exitCodes.ts";
import {
  isOutputLost,
  note,
  noteCommand,
  printable,
  terminalWidth,
  writeJson,
  writeOut,
} from "../output.ts";
import { fitsWidth, formatRecords, formatTable } from "../table.ts";
import { gatherBatches } from "./batches.ts";
import { connect } from "./connect.ts";
import { type SendOptions, signalSource } from "./options.ts";
import { prepare } from "./prepare.ts";
import { describeCounts, Progress } from "./progress.ts";
import { repeatCommand, type Sent } from "./repeat.ts";
import {
  type Outcome,
  type PlacedItem,
  type Report,
  reportColumns,
  reportJson,
  reportProblem,
  reportRow,
} from "./report.ts";
import { deliver } from "./sender.ts";
import { offsetSeconds } from "./signalTime.ts";
import { isKeptFile, readSource } from "./source.ts";

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
  if (stop !== undefined) advise(stop);
  tellRepeat(sent, doubtful);
  process.exitCode = exitCode(printer.counts, interruption.signal.aborted);
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

/** Lets a person stop the run and still learn what became of the signals under way. */
function interruptible(): { readonly signal: AbortSignal; end(): void } {
  const controller = new AbortController();
  const abort = () => controller.abort();
  process.once("SIGINT", abort);
  process.once("SIGTERM", abort);
  return {
    signal: controller.signal,
    end() {
      process.off("SIGINT", abort);
      process.off("SIGTERM", abort);
    },
  };
}

/** Prints reports as they come, and counts them. */
class Printer {
  readonly counts: Partial<Record<Outcome, number>> = {};
  readonly #isJson: boolean;
  readonly #progress = new Progress(process.stderr, () => performance.now());
  #hasTitles = false;
  /** Once the table had no room on the terminal, it is not gone back to. */
  #isNarrow = false;
  #lastPlace = 0;
  #isSingle = false;

  constructor(isJson: boolean) {
    this.#isJson = isJson;
  }

  async print(reports: readonly Report[]): Promise<void> {
    this.#progress.clear();
    for (const report of reports) {
      this.counts[report.outcome] = (this.counts[report.outcome] ?? 0) + 1;
      if (report.place === undefined) this.#isSingle = true;
      else this.#lastPlace = report.place.number;
      const problem = reportProblem(report);
      if (problem !== undefined) note(problem);
    }
    if (this.#isJson) for (const report of reports) await writeJson(reportJson(report));
    else await this.#printTable(reports);
    if (!this.#isSingle) this.#progress.show(this.counts);
  }

  async #printTable(reports: readonly Report[]): Promise<void> {
    const columns = reportColumns(reports[0]?.place?.name);
    const rows = reports.map((report) => reportRow(report).map(printable));
    const width = terminalWidth();
    this.#isNarrow ||= width !== undefined && !fitsWidth(columns, rows, width);
    if (this.#isNarrow) return await writeOut(formatRecords(columns, rows));
    await writeOut(formatTable(columns, rows, { withTitles: !this.#hasTitles }));
    this.#hasTitles = true;
  }

  /** Says what was done in all, unless the one result that there is says so. */
  sumUp(isIncomplete: boolean): void {
    this.#progress.clear();
    if (this.#isSingle && !isOutputLost()) return;
    const rest = isIncomplete ? `; nothing after number ${this.#lastPlace} was sent` : "";
    note(`${describeCounts(this.counts)}${rest}`);
  }
}
