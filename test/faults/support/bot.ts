/**
 * A bot as a producer runs it: a process of its own with an outbox, alerts, a log and metrics,
 * configured from the environment. What it decided and what its outbox took goes into a ledger
 * before it goes on, so that whoever kills it knows what was promised. Its orders come as
 * lines of JSON on standard input.
 */
import { writeSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { Registry } from "prom-client";
import {
  alertOptionsFromEnv,
  clientOptionsFromEnv,
  createAlerts,
  createOutbox,
  createSignalClient,
  type SignalInput,
} from "../../../src/client/index.ts";
import type { Decision, EnqueueOrder, LedgerEvent, Order } from "./botLedger.ts";

const LEDGER_FD = 3;
const ALONE = { burst: 1, pauseMs: 0 };
/** Waits short enough that a drill takes seconds, in milliseconds. */
const RETRY = { baseDelayMs: 10, delayMaxMs: 100 };
const CIRCUIT_BREAKER = { failuresMax: 5, halfOpenAfterMs: 50 };

const logger = pino({ name: "bot" }, pino.destination({ fd: 1, sync: true }));
const registry = new Registry();
const alerts = createAlerts({ ...alertOptionsFromEnv(), logger });
const client = createSignalClient({
  ...clientOptionsFromEnv(),
  circuitBreaker: CIRCUIT_BREAKER,
  logger,
  registry,
  alerts,
});
const outbox = createOutbox({
  path: String(process.env.OUTBOX_PATH),
  client,
  timeoutMs: Number(process.env.ATTEMPT_TIMEOUT_MS),
  retry: RETRY,
  logger,
  registry,
  alerts,
});
const metrics = createServer(async (_, response) => {
  response.end(await registry.metrics());
});

/** Written at once and as a whole: what is in the ledger outlives a kill that comes next. */
function note(event: LedgerEvent): void {
  writeSync(LEDGER_FD, `${JSON.stringify(event)}\n`);
}

/** The index is in the price, so that a signal under another one's key would be noticed. */
function signalOf({ index, signalTime, expireTime }: Decision): SignalInput {
  const entryPrice = 1_000 + index;
  return { instrument: "GOLD", side: "buy", entryPrice, signalTime, expireTime };
}

let takenCount = 0;
let dieAfter = Number.POSITIVE_INFINITY;

async function enqueue(decision: Decision): Promise<void> {
  await outbox.enqueue(signalOf(decision), { idempotencyKey: decision.key });
  note({ event: "taken", key: decision.key });
  takenCount += 1;
  // The earliest moment at which a promise can be broken.
  if (takenCount === dieAfter) process.kill(process.pid, "SIGKILL");
}

function decide(index: number, validMs: number | undefined): Decision {
  const now = Date.now();
  const decision = {
    index,
    key: `decision-${index}`,
    signalTime: new Date(now).toISOString(),
    expireTime: validMs === undefined ? undefined : new Date(now + validMs).toISOString(),
  };
  note({ event: "decided", decision });
  return decision;
}

/** Decides one after the other, and enqueues in bursts. */
async function enqueueAll({ from, until, rhythm, validMs }: EnqueueOrder): Promise<void> {
  let index = from;
  for (let turn = 0; index < until; turn++) {
    const { burst, pauseMs } = rhythm[turn % rhythm.length] ?? ALONE;
    const decisions: Decision[] = [];
    for (const end = Math.min(until, index + burst); index < end; index++) {
      decisions.push(decide(index, validMs[index % validMs.length] ?? undefined));
    }
    await Promise.all(decisions.map(enqueue));
    await sleep(pauseMs);
  }
}

async function carryOut(order: Order): Promise<void> {
  if (order.order === "flush") {
    note({ event: "flushed", isEmpty: await outbox.flush(order.timeoutMs) });
    return;
  }
  dieAfter = order.dieAfter ?? Number.POSITIVE_INFINITY;
  for (const decision of order.repeated) await enqueue(decision);
  await enqueueAll(order);
}

metrics.listen(0, "127.0.0.1", () => {
  const { port } = metrics.address() as AddressInfo;
  note({ event: "ready", metricsUrl: `http://127.0.0.1:${port}/metrics` });
});
for await (const line of createInterface({ input: process.stdin }))
  await carryOut(JSON.parse(line));

// The end of its orders is the order to end well.
await outbox.close();
await client.close();
await alerts.close();
metrics.close();
metrics.closeAllConnections();
