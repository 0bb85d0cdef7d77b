/**
 * A worker with a clock and timers that the test moves, a client that answers what the test
 * says, and a real file. Nothing here waits for real.
 */
import { onTestFinished } from "vitest";
import {
  createBackoff,
  type IngestCallOptions,
  type IngestItem,
  type IngestItemResult,
  type IngestResult,
  type SignalCallOptions,
  SignalError,
  type SignalErrorReason,
  type SignalInput,
} from "../../../src/client/index.ts";
import type { EntryQueue } from "../../../src/client/outbox/backlog.ts";
import { createOutboxFile } from "../../../src/client/outbox/database.ts";
import { type Death, type Entry, fixRequest } from "../../../src/client/outbox/entry.ts";
import { OutboxFile } from "../../../src/client/outbox/file.ts";
import { OutboxClock } from "../../../src/client/outbox/outboxClock.ts";
import type { OutboxTimers } from "../../../src/client/outbox/timers.ts";
import { DeliveryWorker, type WorkerOptions } from "../../../src/client/outbox/worker.ts";
import { outboxPath, SIGNAL } from "./support.ts";

export const START_MS = 1_761_402_645_000;
export const MS = 1_000_000n;
export const HELD_DELAY_MS = 60_000;
const TURNS = 30;

class ManualTime implements OutboxTimers {
  nowMs = START_MS;
  readonly #waiting = new Set<{ dueMs: number; callback: () => void }>();

  /** How far the machine's clock was set, by which the worker must not wait. */
  setMs = 0;

  readonly clock = { now: () => BigInt(this.nowMs + this.setMs) * MS };

  monotonicMs(): number {
    return this.nowMs;
  }

  after(milliseconds: number, callback: () => void): () => void {
    const timer = { dueMs: this.nowMs + milliseconds, callback };
    this.#waiting.add(timer);
    return () => void this.#waiting.delete(timer);
  }

  /** Lets time pass; each timer fires at its own time. */
  async advance(milliseconds: number): Promise<void> {
    const endMs = this.nowMs + milliseconds;
    for (;;) {
      await settled();
      const [next] = [...this.#waiting].sort((one, other) => one.dueMs - other.dueMs);
      if (next === undefined || next.dueMs > endMs) break;
      this.#waiting.delete(next);
      this.nowMs = next.dueMs;
      next.callback();
    }
    this.nowMs = endMs;
    await settled();
  }

  /** Lets time pass within one turn of the event loop. */
  elapse(milliseconds: number): void {
    this.nowMs += milliseconds;
    for (const timer of this.#waiting) {
      if (timer.dueMs > this.nowMs) continue;
      this.#waiting.delete(timer);
      timer.callback();
    }
  }
}

/** The worker lets a turn of the event loop pass with each request of a backlog. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await new Promise(setImmediate);
}

/** A real outbox file that counts what is done with it, and fails when the test says so. */
class FileQueue implements EntryQueue {
  settleFailure: Error | undefined;
  /** Called after each change. */
  settled: () => unknown = () => {};
  settleCount = 0;
  readCount = 0;
  /** The numbers of the reads that fail. */
  readFailures: readonly number[] = [];
  readonly #file: OutboxFile;
  readonly #clock: OutboxClock;

