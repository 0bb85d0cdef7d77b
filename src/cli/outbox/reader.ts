/**
 * Reads an outbox file for a person. Of a damaged one it reads what can be read, since a
 * person who looks into it wants to know what is left.
 */

import { type EntryTable, tableOf } from "../../client/outbox/database.ts";
import { type Entry, Totals } from "../../client/outbox/entry.ts";
import type { OutboxFile } from "../../client/outbox/file.ts";
import { OutboxDamagedError } from "../../client/outbox/outboxError.ts";
import { encodeEntry } from "../../client/outbox/record.ts";
import { type Salvage, salvage } from "../../client/outbox/salvage.ts";
import { failedError } from "../cliError.ts";
import { damageAdvice, originalPath, terminalError, withOpenFile } from "./file.ts";
import type { Summary } from "./format.ts";

/** Reads one file. Every method throws a CliError if nothing can be read. */
export class OutboxReader {
  readonly #path: string;
  readonly #onDamage: (message: string) => void;
  /** What could be read, in order, once the file has proved to be damaged. */
  #salvaged: readonly Entry[] | undefined;
  #isJudged: boolean;

  /** @param onDamage told once, before anything of a damaged file is returned. */
  constructor(path: string, onDamage: (message: string) => void) {
    this.#path = path;
    this.#onDamage = onDamage;
    // Nobody works on a file that was set aside, so it can be judged as a whole at leisure.
    this.#isJudged = originalPath(path) === undefined;
  }

  get isDamaged(): boolean {
    return this.#salvaged !== undefined;
  }

  summary(): Summary {
    return this.#read((outbox) => {
      outbox.refresh();
      return { totals: outbox.totals, oldest: outbox.oldest() };
    }, summaryOf);
  }

  /** Entries of a table in order; what changes meanwhile may be missed. */
  entries(table: EntryTable, limit: number): Generator<Entry> {
    const readPage = (after: number, size: number) =>
      this.#read(
        (outbox) => outbox.entries(table, after, size),
        (salvaged) => pageOf(salvaged, table, after, size),
      );
    return pagesOf(readPage, limit);
  }

  #read<T>(fromFile: (outbox: OutboxFile) => T, fromRest: (salvaged: readonly Entry[]) => T): T {
    if (this.#salvaged === undefined) {
      try {
        return withOpenFile(this.#path, (outbox) => {
          this.#judge(outbox);
          return fromFile(outbox);
        });
      } catch (error) {
        if (!(error instanceof OutboxDamagedError)) throw error;
        this.#salvaged = this.#salvage(error.fault);
      }
    }
    return fromRest(this.#salvaged);
  }

  /** @throws OutboxDamagedError if anything is wrong with the file. */
  #judge(outbox: OutboxFile): void {
    if (this.#isJudged) return;
    const fault = outbox.check();
    if (fault !== undefined) throw new OutboxDamagedError(this.#path, fault);
    this.#isJudged = true;
  }

  #salvage(fault: string): readonly Entry[] {
    const path = this.#path;
    const { entries, brokenCount } = salvageFile(path);
    if (entries.length === 0) {
      throw failedError(
        `${path} is no sound outbox: ${fault}. No signal in it can be read. ${damageAdvice(path)}`,
      );
    }
    const broken = brokenCount === 0 ? "" : ` and at least ${brokenCount} cannot`;
    this.#onDamage(
      `${path} is damaged: ${fault}. Only what can be read of it is shown: of its signals, ` +
        `${entries.length} can be read${broken}. ${damageAdvice(path)}`,
    );
    return entries;
  }
}

function salvageFile(path: string): Salvage {
  try {
    return salvage(path);
  } catch (error) {
    throw terminalError(path, error);
  }
}

function pageOf(
  entries: readonly Entry[],
  table: EntryTable,
  after: number,
  size: number,
): readonly Entry[] {
  return entries
    .filter((entry) => entry.sequence > after && tableOf(entry) === table)
    .slice(0, size);
}

function summaryOf(entries: readonly Entry[]): Summary {
  const totals = new Totals();
  for (const entry of entries) totals.count(entry, encodeEntry(entry).length);
  return { totals, oldest: entries.find((entry) => tableOf(entry) === "pending") };
}

/** Few enough that a producer at work is held up for a millisecond only. */
const PAGE_SIZE = 200;

/** Entries in order, as many as wanted, read in pages so that the file is free in between. */
export function* pagesOf(
  readPage: (afterSequence: number, size: number) => readonly Entry[],
  limit = Number.POSITIVE_INFINITY,
): Generator<Entry> {
  let after = 0;
  for (let count = 0; count < limit; ) {
    const size = Math.min(PAGE_SIZE, limit - count);
    const page = readPage(after, size);
    yield* page;
    if (page.length < size) return;
    count += page.length;
    after = page.at(-1)?.sequence ?? after;
  }
}
