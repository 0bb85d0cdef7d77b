/**
 * A stream of sends by several producers at once, for faults to fall into.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { nextSent, type Sent } from "./ledger.ts";
import type { Outcome, Sender } from "./senders.ts";

/** Sends on and on, until it is stopped or the server is gone. */
export interface Stream {
  /** Everything that was sent, in the order in which it was begun. */
  readonly sent: readonly Sent[];
  /** The reasons of the attempts that the server refused. */
  readonly refusals: readonly string[];
  /** Resolves when so many sends were begun. @throws Error if the stream ends before. */
  begun(count: number): Promise<void>;
  /** Begins no more sends, and resolves when the last one has its outcome. */
  stop(): Promise<void>;
  /** Resolves when every lane has ended by itself, because the server was gone. */
  readonly ended: Promise<void>;
}

/** How the stream treats a send that no server answered. */
export interface StreamOptions {
  /** How many sends of one producer are in flight at a time. */
  readonly lanesPerSender: number;
  /** How many milliseconds a lane rests between two sends. Default 0. */
  readonly pauseMs?: number;
}

/** Starts to send. */
export function streamSignals(senders: readonly Sender[], options: StreamOptions): Stream {
  const sent: Sent[] = [];
  const refusals: string[] = [];
  const waiters = new Set<{ readonly count: number; readonly resolve: () => void }>();
  let isStopped = false;

  async function sendOne(sender: Sender): Promise<boolean> {
    const item = nextSent();
    sent.push(item);
    for (const waiter of waiters) {
      if (sent.length >= waiter.count) waiter.resolve();
    }
    const outcome = await attempt(item, sender);
    if (outcome.kind === "refused") refusals.push(outcome.reason);
    return outcome.kind !== "unanswered";
  }

  async function lane(sender: Sender): Promise<void> {
    while (!isStopped) {
      const isAnswered = await sendOne(sender);
      if (!isAnswered) return;
      if (options.pauseMs !== undefined) await sleep(options.pauseMs);
    }
  }

  const lanes = senders.flatMap((sender) =>
    Array.from({ length: options.lanesPerSender }, () => lane(sender)),
  );
  const ended = Promise.all(lanes).then(() => undefined);

  return {
    sent,
    refusals,
    ended,
    async begun(count) {
      if (sent.length >= count) return;
      const reached = new Promise<void>((resolve) => waiters.add({ count, resolve }));
      const isReached = await Promise.race([
        reached.then(() => true),
        ended.then(() => sent.length >= count),
      ]);
      if (!isReached) throw new Error(`The stream ended after ${sent.length} sends.`);
    },
    async stop() {
      isStopped = true;
      await ended;
    },
  };
}

/** Makes one attempt, and keeps what is promised. */
export async function attempt(item: Sent, sender: Sender): Promise<Outcome> {
  const outcome = await sender.send(item.key, item.signal);
  if (outcome.kind === "acknowledged") item.acknowledgedId = outcome.signalId;
  return outcome;
}

/** Sends a new signal by each sender, all at once. */
export function sendOneEach(senders: readonly Sender[]) {
  const pairs = senders.map((sender) => [nextSent(), sender] as const);
  return {
    sent: pairs.map(([item]) => item),
    outcomes: Promise.all(pairs.map(([item, sender]) => attempt(item, sender))),
  };
}

const REDELIVERY_TIMEOUT_MS = 20_000;
const REDELIVERY_INTERVAL_MS = 100;

/**
 * Sends each again under its own key until it is acknowledged, as a producer does.
 *
 * @throws Error if one is refused for good, or not acknowledged in time.
 */
export async function deliver(sent: readonly Sent[], senders: readonly Sender[]): Promise<void> {
  const deadlineMs = performance.now() + REDELIVERY_TIMEOUT_MS;
  await Promise.all(
    sent.map((item, index) => deliverOne(item, senders[index % senders.length], deadlineMs)),
  );
}

async function deliverOne(
  item: Sent,
  sender: Sender | undefined,
  deadlineMs: number,
): Promise<void> {
  if (sender === undefined) throw new Error("There is nobody to send.");
  for (;;) {
    const outcome = await attempt(item, sender);
    if (outcome.kind === "acknowledged") return;
    const isRetryable = outcome.kind === "unanswered" || outcome.reason === "STORE_UNAVAILABLE";
    if (!isRetryable || performance.now() > deadlineMs) {
      throw new Error(`${item.key} was not delivered: ${JSON.stringify(outcome)}`);
    }
    await sleep(REDELIVERY_INTERVAL_MS);
  }
}
