/**
 * The signals that wait to be sent: by whole calls, first in, first out. A call that gives
 * up leaves at once from wherever it stands, so that it takes no room from those behind.
 */
import type { Refusal } from "./refusal.ts";
import type { SignalCandidate, StoreOutcome } from "./store.ts";

/** What became of one signal: the store's outcome, or why there is none. */
export type BatchOutcome = StoreOutcome | { readonly kind: "refused"; readonly refusal: Refusal };

/** One signal of a call. */
export interface CallItem {
  readonly call: Call;
  /** Its place among the call's candidates. */
  readonly index: number;
}

/** How a {@link Call} ends. */
export interface CallEnding {
  /** By the monotonic clock, when what is not answered yet is refused. */
  readonly giveUpMs: number;
  /** Why it is refused then. */
  readonly giveUpRefusal: () => Refusal;
  /** Told once, when every signal is answered. */
  readonly onAnswered: (outcomes: BatchOutcome[]) => void;
}

/** The signals of one call, and what is known of each so far. */
export class Call {
  readonly candidates: readonly SignalCandidate[];
  readonly giveUpMs: number;
  readonly #ending: CallEnding;
  readonly #outcomes: (BatchOutcome | undefined)[];
  #unansweredCount: number;

  /** @param candidates at least one. */
  constructor(candidates: readonly SignalCandidate[], ending: CallEnding) {
    this.candidates = candidates;
    this.giveUpMs = ending.giveUpMs;
    this.#ending = ending;
    this.#outcomes = candidates.map(() => undefined);
    this.#unansweredCount = candidates.length;
  }

  /** Whether every signal has its answer. */
  get isAnswered(): boolean {
    return this.#unansweredCount === 0;
  }

  /** Whether one signal has its answer. */
  isAnsweredAt(index: number): boolean {
    return this.#outcomes[index] !== undefined;
  }

  /** Gives one signal its answer; the first one counts. */
  answer(index: number, outcome: BatchOutcome): void {
    if (this.isAnsweredAt(index)) return;
    this.#outcomes[index] = outcome;
    this.#unansweredCount -= 1;
    if (this.isAnswered) this.#ending.onAnswered(this.#outcomes as BatchOutcome[]);
  }

  /** Refuses what has no answer yet. */
  giveUp(): void {
    const outcome: BatchOutcome = { kind: "refused", refusal: this.#ending.giveUpRefusal() };
    for (const index of this.candidates.keys()) this.answer(index, outcome);
  }
}

/** Calls with queued signals. */
export class CallQueue {
  /** The index of the first signal of each call that is still queued. */
  readonly #firstQueued = new Map<Call, number>();
  #signalCount = 0;

  /** How many signals are queued. */
  get signalCount(): number {
    return this.#signalCount;
  }

  /** Queues all signals of a call behind those that wait. */
  add(call: Call): void {
    this.#firstQueued.set(call, 0);
    this.#signalCount += call.candidates.length;
  }

  /** Drops those signals of a call that are still queued, if any are. */
  remove(call: Call): void {
    const first = this.#firstQueued.get(call);
    if (first === undefined) return;
    this.#firstQueued.delete(call);
    this.#signalCount -= call.candidates.length - first;
  }

  /**
   * Takes the signals that have waited longest. A call whose time is over gives up instead:
   * a timer that is late must not send what nobody waits for.
   */
  take(maxCount: number, nowMs: number): CallItem[] {
    const taken: CallItem[] = [];
    for (const [call, first] of this.#firstQueued) {
      if (taken.length === maxCount) break;
      if (call.giveUpMs <= nowMs) {
        this.remove(call);
        call.giveUp();
        continue;
      }
      const end = Math.min(call.candidates.length, first + maxCount - taken.length);
      for (let index = first; index < end; index++) taken.push({ call, index });
      this.#signalCount -= end - first;
      // To set the value of a key leaves it where it stands in the order.
      if (end < call.candidates.length) this.#firstQueued.set(call, end);
      else this.#firstQueued.delete(call);
    }
    return taken;
  }
}
