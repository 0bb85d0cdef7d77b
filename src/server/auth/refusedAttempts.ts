/**
 * Attempts of proven tokens that were refused, on their way into the audit: at most one a
 * minute of each token, action and reason, so that a program that repeats what is refused
 * fills nothing. No answer waits for it.
 */
import type { AccessStore, RefusedAttempt } from "../../access/index.ts";

/** Writes refused attempts. */
export interface RefusedAttempts {
  add(attempt: RefusedAttempt): void;
  /** Waits for those that are being written. */
  close(): Promise<void>;
}

/** What {@link createRefusedAttempts} is made of. */
export interface RefusedAttemptsOptions {
  readonly store: Pick<AccessStore, "addRefusedAttempt">;
  readonly monotonicMs: () => number;
  /** Told of an attempt that could not be written. */
  readonly onFailure: (error: unknown) => void;
}

const INTERVAL_MS = 60_000;
/** Kinds of attempts in one interval, of all tokens together. More are left out of the audit. */
const KINDS_MAX = 1_000;
const TIMEOUT_MS = 5_000;

/** Begins without any. */
export function createRefusedAttempts(options: RefusedAttemptsOptions): RefusedAttempts {
  const { store, monotonicMs, onFailure } = options;
  /** When each kind was last written, the oldest first. */
  const writtenMs = new Map<string, number>();
  const writing = new Set<Promise<void>>();

  function forgetOld(): void {
    for (const [kind, atMs] of writtenMs) {
      if (monotonicMs() - atMs < INTERVAL_MS) return;
      writtenMs.delete(kind);
    }
  }

  return {
    add(attempt) {
      forgetOld();
      const kind = [attempt.actor.tokenId, attempt.action, attempt.reason].join(" ");
      if (writtenMs.has(kind) || writtenMs.size >= KINDS_MAX) return;
      writtenMs.set(kind, monotonicMs());
      const written = store
        .addRefusedAttempt(attempt, TIMEOUT_MS)
        .catch(onFailure)
        .finally(() => writing.delete(written));
      writing.add(written);
    },
    async close() {
      await Promise.all(writing);
    },
  };
}
