/**
 * Where the lines of the log wait to be written: never more than a bound of them, and never
 * so that anybody waits for them. A line beyond the bound is dropped and counted; once there
 * is room again, one line says how many were lost, at the place where they are missing.
 *
 * Lines are written in the order in which they came, whole, and as soon as the event loop
 * has done what is at hand, so that those of one turn cost one write. An output that is full
 * or that fails is tried again at intervals; meanwhile the lines wait.
 */
import { write as writeInOtherThread, writeSync } from "node:fs";
import type { Output } from "./standardOutput.ts";

/** What a {@link LogDestination} is told. */
export interface LogDestinationOptions {
  readonly output: Output;
  readonly monotonicMs: () => number;
  /** Told when lines are taken again, and how many were lost. */
  readonly onRecovered: (lostLines: number) => void;
  /** The most bytes that wait. Default 4 MiB: at full load about two seconds of lines. */
  readonly maxBytes?: number;
}

const QUEUE_MAX_BYTES = 4 * 1_024 * 1_024;
/** How long to leave a pipe alone that is full. */
const FULL_RETRY_MS = 10;
/** How long to leave an output alone that failed, such as a disk that is full. */
const FAILED_RETRY_MS = 1_000;
/** A write that takes longer than this is not expected to end. */
const STUCK_AFTER_MS = 1_000;

/** Lines that are written at once. */
interface Chunk {
  text: string;
  bytes: number;
}

/** A destination of the log, for as long as the process lasts. */
export class LogDestination {
  readonly #output: Output;
  readonly #monotonicMs: () => number;
  readonly #onRecovered: (lostLines: number) => void;
  readonly #maxBytes: number;
  readonly #chunks: Chunk[] = [];
  /** What is left of the chunk that is being written. */
  #current: Buffer | undefined;
  #queuedBytes = 0;
  #droppedLines = 0;
  /** Dropped lines that no line has told of yet. */
  #lostLines = 0;
  #isOverflowing = false;
  #isScheduled = false;
  /** Runs while an output is left alone. */
  #retryTimer: NodeJS.Timeout | undefined;
  /** Since when another thread writes, if it does. */
  #writingSinceMs: number | undefined;
  /** Called when everything is written, or when the output failed. */
  #onSettled: () => void = () => undefined;

  constructor(options: LogDestinationOptions) {
    this.#output = options.output;
    this.#monotonicMs = options.monotonicMs;
    this.#onRecovered = options.onRecovered;
    this.#maxBytes = options.maxBytes ?? QUEUE_MAX_BYTES;
    process.once("exit", () => this.#onExit());
  }

  /** How many lines were dropped since the start. */
  get droppedLines(): number {
    return this.#droppedLines;
  }

  /** Takes a line, with its end. */
  write(line: string): void {
    const bytes = Buffer.byteLength(line);
    if (this.#isOverflowing || this.#queuedBytes + bytes > this.#maxBytes) {
      this.#isOverflowing = true;
      this.#droppedLines += 1;
      this.#lostLines += 1;
      return;
    }
    this.#queuedBytes += bytes;
    const last = this.#chunks.at(-1);
    if (last !== undefined && last.bytes + bytes <= this.#output.chunkMaxBytes) {
      last.text += line;
      last.bytes += bytes;
    } else {
      this.#chunks.push({ text: line, bytes });
    }
    this.#schedule();
  }

  /**
   * Writes what waits. Resolves when all is written, when it turns out that it cannot be,
   * or after the timeout.
   */
  async end(timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onSettled = resolve;
    const timer = setTimeout(resolve, timeoutMs);
    clearTimeout(this.#retryTimer);
    this.#flush();
    await promise;
    clearTimeout(timer);
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isLeftAlone()) return;
    this.#isScheduled = true;
    setImmediate(() => this.#flush());
  }

  #isLeftAlone(): boolean {
    return this.#retryTimer !== undefined || this.#writingSinceMs !== undefined;
  }

  /** Writes as much as can be written now. */
  #flush(): void {
    this.#isScheduled = false;
    this.#retryTimer = undefined;
    while (this.#writingSinceMs === undefined) {
      const bytes = this.#next();
      if (bytes === undefined) {
        this.#onSettled();
        return;
      }
      if (this.#output.isBlocking) {
        this.#writingSinceMs = this.#monotonicMs();
        writeInOtherThread(this.#output.fd, bytes, (error, written) => {
          this.#writingSinceMs = undefined;
          if (error === null) this.#advance(written);
          else this.#leaveAlone(error);
          if (!this.#isLeftAlone()) this.#flush();
        });
      } else {
        try {
          this.#advance(writeSync(this.#output.fd, bytes));
        } catch (error) {
          this.#leaveAlone(error as NodeJS.ErrnoException);
          return;
        }
      }
    }
  }

  #next(): Buffer | undefined {
    if (this.#current === undefined) {
      const chunk = this.#chunks.shift();
      this.#current = chunk && Buffer.from(chunk.text);
    }
    return this.#current;
  }

  #advance(written: number): void {
    this.#queuedBytes -= written;
    const rest = this.#current?.subarray(written);
    this.#current = rest?.length === 0 ? undefined : rest;
    // Not at the first room, since a slow reader would get gaps and lines about them in turn.
    if (!this.#isOverflowing || this.#queuedBytes > this.#maxBytes / 2) return;
    const lost = this.#lostLines;
    this.#isOverflowing = false;
    this.#lostLines = 0;
    this.#onRecovered(lost);
  }

  #leaveAlone({ code }: NodeJS.ErrnoException): void {
    const isFull = code === "EAGAIN";
    const waitMs = isFull ? FULL_RETRY_MS : FAILED_RETRY_MS;
    // Whoever waits for the end has a timer of its own.
    this.#retryTimer = setTimeout(() => this.#flush(), waitMs).unref();
    if (!isFull) this.#onSettled();
  }

  /** The last chance of lines, however the process ends. */
  #onExit(): void {
    if (this.#writingSinceMs !== undefined) {
      if (this.#monotonicMs() - this.#writingSinceMs >= STUCK_AFTER_MS) {
        // Node.js waits at its end for its threads, and so for ever for one that is stuck.
        process.kill(process.pid, "SIGKILL");
      }
      // For the same reason, what another thread is writing will be written.
      this.#current = undefined;
    }
    try {
      for (let bytes = this.#next(); bytes !== undefined; bytes = this.#next()) {
        this.#advance(writeSync(this.#output.fd, bytes));
      }
    } catch {
      // There is nobody left to tell.
    }
  }
}
