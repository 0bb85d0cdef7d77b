/**
 * Reads signals from where they are, one by one, each with its place.
 */
import { createReadStream, statSync } from "node:fs";
import { resolve } from "node:path";
import { addAbortSignal, type Readable } from "node:stream";
import type { Violation } from "../../client/index.ts";
import { parseJsonText } from "../../signal/index.ts";
import { fileFault, usageError } from "../cliError.ts";
import { openStandardInput, readTextInput, STANDARD_INPUT } from "../input.ts";
import type { SignalSource } from "./options.ts";
import type { Place } from "./report.ts";
import { type ItemReading, itemFromJson } from "./signalJson.ts";
import { readLines } from "./streams.ts";

/** A signal as it was read, or why it cannot be read. */
export type SourceItem = ItemReading & { readonly place: Place };

/**
 * Gives the signals of a source. It stops early when `signal` is aborted.
 *
 * @throws CliError if a file cannot be read, or is not JSON.
 */
export async function* readSource(
  source: SignalSource,
  signal: AbortSignal,
): AsyncGenerator<SourceItem> {
  switch (source.kind) {
    case "options":
      yield { ...itemFromJson(source.signal), place: undefined };
      return;
    case "json":
      yield* itemsOfDocument(await readDocument(source.path));
      return;
    case "lines":
      yield* itemsOfLines(source.path, signal);
  }
}

/**
 * Whether a path names a file that is there for the next command, too. What a shell gives a
 * path to, as for `<(…)`, is gone with this one; and standard input by its path is another then.
 */
export function isKeptFile(path: string): boolean {
  const isOfProcess = /^\/(dev|proc)\//.test(resolve(path));
  return !isOfProcess && statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

async function readDocument(path: string): Promise<unknown> {
  const text = await readTextInput("--file", path);
  try {
    return parseJsonText(text.replace(/^\ufeff/, ""));
  } catch (error) {
    throw usageError(
      `--file ${path} is not JSON: ${(error as Error).message}. ` +
        "If it has one object a line, name it .ndjson, or give it to --stdin.",
    );
  }
}

function* itemsOfDocument(document: unknown): Generator<SourceItem> {
  if (!Array.isArray(document)) {
    yield { ...itemFromJson(document), place: undefined };
    return;
  }
  for (const [index, value] of document.entries()) {
    yield { ...itemFromJson(value), place: { name: "item", number: index + 1 } };
  }
}

async function* itemsOfLines(path: string, signal: AbortSignal): AsyncGenerator<SourceItem> {
  const stream: Readable =
    path === STANDARD_INPUT
      ? openStandardInput("the signals", "signals (one JSON object a line)")
      : createReadStream(path);
  let hasHinted = false;
  addAbortSignal(signal, stream);
  try {
    for await (const line of readLines(stream)) {
      const place = { name: "line", number: line.number } as const;
      if ("fault" in line) yield { ...unreadable(line.fault), place };
      else {
        const reading = itemOfText(line.text, hasHinted ? "" : ONE_PER_LINE);
        hasHinted ||= !reading.readable;
        yield { ...reading, place };
      }
    }
  } catch (error) {
    if (signal.aborted) return;
    throw usageError(`--file ${path} cannot be read: ${fileFault(error)}.`);
  }
}

/** Told once, to whoever spreads an object over lines or puts several into a list. */
const ONE_PER_LINE = '; give one object per line, as "jq -c" writes it';

function itemOfText(text: string, hint: string): ItemReading {
  let value: unknown;
  try {
    value = parseJsonText(text);
  } catch (error) {
    const isPartOfJson = /^[{}[\]"]/.test(text);
    return unreadable(`is not JSON: ${(error as Error).message}${isPartOfJson ? hint : ""}`);
  }
  if (Array.isArray(value)) return unreadable(`must be a JSON object${hint}`);
  return itemFromJson(value);
}

function unreadable(description: string): ItemReading {
  const violations: Violation[] = [{ field: "", description }];
  return { readable: false, violations };
}
