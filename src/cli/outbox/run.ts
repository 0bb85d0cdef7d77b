/** Reads and changes an outbox file for a person. */
import { counted } from "../../alerts/index.ts";
import { epochMs, systemClock } from "../../client/clock.ts";
import type { EntryTable } from "../../client/outbox/database.ts";
import { type Entry, itemOf } from "../../client/outbox/entry.ts";
import type { OutboxFile } from "../../client/outbox/file.ts";
import type { Instant } from "../../signal/index.ts";
import { formatTimestamp } from "../../signing/index.ts";
import { EXIT_FAILED, failedError, usageError } from "../cliError.ts";
import { note, printable, writeJson, writeOut } from "../output.ts";
import { formatTable, writeTable } from "../table.ts";
import { withFile } from "./file.ts";
import { entryJson, entryRow, LIST_COLUMNS, signalJson, statusJson, statusRows } from "./format.ts";
import { OutboxReader, pagesOf } from "./reader.ts";

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

/** The keys of dead letters, or all of them. */
type ChosenKeys = readonly string[] | "all";

const LIMIT_DEFAULT = 100;

/** `countersign outbox status`. */
export async function showStatus({ file, json }: FileOptions): Promise<void> {
  const reader = readerOf(file);
  const summary = reader.summary();
  if (json === true) return await writeJson(statusJson(summary, epochMs(systemClock)));
  const rows = statusRows(summary, epochMs(systemClock));
  await writeOut(formatTable([{ title: "" }, { title: "" }], rows, { withTitles: false }));
  if (summary.totals.pendingCount > 0 && !reader.isDamaged) {
    note(
      "Why signals wait, only their producer knows: see its log and its alerts, or status() of its outbox.",
    );
  }
}

/** `countersign outbox list`. */
export async function list({ file, dead, limit, json }: ListOptions): Promise<void> {
  const reader = readerOf(file);
  const entries: Entry[] = [];
  for (const entry of reader.entries(tableOf(dead), limit ?? LIMIT_DEFAULT)) {
    if (json === true) await writeJson(entryJson(entry));
    else entries.push(entry);
  }
  if (json === true) return;
  const rows = entries.map((entry) => entryRow(entry).map(printable));
  await writeTable(LIST_COLUMNS, rows);
  if (dead === true || entries.length > 0) return;
  const [letter] = reader.entries("dead", 1);
  if (letter !== undefined) note("No signal waits, but there are dead letters: --dead lists them.");
}

/** `countersign outbox export`. */
export async function exportSignals({ file, dead }: ExportOptions): Promise<void> {
  for (const entry of readerOf(file).entries(tableOf(dead), Number.POSITIVE_INFINITY)) {
    await writeJson(signalJson(entry));
  }
}

/** A dead letter whose signal has expired. */
interface ExpiredLetter {
  readonly key: string;
  readonly expireTime: Instant;
}

/** `countersign outbox retry`. */
export async function retry(keys: readonly string[], options: ChangeOptions): Promise<void> {
  const chosen = chosenKeys(keys, options);
  const now = systemClock.now();
  const { changed, expired } = withFile(options.file, (outbox) => {
    const { retriable, expired } = splitByExpiry(outbox, chosen, now);
    return { changed: outbox.retry(retriable, epochMs(systemClock)), expired };
  });
  await printChange(changed, "will be delivered");
  if (expired.length > 0) tellExpired(expired, chosen);
  await tellMissing(chosen, [...changed, ...expired.map(({ key }) => key)]);
}

/**
 * Splits the chosen dead letters, the oldest first. One whose signal has expired would be a dead
 * letter again at once, so it stays where it is. A key without a dead letter is in neither part.
 */
function splitByExpiry(outbox: OutboxFile, chosen: ChosenKeys, now: Instant) {
  const wanted = chosen === "all" ? undefined : new Set(chosen);
  const retriable: string[] = [];
  const expired: ExpiredLetter[] = [];
  for (const entry of pagesOf((after, size) => outbox.entries("dead", after, size))) {
    const key = entry.idempotencyKey;
    if (wanted?.has(key) === false) continue;
    const { expireTime } = itemOf(entry);
    if (expireTime === undefined || expireTime > now) retriable.push(key);
    else expired.push({ key, expireTime });
  }
  return { retriable, expired };
}

/** Says which dead letters were left where they are; if nobody named them, only how many. */
function tellExpired(expired: readonly ExpiredLetter[], chosen: ChosenKeys): void {
  process.exitCode = EXIT_FAILED;
  if (chosen === "all") {
    note(
      `Left as dead letters, since their signals have expired: ${expired.length}. "countersign outbox list --dead" shows when.`,
    );
    return;
  }
  for (const { key, expireTime } of expired) {
    note(`${key} stays a dead letter, since its signal expired at ${formatTimestamp(expireTime)}.`);
  }
}

/** `countersign outbox drop`. */
export async function drop(keys: readonly string[], options: ChangeOptions): Promise<void> {
  const chosen = chosenKeys(keys, options);
  if (chosen === "all" && options.yes !== true) {
    const count = withFile(options.file, (outbox) => {
      outbox.refresh();
      return outbox.totals.deadCount;
    });
    throw usageError(
      `This would delete ${counted(count, "dead letter")} for good. Add --yes to do it.`,
    );
  }
  const changed = withFile(options.file, (outbox) => outbox.drop(chosen));
  await printChange(changed, "dropped");
  await tellMissing(chosen, changed);
}

function chosenKeys(keys: readonly string[], { all }: ChangeOptions): ChosenKeys {
  if (all !== true && keys.length === 0) {
    throw usageError("Give the keys of dead letters, or --all: one of the two is needed.");
  }
  if (all === true && keys.length > 0) {
    throw usageError("Give the keys of dead letters, or --all, but not both.");
  }
  return all === true ? "all" : keys;
}

async function printChange(changed: readonly string[], change: string): Promise<void> {
  await writeOut(changed.map((key) => `${printable(key)} ${change}\n`).join(""));
}

/** @throws CliError if there is no dead letter with one of the chosen keys. */
async function tellMissing(chosen: ChosenKeys, found: readonly string[]): Promise<void> {
  if (chosen === "all") {
    if (found.length === 0) await writeOut("There are no dead letters.\n");
    return;
  }
  const missing = chosen.filter((key) => !found.includes(key));
  if (missing.length === 0) return;
  throw failedError(
    `There is no dead letter with the key ${missing.join(", ")}. "countersign outbox list --dead" shows them.`,
  );
}

function readerOf(file: string): OutboxReader {
  return new OutboxReader(file, (message) => {
    note(message);
    process.exitCode = EXIT_FAILED;
  });
}

function tableOf(dead: boolean | undefined): EntryTable {
  return dead === true ? "dead" : "pending";
}
