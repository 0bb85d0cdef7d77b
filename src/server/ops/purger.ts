/**
 * Deletes old request signatures in the background, for all servers of a database.
 *
 * Each first process asks now and then whether a run is due, and the database gives the run
 * to one of them. A run goes through the table in small steps with pauses between, so that
 * nobody who stores signals notices it, and ends when it is through, when its time is over,
 * or with the server; the next run goes on from there. What fails is told in the log, and
 * the next run tries again.
 */
import type { Timers } from "../../ingest/index.ts";
import type { SignaturePurge } from "../../store/index.ts";

/** What {@link startPurger} is made of. */
export interface PurgerOptions {
  readonly purge: SignaturePurge;
  readonly timers: Timers;
  readonly monotonicMs: () => number;
  /** From 0 up to 1, so that servers that start together do not ask together. */
  readonly random: () => number;
  /** Told of each step that deleted rows. */
  readonly onPurged: (count: number) => void;
  readonly onFailure: (error: unknown) => void;
}

export interface Purger {
  /** Ends the run after the step that is under way, which has a deadline of its own. */
  close(): Promise<void>;
}

/** Time between the starts of two runs, over all servers: what is purged is 24 to 25 hours old. */
const RUN_INTERVAL_MS = 3_600_000;
/** A run ends well before another one may begin, so there is never more than one. */
const RUN_MAX_MS = 1_800_000;
/** How often a server asks, on average. */
const ASK_INTERVAL_MS = 600_000;
/** The first time, so that servers that are restarted often purge, too. */
const FIRST_ASK_MS = 10_000;
/** 1 MiB of the table's file, which holds at most some 10,000 rows: tens of milliseconds. */
const STEP_BLOCKS = 128;
/** At most 10 MiB a second are read, and the pool of a first process is free in between. */
const STEP_PAUSE_MS = 100;

/** Starts it. It never throws. */
export function startPurger(options: PurgerOptions): Purger {
  const { purge, timers, monotonicMs, random, onPurged, onFailure } = options;
  let isClosed = false;
  let running = Promise.resolve();
  let cancel = askAfter(FIRST_ASK_MS);
  let endPause = () => {};

  /** Half of it to one and a half times. */
  function jittered(milliseconds: number): number {
    return milliseconds * (0.5 + random());
  }

  function askAfter(milliseconds: number): () => void {
    return timers.after(jittered(milliseconds), () => {
      running = run()
        .catch(onFailure)
        .then(() => {
          if (!isClosed) cancel = askAfter(ASK_INTERVAL_MS);
        });
    });
  }

  async function run(): Promise<void> {
    const begun = await purge.begin(RUN_INTERVAL_MS);
    if (begun === undefined) return;
    const endMs = monotonicMs() + RUN_MAX_MS;
    // A table that was emptied is shorter than it was.
    let block = begun.nextBlock < begun.blockCount ? begun.nextBlock : 0;
    while (block < begun.blockCount && monotonicMs() < endMs && !isClosed) {
      const count = await purge.deleteFrom(block, block + STEP_BLOCKS);
      if (count > 0) onPurged(count);
      block += STEP_BLOCKS;
      await pause();
    }
    await purge.end(block < begun.blockCount ? block : 0);
  }

  function pause(): Promise<void> {
    if (isClosed) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancelPause = timers.after(jittered(STEP_PAUSE_MS), resolve);
    endPause = () => {
      cancelPause();
      resolve();
    };
    return promise;
  }

  return {
    async close() {
      isClosed = true;
      cancel();
      endPause();
      await running;
    },
  };
}
