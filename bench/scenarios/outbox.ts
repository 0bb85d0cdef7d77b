/** What the outbox costs a bot, and how fast it catches up after an outage. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { countersign } from "../contenders/countersign.ts";
import { runScript } from "../lab/children.ts";
import type { Lab } from "../lab/lab.ts";
import { measure } from "../lab/measure.ts";
import { median } from "../lab/statistics.ts";
import type { DrainJob, DrainReport } from "../outbox/drain.ts";
import type { EnqueueReport } from "../outbox/enqueue.ts";
import { describeLoad, rateOf } from "../report/loadColumns.ts";
import { atLeast, atMost, MILLISECONDS, spread, TIMES, text, WHOLE } from "../report/section.ts";
import { BATCHES } from "./rates.ts";
import type { Scenario } from "./scenario.ts";

const ENQUEUE = fileURLToPath(new URL("../outbox/enqueue.ts", import.meta.url));
const DRAIN = fileURLToPath(new URL("../outbox/drain.ts", import.meta.url));
/** One round of enqueues and one of each rate. */
const STEPS_PER_ROUND = 3;

interface Round {
  readonly enqueueMs: number;
  readonly transactionMs: number;
  readonly walTransactionMs: number;
  /** Signals a second. */
  readonly batchRate: number;
  readonly drainRate: number;
}

/** The scenario. */
export const outbox: Scenario = {
  name: "outbox",
  about: "what the outbox costs, and how fast it delivers a backlog",
  steps: ({ rounds }) => rounds * STEPS_PER_ROUND,
  async run(lab) {
    const rounds: Round[] = [];
    for (let number = 1; number <= lab.pace.rounds; number++) {
      const enqueue = await enqueueTimes(lab, number);
      const rates = {
        batchRate: await batchRate(lab, number),
        drainRate: await drainRate(lab, number),
      };
      rounds.push({ ...enqueue, ...rates });
    }
    const all = (measure: (round: Round) => number) => rounds.map(measure);
    return {
      title: "Outbox",
      head: ["what", "measured"],
      rows: [
        [
          "enqueue, p50",
          spread(
            all(({ enqueueMs }) => enqueueMs),
            MILLISECONDS,
          ),
        ],
        [
          "one bare SQLite transaction with full sync, p50",
          spread(
            all(({ transactionMs }) => transactionMs),
            MILLISECONDS,
          ),
        ],
        [
          "the same in a write-ahead log, p50",
          spread(
            all(({ walTransactionMs }) => walTransactionMs),
            MILLISECONDS,
          ),
        ],
        [
          "batches of 100 × 4, signals a second",
          spread(
            all(({ batchRate }) => batchRate),
            WHOLE,
          ),
        ],
        [
          "draining the outbox, signals a second",
          spread(
            all(({ drainRate }) => drainRate),
            WHOLE,
          ),
        ],
      ],
      notes: [
        "Enqueues and transactions in turns, one at a time, on one disk. The outbox delivers in order, one request after the other; the batches are four at a time.",
      ],
      verdicts: [
        atMost(
          "one enqueue over one SQLite transaction",
          3,
          all((round) => round.enqueueMs / round.transactionMs),
          TIMES,
        ),
        atLeast(
          "draining the outbox over batches of 100",
          0.5,
          all((round) => round.drainRate / round.batchRate),
          TIMES,
        ),
      ],
    };
  },
};

function enqueueTimes(lab: Lab, round: number) {
  return lab.progress.step(
    `enqueue beside bare SQLite, round ${round}`,
    async () => {
      const args = [join(lab.dir, `enqueue-${round}`), String(lab.pace.pairs)];
      const report = await runScript<EnqueueReport>(ENQUEUE, args, lab.signal);
      return {
        enqueueMs: median(report.enqueueMs),
        transactionMs: median(report.transactionMs),
        walTransactionMs: median(report.walTransactionMs),
      };
    },
    ({ enqueueMs, transactionMs }) =>
      `${text(enqueueMs, MILLISECONDS)}, a transaction ${text(transactionMs, MILLISECONDS)}`,
  );
}

async function batchRate(lab: Lab, round: number): Promise<number> {
  const report = await lab.progress.step(
    `batches of 100 × 4: Countersign, round ${round}`,
    () =>
      measure(lab, {
        contender: countersign("grpc"),
        plan: BATCHES,
        durationMs: lab.pace.durationMs,
      }),
    describeLoad,
  );
  return rateOf(report);
}

function drainRate(lab: Lab, round: number): Promise<number> {
  return lab.progress.step(
    `draining the outbox, round ${round}`,
    async () => {
      await using database = await lab.postgres.createDatabase();
      const databaseUrl = database.url;
      await using server = await countersign("json").start({ databaseUrl, dir: lab.dir });
      await lab.postgres.checkpoint();
      if (!("url" in server.target)) throw new Error("the server has no URL");
      const { drainWarmUpSignals: warmUpSignals, drainSignals: signals } = lab.pace;
      const job: DrainJob = {
        url: server.target.url,
        outboxFile: join(lab.dir, `drain-${round}.outbox`),
        warmUpSignals,
        signals,
      };
      const { seconds } = await runScript<DrainReport>(DRAIN, [JSON.stringify(job)], lab.signal);
      const rows = await database.rowsAfter("0");
      if (rows !== warmUpSignals + signals) {
        throw new Error(`The outbox delivered ${rows} of ${warmUpSignals + signals} signals`);
      }
      return signals / seconds;
    },
    (rate) => `${text(rate, WHOLE)} signals/s`,
  );
}
