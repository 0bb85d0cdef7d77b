/**
 * How fast a bot with an outbox delivers what gathered while the server was away. Its
 * argument is one {@link DrainJob}; it prints one {@link DrainReport}.
 */
import { createOutbox, createSignalClient, silentLogger } from "../../src/client/index.ts";
import { PRODUCER_ID, SECRET } from "../contenders/contender.ts";
import { makeSignal } from "../load/signals.ts";
import { signalInput } from "./signalInput.ts";

/** What to deliver, and where to. */
export interface DrainJob {
  readonly url: string;
  readonly outboxFile: string;
  /** How many signals of the backlog warm everything up, before the clock starts. */
  readonly warmUpSignals: number;
  readonly signals: number;
}

/** What came of it. */
export interface DrainReport {
  readonly seconds: number;
}

const DRAIN_TIMEOUT_MS = 120_000;

const job = JSON.parse(process.argv[2] as string) as DrainJob;
await using client = createSignalClient({
  serverUrl: job.url,
  producerId: PRODUCER_ID,
  secret: SECRET,
});
await drain(job.warmUpSignals);
const report: DrainReport = { seconds: await drain(job.signals) };
process.stdout.write(JSON.stringify(report));

/** @returns how long the delivery took, in seconds. */
async function drain(count: number): Promise<number> {
  const path = job.outboxFile;
  // Without a client that sends, the outbox only gathers.
  await using gathering = createOutbox({
    path,
    client: createSignalClient({ enabled: false }),
    logger: silentLogger,
  });
  await Promise.all(
    Array.from({ length: count }, () => {
      const { signal, idempotencyKey } = makeSignal();
      return gathering.enqueue(signalInput(signal), { idempotencyKey });
    }),
  );
  await gathering.close();

  await using outbox = createOutbox({ path, client, logger: silentLogger });
  const startMs = performance.now();
  if (!(await outbox.flush(DRAIN_TIMEOUT_MS))) throw new Error("the outbox was not drained");
  return (performance.now() - startMs) / 1_000;
}
