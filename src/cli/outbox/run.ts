/** Reads and changes an outbox file for a person. */
import { existsSync } from "node:fs";
import { epochMs, systemClock } from "../../client/clock.ts";
import { OutboxDamagedError, OutboxError } from "../../client/outbox/outboxError.ts";
import { OutboxFile } from "../../client/outbox/outboxFile.ts";
import type { EntryTable } from "../../client/outbox/outboxFormat.ts";
import type { Entry } from "../../client/outbox/record.ts";
import { deadCount } from "../../client/outbox/totals.ts";
import { failedError, unavailableError, usageError } from "../cliError.ts";
import { printable, writeJson, writeOut } from "../output.ts";
import { formatTable } from "../table.ts";
import { ageText, entryJson, entryRow, LIST_COLUMNS, signalJson } from "./format.ts";

/** The options of all commands. */
export interface FileOptions {
  readonly file: string;
  readonly json?: boolean;
}

/** The options of `outbox export`. */
export interface ExportOptions extends FileOptions {
  readonly dead?: boolean;
}

/** The options of `outbox list`. */
export interface ListOptions extends ExportOptions {
  readonly limit?: number;
}

/** The options of `outbox retry` and `outbox drop`. */
export interface ChangeOptions extends FileOptions {
  readonly all?: boolean;
  readonly yes?: boolean;
}

const LIMIT_DEFAULT = 100;
/** Few enough that a producer at work is held up for a millisecond only. */
const PAGE_SIZE = 200;

/** `countersign outbox status`. */
export async function showStatus({ file, json }: FileOptions): Promise<void> {
  const { totals, oldest } = withFile(file, (outbox) => {
    outbox.refresh();
    return { totals: outbox.totals, oldest: outbox.oldest() };
  });
  const ageMs =
    oldest === undefined ? undefined : Math.max(0, epochMs(systemClock) - oldest.enqueuedMs);
  const deadByReason = Object.fromEntries(totals.deadByReason);
  if (json === true) {
    await writeJson({
      pending: totals.pendingCount,
      dead_letters: deadCount(totals),
      dead_letters_by_reason: deadByReason,
      bytes: totals.bytes,
      oldest_age_seconds: ageMs === undefined ? null : ageMs / 1_000,
    });
    return;
  }
  const rows = [
    ["waiting", String(totals.pendingCount)],
    ["oldest", ageMs === undefined ? "-" : ageText(ageMs)],
    ["dead letters", String(deadCount(totals))],
    ...Object.entries(deadByReason).map(([reason, count]) => [`  ${reason}`, String(count)]),
    ["bytes", String(totals.bytes)],
  ];
  await writeOut(formatTable([{ title: "" }, { title: "" }], rows, { withTitles: false }));
}

/** `countersign outbox list`. */
export async function list({ file, dead, limit, json }: ListOptions): Promise<void> {
  const entries: Entry[] = [];
  for (const entry of entriesOf(file, tableOf(dead), limit ?? LIMIT_DEFAULT)) {
    if (json === true) await writeJson(entryJson(entry));
    else entries.push(entry);
  }
  if (json === true) return;
  const rows = entries.map((entry) => entryRow(entry).map(printable));
  await writeOut(formatTable(LIST_COLUMNS, rows));
}

/** `countersign outbox export`. */
export async function exportSignals({ file, dead }: ExportOptions): Promise<void> {
  for (const entry of entriesOf(file, tableOf(dead), Number.POSITIVE_INFINITY)) {
    await writeJson(signalJson(entry));
  }
}

/** `countersign outbox retry`. */
export async function retry(keys: readonly string[], options: ChangeOptions): Promise<void> {
  const chosen = chosenKeys(keys, options);
  const changed = withFile(options.file, (outbox) => outbox.retry(chosen, epochMs(systemClock)));
  await reportChange(chosen, changed, "will be delivered");
}

/** `countersign outbox drop`. */
export async function drop(keys: readonly string[], options: ChangeOptions): Promise<void> {
  const chosen = chosenKeys(keys, options);
  if (chosen === "all" && options.yes !== true) {
    const count = withFile(options.file, (outbox) => {
      outbox.refresh();
      return deadCount(outbox.totals);
    });
    throw usageError(`This would delete ${count} dead letters for good. Add --yes to do it.`);
  }
  const changed = withFile(options.file, (outbox) => outbox.drop(chosen));
  await reportChange(chosen, changed, "dropped");
}

function chosenKeys(keys: readonly string[], { all }: ChangeOptions): readonly string[] | "all" {
  if ((all === true) === keys.length > 0) {
    throw usageError("Give the keys of dead letters, or --all, but not both.");
  }
  return all === true ? "all" : keys;
}

async function reportChange(
  chosen: readonly string[] | "all",
  changed: readonly string[],
  change: string,
): Promise<void> {
  await writeOut(changed.map((key) => `${printable(key)} ${change}\n`).join(""));
  if (chosen === "all") {
    if (changed.length === 0) await writeOut("There are no dead letters.\n");
    return;
  }
  const missing = chosen.filter((key) => !changed.includes(key));
  if (missing.length === 0) return;
  throw failedError(
    `There is no dead letter with the key ${missing.join(", ")}. "countersign outbox list --dead" shows them.`,
  );
}

/** In pages, so that the file is free in between; what changes meanwhile may be missed. */
function* entriesOf(path: string, table: EntryTable, limit: number): Generator<Entry> {
  let after = 0;
  for (let count = 0; count < limit; ) {
    const size = Math.min(PAGE_SIZE, limit - count);
    const page = withFile(path, (outbox) => outbox.entries(table, after, size));
    yield* page;
    if (page.length < size) return;
    count += page.length;
    after = page.at(-1)?.sequence ?? after;
  }
}

/**
 * Opens the outbox for one piece of work, a short one: its producer waits meanwhile. So only
 * what is read is judged, each record by its own checksum; the whole file is judged at the
 * start of its producer.
 *
 * @throws CliError that says what to do.
 */
function withFile<T>(path: string, work: (outbox: OutboxFile) => T): T {
  if (!existsSync(path)) throw usageError(`There is no outbox at --file ${path}.`);
  let outbox: OutboxFile | undefined;
  try {
    outbox = new OutboxFile(path);
    return work(outbox);
  } catch (error) {
    throw terminalError(path, error);
  } finally {
    outbox?.close();
  }
}

function terminalError(path: string, error: unknown): unknown {
  if (error instanceof OutboxDamagedError) return damaged(path, error.fault);
  if (!(error instanceof OutboxError)) return error;
  const message = error.message.replace(/^\[\w+\] /, "");
  return unavailableError(`${message} See that you may read and write it, then try again.`);
}

function damaged(path: string, fault: string): Error {
  return failedError(
    `${path} is no sound outbox: ${fault}. If it is one, start its producer: that sets the file aside and keeps what can be read.`,
  );
}

function tableOf(dead: boolean | undefined): EntryTable {
  return dead === true ? "dead" : "pending";
}
