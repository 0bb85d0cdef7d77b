/** One run: a fresh database, a fresh contender, a load, and a count of what is on disk. */
import { fileURLToPath } from "node:url";
import { type Contender, PRODUCER_ID, SECRET } from "../contenders/contender.ts";
import type { LoadJob, LoadReport, Plan } from "../load/job.ts";
import { runScript } from "./children.ts";
import type { Lab } from "./lab.ts";
import type { BenchDatabase } from "./postgres.ts";

const LOAD = fileURLToPath(new URL("../load/main.ts", import.meta.url));

/** The rows in the database are not the signals that were acknowledged. */
class LostCountError extends Error {
  override readonly name = "LostCountError";

  constructor(contender: string, acknowledged: number, rows: number) {
    super(`${contender} acknowledged ${acknowledged} signals, but stored ${rows}`);
  }
}

/** What to run. */
export interface Run {
  readonly contender: Contender;
  /** The plan, or how to make it once the database is there. */
  readonly plan: Plan | ((databaseUrl: string) => Plan);
  readonly durationMs: number;
  /** Default: that of the lab's pace. */
  readonly warmUpMs?: number;
}

/** Runs on a fresh, empty database. @throws LostCountError */
export async function measure(lab: Lab, run: Run): Promise<LoadReport> {
  await using database = await lab.postgres.createDatabase();
  return await measureOn(lab, database, run);
}

/** Runs on a database that is there. @throws LostCountError */
export async function measureOn(
  lab: Lab,
  database: BenchDatabase,
  { contender, plan, durationMs, warmUpMs = lab.pace.warmUpMs }: Run,
): Promise<LoadReport> {
  lab.signal.throwIfAborted();
  const databaseUrl = database.url;
  await using running = await contender.start({ databaseUrl, dir: lab.dir });
  await lab.postgres.checkpoint();
  const sequence = await database.lastSequence();
  const job: LoadJob = {
    target: running.target,
    plan: typeof plan === "function" ? plan(databaseUrl) : plan,
    producerId: PRODUCER_ID,
    secret: SECRET,
    warmUpMs,
    durationMs,
    watched: { server: running.pid, postgres: lab.postgres.pid },
  };
  const report = await runScript<LoadReport>(LOAD, [JSON.stringify(job)], lab.signal);
  const rows = await database.rowsAfter(sequence);
  if (rows !== report.acknowledgedInAll) {
    throw new LostCountError(contender.name, report.acknowledgedInAll, rows);
  }
  return report;
}
