/**
 * Notes who was there: which producer signed with which secret, and which token was shown.
 *
 * A request only leaves a name in memory. All names go to the database together, some times a
 * minute, so that no request waits for that and a secret that was never used before is told of
 * soon. How coarse the times are is decided there. What fails is tried again with the next.
 */
import type { Logger } from "pino";
import type { AccessStore } from "../../access/index.ts";
import type { Timers } from "../../ingest/index.ts";

/** What {@link createUseRecorder} is made of. */
export interface UseRecorderOptions {
  readonly store: Pick<AccessStore, "recordUse">;
  readonly timers: Pick<Timers, "after">;
  /** From 0 up to 1, so that servers that start together do not write together. */
  readonly random: () => number;
  /** Told when names cannot be written, and when they can again. */
  readonly log: Pick<Logger, "warn" | "info">;
}

/** Who was there lately. */
export interface UseRecorder {
  seenProducer(producerId: string, secretId: string): void;
  seenToken(tokenId: string): void;
  /** Writes what is left. */
  close(): Promise<void>;
}

/** Half of it to one and a half times. */
const FLUSH_INTERVAL_MS = 10_000;
const FLUSH_TIMEOUT_MS = 5_000;
/** When the server closes, it is not worth more. */
const LAST_FLUSH_TIMEOUT_MS = 1_000;
/** Names of a kind that are kept; more than that wait until these are written. Some MB. */
const NAMES_MAX = 20_000;

/** Starts it. Nothing of it throws. */
export function createUseRecorder(options: UseRecorderOptions): UseRecorder {
  const { store, timers, random, log } = options;
  let producersBySecret = new Map<string, string>();
  let tokens = new Set<string>();
  let isFailing = false;
  let isClosed = false;
  let flushing = Promise.resolve();
  let cancel = flushLater();

  function flushLater(): () => void {
    return timers.after(FLUSH_INTERVAL_MS * (0.5 + random()), () => {
      flushing = flush(FLUSH_TIMEOUT_MS).then(() => {
        if (!isClosed) cancel = flushLater();
      });
    });
  }

  async function flush(timeoutMs: number): Promise<void> {
    if (producersBySecret.size === 0 && tokens.size === 0) return;
    const secrets = producersBySecret;
    const shown = tokens;
    producersBySecret = new Map();
    tokens = new Set();
    try {
      const producerIds = new Set(secrets.values());
      const seen = { producerIds, secretIds: secrets.keys(), tokenIds: shown };
      await store.recordUse(seen, timeoutMs);
      if (isFailing) log.info("who was there lately is written again");
      isFailing = false;
    } catch (error) {
      for (const [secretId, producerId] of secrets) seenProducer(producerId, secretId);
      for (const tokenId of shown) seenToken(tokenId);
      if (!isFailing) log.warn({ err: error }, "who was there lately could not be written");
      isFailing = true;
    }
  }

  function seenProducer(producerId: string, secretId: string): void {
    if (producersBySecret.size < NAMES_MAX) producersBySecret.set(secretId, producerId);
  }

  function seenToken(tokenId: string): void {
    if (tokens.size < NAMES_MAX) tokens.add(tokenId);
  }

  return {
    seenProducer,
    seenToken,
    async close() {
      isClosed = true;
      cancel();
      await flushing;
      await flush(LAST_FLUSH_TIMEOUT_MS);
    },
  };
}
