/**
 * What comes from a stream: bytes as lines of text, and items in batches, both in bounded
 * memory.
 */
import { setTimeout as sleep } from "node:timers/promises";

/** One line of the input. */
export type Line =
  | { readonly number: number; readonly text: string }
  | { readonly number: number; readonly fault: string };

/** Well above any signal that a server takes, so that the server's own rule is the one told. */
const LINE_MAX_BYTES = 1_048_576;

const LINE_FEED = 0x0a;

/**
 * Gives the lines that are not blank, with their numbers from 1. A last line needs no
 * newline; a byte order mark at the start and carriage returns at the ends are left out, and
 * a line that is too long is dropped as it comes.
 */
export async function* readLines(
  input: AsyncIterable<Uint8Array>,
  maxBytes = LINE_MAX_BYTES,
): AsyncGenerator<Line> {
  const line = new PendingLine(maxBytes);
  for await (const chunk of input) {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      line.add(chunk.subarray(start, end));
      start = end + 1;
      const complete = line.take();
      if (complete !== undefined) yield complete;
    }
    line.add(chunk.subarray(start));
  }
  const last = line.take();
  if (last !== undefined) yield last;
}

/** The line that is being read. */
class PendingLine {
  readonly #maxBytes: number;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #number = 1;
  #parts: Uint8Array[] = [];
  #byteLength = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  add(part: Uint8Array): void {
    this.#byteLength += part.byteLength;
    if (this.#byteLength <= this.#maxBytes) this.#parts.push(part);
    else this.#parts = [];
  }

  /** Ends the line. @returns `undefined` if it is blank. */
  take(): Line | undefined {
    const number = this.#number++;
    const bytes = Buffer.concat(this.#parts);
    const isTooLong = this.#byteLength > this.#maxBytes;
    this.#parts = [];
    this.#byteLength = 0;
    if (isTooLong) return { number, fault: `is longer than ${this.#maxBytes} bytes` };
    try {
      // This takes a byte order mark away, too.
      const text = this.#decoder.decode(bytes).trim();
      return text === "" ? undefined : { number, text };
    } catch {
      return { number, fault: "is not UTF-8" };
    }
  }
}

/**
 * Gathers what a slow source gives into batches: one is given as soon as it has
 * `maxItems`, or when `maxWaitMs` have passed since its first item, so that a signal from a
 * live pipe does not wait for the next one.
 */
export async function* gatherBatches<T>(
  source: AsyncIterable<T>,
  maxItems: number,
  maxWaitMs: number,
): AsyncGenerator<T[]> {
  const iterator = source[Symbol.asyncIterator]();
  let next = iterator.next();
  for (;;) {
    const first = await next;
    if (first.done === true) return;
    const batch = [first.value];
    next = iterator.next();
    // It fails only when the next batch begins, which then awaits it.
    next.catch(() => {});
    const timer = new AbortController();
    const isTime = sleep(maxWaitMs, undefined, { signal: timer.signal }).catch(() => undefined);
    while (batch.length < maxItems) {
      const arrived = await Promise.race([next.catch(() => undefined), isTime]);
      if (arrived === undefined || arrived.done === true) break;
      batch.push(arrived.value);
      next = iterator.next();
      next.catch(() => {});
    }
    timer.abort();
    yield batch;
  }
}
