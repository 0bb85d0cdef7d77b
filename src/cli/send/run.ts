/**
 * Sends signals: reads them in batches, hands each batch over, and prints what became of
 * every signal before it reads on. So memory stays bounded however long the input is.
 */
import { randomUUIDv7 } from "node:crypto";
import { systemClock } from "../../client/clock.ts";
import type { SignalError, SignalErrorReason } from "../../client/index.ts";
import { formatTimestamp } from "../../signing/index.ts";
import { usageError } from "../cliError.ts";
import { producerEnvironment } from "../credentials.ts";
import { EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE } from "../exitCodes.ts";
import { note, printable, writeJson, writeOut } from "../output.ts";
import { formatTable } from "../table.ts";
import { gatherBatches } from "./batches.ts";
import { connect } from "./connect.ts";
import { type SendOptions, signalSource } from "./options.ts";
import { describeCounts, Progress } from "./progress.ts";
import {
  type Outcome,
  type PlacedItem,
  type Report,
  reportColumns,
  reportJson,
  reportProblem,
  reportRow,
  unreadableReport,
} from "./report.ts";
import { deliver } from "./sender.ts";
import { readSource, type SourceItem } from "./source.ts";

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
  const printer = new Printer(options.json === true);
  const { retries } = options;
  const sender = { client, retries, signal: interruption.signal, onWait: noteWait };
  const reading = new AbortController();
  const items = readSource(source, AbortSignal.any([interruption.signal, reading.signal]));
  let stop: SignalError | undefined;
  for await (const batch of gatherBatches(items, BATCH_MAX_ITEMS, BATCH_MAX_WAIT_MS)) {
    const { ready, unreadable } = prepare(batch, options);
    if (ready.length > 0) announce();
    const delivery = ready.length > 0 ? await deliver(ready, sender) : { reports: [], stop };
    await printer.print([...delivery.reports, ...unreadable].sort(byPlace));
    stop = delivery.stop;
    if (stop !== undefined || interruption.signal.aborted) break;
  }
  // Otherwise an open pipe would keep the process waiting for input that nobody reads.
  reading.abort();
  interruption.end();
  printer.sumUp(stop !== undefined || interruption.signal.aborted);
  if (stop !== undefined) advise(stop);
  process.exitCode = exitCode(printer.counts, interruption.signal.aborted);
}

/** Fixes keys and times, so that every repeat is the same signal, and sets aside what is none. */
function prepare(
  batch: readonly SourceItem[],
  options: SendOptions,
): { readonly ready: PlacedItem[]; readonly unreadable: Report[] } {
  const ready: PlacedItem[] = [];
  const unreadable: Report[] = [];
  for (const read of batch) {
    if (!read.readable) {
      unreadable.push(unreadableReport(read.place, read.violations));
      continue;
    }
    if (options.idempotencyKey !== undefined && read.place !== undefined) {
      throw usageError(
        "--idempotency-key names one signal. Of several, give each object its own idempotency_key.",
      );
    }
    const { signal, idempotencyKey = options.idempotencyKey, validateOnly } = read.item;
    const signalTime = signal.signalTime ?? formatTimestamp(systemClock.now());
    ready.push({
      place: read.place,
      item: {
        signal: { ...signal, signalTime },
        idempotencyKey: idempotencyKey ?? randomUUIDv7(),
        validateOnly: options.validateOnly ?? validateOnly,
      },
    });
  }
  return { ready, unreadable };
}

function byPlace(a: Report, b: Report): number {
  return (a.place?.number ?? 0) - (b.place?.number ?? 0);
}

/** An unconfirmed signal needs a repeat, which is more urgent than to mend a refused one. */
function exitCode(counts: Partial<Record<Outcome, number>>, isInterrupted: boolean): number {
  if (isInterrupted || (counts.unconfirmed ?? 0) > 0) return EXIT_UNAVAILABLE;
  return (counts.refused ?? 0) > 0 ? EXIT_FAILED : EXIT_OK;
}

/** What a person can do about a failure that concerns all signals. */
const ADVICE_BY_REASON: Readonly<Partial<Record<SignalErrorReason, string>>> = {
  UNREACHABLE: "See that the server runs and that its URL is right, then send again.",
  UNAUTHENTICATED:
    "See that the producer id and the secret are those that the server knows, and that the URL is that of the server.",
  CLOCK_SKEW: "Set the clock of this machine, then send again.",
  RATE_LIMITED: "Send again later, or more slowly.",
};

function advise({ reason }: SignalError): void {
  const advice = ADVICE_BY_REASON[reason];
  if (advice !== undefined) note(advice);
}

/** Nobody should have to guess why nothing happens. */
function noteWait({ message }: SignalError, delayMs: number): void {
  note(`${message} Trying again in ${(delayMs / 1_000).toFixed(1)} s.`);
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
    this.#progress.show(this.counts);
  }

  async #printTable(reports: readonly Report[]): Promise<void> {
    const columns = reportColumns(reports[0]?.place?.name);
    const rows = reports.map((report) => reportRow(report).map(printable));
    await writeOut(formatTable(columns, rows, { withTitles: !this.#hasTitles }));
    this.#hasTitles = true;
  }

  /** Says what was done in all, if it was more than one signal. */
  sumUp(isIncomplete: boolean): void {
    this.#progress.clear();
    if (this.#isSingle) return;
    const rest = isIncomplete ? `; what comes after number ${this.#lastPlace} was not sent` : "";
    note(`${describeCounts(this.counts)}${rest}`);
  }
}
