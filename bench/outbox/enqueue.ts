/**
 * What taking a signal into the outbox costs, beside one bare SQLite transaction with full
 * sync on the same disk, in turns. Its arguments are a folder and how many turns; it prints
 * one {@link EnqueueReport}.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { createOutbox, createSignalClient, silentLogger } from "../../src/client/index.ts";
import { PRODUCER_ID, SECRET } from "../contenders/contender.ts";
import { makeSignal } from "../load/signals.ts";
import { signalInput } from "./signalInput.ts";

/** How long each took, in milliseconds. */
export interface EnqueueReport {
  readonly enqueueMs: readonly number[];
  /** In SQLite's default journal. */
  readonly transactionMs: readonly number[];
  /** In a write-ahead log. */
  readonly walTransactionMs: readonly number[];
}

/** Nobody listens there: an outbox is for when the server does not answer. */
const NO_SERVER = "http://127.0.0.1:9";
/** What one entry of the outbox takes, about. */
const ROW_BYTES = 400;
const WARM_UP_TURNS = 50;

const [dir = "", turnCount = ""] = process.argv.slice(2);
mkdirSync(dir, { recursive: true });
await using client = createSignalClient({
  serverUrl: NO_SERVER,
  producerId: PRODUCER_ID,
  secret: SECRET,
});
await using outbox = createOutbox({
  path: join(dir, "signals.outbox"),
  client,
  logger: silentLogger,
});
const insert = bareInsert("DELETE");
const insertIntoLog = bareInsert("WAL");

const report = { enqueueMs: [], transactionMs: [], walTransactionMs: [] } as Record<
  keyof EnqueueReport,
  number[]
>;
for (let turn = 0; turn < WARM_UP_TURNS + Number(turnCount); turn++) {
  const { signal, idempotencyKey } = makeSignal();
  const input = signalInput(signal);
  const enqueueMs = await timed(() => outbox.enqueue(input, { idempotencyKey }));
  const transactionMs = await timed(insert);
  const walTransactionMs = await timed(insertIntoLog);
  if (turn < WARM_UP_TURNS) continue;
  report.enqueueMs.push(enqueueMs);
  report.transactionMs.push(transactionMs);
  report.walTransactionMs.push(walTransactionMs);
}
process.stdout.write(JSON.stringify(report satisfies EnqueueReport));

function bareInsert(journal: "DELETE" | "WAL"): () => void {
  const database = new DatabaseSync(join(dir, `bare-${journal}.sqlite`));
  database.exec(`PRAGMA journal_mode = ${journal}; PRAGMA synchronous = FULL;`);
  database.exec("CREATE TABLE rows (id INTEGER PRIMARY KEY, content BLOB NOT NULL) STRICT");
  const statement = database.prepare("INSERT INTO rows (content) VALUES (?)");
  return () => void statement.run(Buffer.alloc(ROW_BYTES, 7));
}

async function timed(work: () => unknown): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}
