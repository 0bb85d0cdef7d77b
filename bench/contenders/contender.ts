/** Something that takes signals, as a benchmark sees it. */
import type { Target } from "../load/job.ts";

/** Where a contender finds what it needs. */
export interface Surroundings {
  readonly databaseUrl: string;
  /** A directory for its log. */
  readonly dir: string;
}

/** A contender that takes signals now. */
export interface RunningContender extends AsyncDisposable {
  readonly target: Target;
  /** Its process; `undefined` if it runs within the load generator. */
  readonly pid: number | undefined;
}

/** A way of storing signals. */
export interface Contender {
  readonly name: string;
  start(surroundings: Surroundings): Promise<RunningContender>;
}

/** The producer that signs. */
export const PRODUCER_ID = "bench-bot";
/** Its secret. */
export const SECRET = "secret-of-the-bench-bot-00000001";
