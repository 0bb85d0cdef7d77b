/** What every scenario works with. */
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BenchPostgres, startPostgres } from "./postgres.ts";
import type { Progress } from "./progress.ts";

/** How long and how often things are measured. */
export interface Pace {
  /** Each contender runs so many times, in turns with the others. */
  readonly rounds: number;
  readonly warmUpMs: number;
  readonly durationMs: number;
  readonly openLoopMs: number;
  readonly pairs: number;
  readonly memoryMs: number;
  readonly microMs: number;
  /** The backlog that an outbox delivers, and what it delivers before the clock starts. */
  readonly drainSignals: number;
  readonly drainWarmUpSignals: number;
  /** Rows in the filled table; 0 skips what needs them. */
  readonly filledRows: number;
}

/** Under ten minutes on two cores. */
export const FULL_PACE: Pace = {
  rounds: 3,
  // V8 has compiled all that is hot only after some seconds of load.
  warmUpMs: 3_000,
  durationMs: 2_000,
  openLoopMs: 3_000,
  pairs: 150,
  memoryMs: 60_000,
  microMs: 500,
  drainSignals: 20_000,
  drainWarmUpSignals: 10_000,
  filledRows: 5_000_000,
};

/** Under a minute, to see that everything works. Its numbers say little. */
export const QUICK_PACE: Pace = {
  rounds: 1,
  warmUpMs: 500,
  durationMs: 2_000,
  openLoopMs: 2_000,
  pairs: 50,
  memoryMs: 4_000,
  microMs: 100,
  drainSignals: 5_000,
  drainWarmUpSignals: 1_000,
  filledRows: 0,
};

/** A place to measure in. */
export interface Lab extends AsyncDisposable {
  /** A directory that is removed in the end. */
  readonly dir: string;
  readonly postgres: BenchPostgres;
  readonly pace: Pace;
  readonly progress: Progress;
  /** Aborted when the user wants no more. */
  readonly signal: AbortSignal;
}

/** Starts the database. Disposing of the lab leaves nothing behind. */
export async function openLab(pace: Pace, progress: Progress, signal: AbortSignal): Promise<Lab> {
  await using parts = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), "countersign-bench-"));
  parts.defer(() => rm(dir, { recursive: true, force: true }));
  // As root, PostgreSQL runs under another account, which has to get in.
  await chmod(dir, 0o711);
  const postgres = parts.use(await startPostgres(dir));
  const moved = parts.move();
  return {
    dir,
    postgres,
    pace,
    progress,
    signal,
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}
