import type { SignalCandidate, SignalStore, StoreOutcome } from "../../src/ingest/index.ts";
import { SignalRejectedError } from "../../src/ingest/index.ts";
import { settled } from "./manualTimers.ts";
import { MemoryStore } from "./memoryStore.ts";

/** A batch that the store was given and has not answered yet. */
export interface HeldBatch {
  readonly candidates: readonly SignalCandidate[];
  readonly timeoutMs: number;
  /** Stores it by the rules, or rejects it if one of its signals cannot be stored. */
  answer(): Promise<void>;
  /** Answers with whatever is given. */
  answerWith(outcomes: readonly StoreOutcome[]): Promise<void>;
  /** Throws, whatever it is. */
  fail(error: unknown): Promise<void>;
}

/**
 * A store that answers when it is told to. It keeps signals in memory, and cannot take
 * those whose comment is {@link POISON}, nor a batch with one of them.
 */
export class HeldStore implements SignalStore {
  readonly memory = new MemoryStore();
  /** Every batch that it was ever given, in order. */
  readonly batches: HeldBatch[] = [];
  /** The batches that are not answered, in order. */
  readonly inFlight: HeldBatch[] = [];

  ingest(candidates: readonly SignalCandidate[], timeoutMs: number): Promise<StoreOutcome[]> {
    const { promise, resolve, reject } = Promise.withResolvers<StoreOutcome[]>();
    const finish = (end: () => void) => {
      this.inFlight.splice(this.inFlight.indexOf(batch), 1);
      end();
      return settled();
    };
    const batch: HeldBatch = {
      candidates,
      timeoutMs,
      answer: () =>
        finish(() => {
          if (candidates.some(isPoison)) reject(new SignalRejectedError("A signal does not fit"));
          else resolve(this.memory.ingest(candidates, timeoutMs));
        }),
      answerWith: (outcomes) => finish(() => resolve([...outcomes])),
      fail: (error) => finish(() => reject(error)),
    };
    this.batches.push(batch);
    this.inFlight.push(batch);
    return promise;
  }

  /** Answers the batch that has been in flight longest. */
  async answerNext(): Promise<void> {
    const [batch] = this.inFlight;
    if (batch === undefined) throw new Error("Nothing is in flight.");
    await batch.answer();
  }

  /** Answers until nothing is in flight any more. @returns how many batches that took. */
  async answerAll(): Promise<number> {
    const before = this.batches.length - this.inFlight.length;
    while (this.inFlight.length > 0) await this.answerNext();
    return this.batches.length - before;
  }
}

/** The comment of a signal that cannot be stored. */
export const POISON = "poison";

/** Whether {@link HeldStore} cannot take it. */
export function isPoison({ signal }: SignalCandidate): boolean {
  return signal.comment === POISON;
}