  constructor(clock: OutboxClock) {
    const path = outboxPath();
    createOutboxFile(path, [], { pendingFrom: 1, nextSequence: 1 });
    this.#file = new OutboxFile(path);
    this.#clock = clock;
    onTestFinished(() => this.#file.close());
  }

  add(keys: readonly string[], signal: Partial<SignalInput> = {}): void {
    const requests = keys.map((idempotencyKey) => {
      const item = { signal: { ...SIGNAL, ...signal }, idempotencyKey };
      const fixed = fixRequest(item, BigInt(START_MS) * MS, 65_536);
      return { ...fixed, hasOwnTime: true, taken: this.#clock.taken(false) };
    });
    const bounds = { maxSignals: 10_000, maxBytes: 100_000_000 };
    this.#file.insert(requests, this.#clock.machineMs(), bounds);
  }

  get entries(): Entry[] {
    return this.#file.entries("pending", 0, 10_000);
  }

  get dead(): Entry[] {
    return this.#file.entries("dead", 0, 10_000);
  }

  pending(...which: Parameters<EntryQueue["pending"]>): Entry[] {
    this.readCount += 1;
    if (this.readFailures.includes(this.readCount)) throw new Error("the disk fails");
    return this.#file.pending(...which);
  }

  pendingAfter(sequence: number, maxCount: number): Entry[] {
    return this.#file.entries("pending", sequence, maxCount);
  }

  replace(entries: readonly Entry[]): void {
    this.#file.replace(entries);
  }

  settle(delivered: readonly number[], dead: readonly Entry[]): void {
    this.settleCount += 1;
    if (this.settleFailure !== undefined) throw this.settleFailure;
    this.#file.settle(delivered, dead);
    this.settled();
  }
}

/** An attempt that a client was asked for. */
interface Call {
  readonly keys: readonly (string | undefined)[];
  readonly signals: readonly SignalInput[];
  readonly isBatch: boolean;
  readonly options: SignalCallOptions;
  readonly atMs: number;
}

type Answer = (call: Call) => Promise<readonly IngestItemResult[]> | readonly IngestItemResult[];

export const stored = (idempotencyKey: string | undefined): IngestItemResult => ({
  outcome: "stored",
  idempotencyKey: idempotencyKey ?? "",
  signalId: "0193d5e8-6f1a-7c3e-9b52-3d8f0a6b1c2d",
  status: "received",
  message: "stored",
  serverTime: undefined,
  serverTimestamp: undefined,
});

export const refused = (key: string | undefined, reason: SignalErrorReason): IngestItemResult =>
  ({
    outcome: "refused",
    idempotencyKey: key ?? "",
    reason,
    message: `[${reason}] no`,
    violations: [{ field: "signal.entry_price", description: "is wrong" }],
    retry: "never",
    retryable: false,
  }) as unknown as IngestItemResult;

export const storeAll: Answer = ({ keys }) => keys.map(stored);
export const failWith = (reason: SignalErrorReason, details = {}): Answer => {
  return () => Promise.reject(new SignalError(reason, "for a test", details));
};

export class Bench {
  readonly time = new ManualTime();
  readonly clock = new OutboxClock(this.time.clock, () => this.time.nowMs);
  readonly queue = new FileQueue(this.clock);
  readonly calls: Call[] = [];
  readonly events: unknown[][] = [];
  readonly worker: DeliveryWorker;
  answer: Answer = storeAll;

  constructor(overrides: Partial<WorkerOptions> = {}) {
    this.worker = new DeliveryWorker({
      queue: this.queue,
      client: {
        ingest: async (signal: SignalInput, options: IngestCallOptions = {}) => {
          const items = [{ signal, idempotencyKey: options.idempotencyKey }];
          const [result] = await this.#call(items, false, options);
          return result as IngestResult;
        },
        ingestBatch: async (items: readonly IngestItem[], options: SignalCallOptions = {}) => {
          return [...(await this.#call(items, true, options))];
        },
      },
      clock: this.clock,
      timers: this.time,
      newBackoff: () =>
        createBackoff({
          jitter: 0,
          retriesMax: Number.POSITIVE_INFINITY,
          budgetMs: Number.POSITIVE_INFINITY,
          isRetryable: () => true,
        }),
      heldDelayMs: () => HELD_DELAY_MS,
      observer: {
        written() {},
        delivered: (count) => this.events.push(["delivered", count]),
        died: ({ entry }, { reason }: Death) => {
          this.events.push(["died", entry.idempotencyKey, reason]);
        },
        waiting: ({ reason }, delayMs) => this.events.push(["waiting", reason, delayMs]),
        held: ({ reason }) => this.events.push(["held", reason]),
        released: () => this.events.push(["released"]),
        failed: (error) => this.events.push(["failed", String(error)]),
      },
      maxBatchSize: 100,
      giveUpAfterMs: 86_400_000,
      timeoutMs: 30_000,
      ...overrides,
    });
  }

  #call(items: readonly IngestItem[], isBatch: boolean, options: SignalCallOptions) {
    const keys = items.map(({ idempotencyKey }) => idempotencyKey);
    const signals = items.map(({ signal }) => signal);
    const call = { keys, signals, isBatch, options, atMs: this.time.nowMs - START_MS };
    this.calls.push(call);
    return this.answer(call);
  }

  async deliver(keys: readonly string[], signal: Partial<SignalInput> = {}): Promise<void> {
    this.queue.add(keys, signal);
    const { expireTime } = signal;
    this.worker.wake(expireTime instanceof Date ? BigInt(expireTime.getTime()) * MS : undefined);
    await settled();
  }

  get deadKeys(): string[] {
    return this.queue.dead.map(({ idempotencyKey }) => idempotencyKey);
  }

  get sentKeys() {
    return this.calls.map(({ keys }) => keys.join());
  }
}
