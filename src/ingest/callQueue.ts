/**
 * The signals that wait to be sent: by whole calls, first in, first out. A call that gives
 * up leaves at once from wherever it stands, so that it takes no room from those behind.
 */
import type { Refusal } from "../signal/index.ts";
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

/** Calls whose signals are queued. */
export class CallQueue {
  readonly #calls = new Set<Call>();
  #signalCount = 0;

  /** How many signals are queued. */
  get signalCount(): number {
    return this.#signalCount;
  }

  /** Queues a call behind those that wait. */
  add(call: Call): void {
    this.#calls.add(call);
    this.#signalCount += call.candidates.length;
  }

  /** Drops a call, if it is still queued. */
  remove(call: Call): void {
    if (this.#calls.delete(call)) this.#signalCount -= call.candidates.length;
  }

  /**
   * Takes the calls that have waited longest, as many as have no more than `maxCount`
   * signals together, but at least one. A call whose time is over gives up instead: a
   * timer that is late must not send what nobody waits for.
   */
  take(maxCount: number, nowMs: number): CallItem[] {
    const taken: CallItem[] = [];
    for (const call of this.#calls) {
      if (call.giveUpMs <= nowMs) {
        this.remove(call);
        call.giveUp();
        continue;
      }
      const isTooMuch = taken.length + call.candidates.length > maxCount;
      if (isTooMuch && taken.length > 0) break;
      this.remove(call);
      for (const index of call.candidates.keys()) taken.push({ call, index });
    }
    return taken;
  }
}
