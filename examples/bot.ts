/**
 * A bot that keeps each signal on disk until the server has it, with alerts, metrics and a
 * log. docs/producers.md explains it step by step.
 *
 *   npm exec -- node --env-file=.countersign/producer.env examples/bot.ts < prices.ndjson
 *
 * It reads prices from standard input, one JSON object a line, such as
 *
 *   {"time":"2026-11-22T14:49:08Z","instrument":"GOLD","price":2650.5}
 *
 * and ends when the prices end, or at SIGTERM or SIGINT. What is not delivered by then waits
 * in the outbox for the next start.
 *
 * The environment says who the bot is and where the server is: PRODUCER_ID,
 * HMAC_PRODUCER_SECRET and OUTBOUND_SERVER_URL; and perhaps whom to tell:
 * TELEGRAM_BOT_TOKEN with TELEGRAM_CHAT_ID, or ALERT_WEBHOOK_URL. OUTBOX_FILE names the
 * outbox (signals.outbox), METRICS_PORT where Prometheus finds the metrics (9464; 0 takes any
 * free port).
 */
import { once } from "node:events";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { pino } from "pino";
import { Registry } from "prom-client";
// In a project of your own: from "countersign-client".
import {
  alertOptionsFromEnv,
  clientOptionsFromEnv,
  createAlerts,
  createOutbox,
  createSignalClient,
  type SignalInput,
} from "../src/client/index.ts";

const { OUTBOX_FILE = "signals.outbox", METRICS_PORT = "9464" } = process.env;
/** How many prices make a range. */
const RANGE_SIZE = 5;
/** How long a signal is worth executing. */
const LIFETIME_MS = 60_000;
/** How long the bot waits at its end for signals that are still to be delivered. */
const FLUSH_MS = 3_000;

interface Price {
  readonly time: string;
  readonly instrument: string;
  readonly price: number;
}

const logger = pino({ name: "bot" });
const stop = new AbortController();
for (const name of ["SIGTERM", "SIGINT"]) process.once(name, () => stop.abort());

try {
  await run(stop.signal);
} catch (error) {
  // The message names every wrong variable, and never a secret.
  logger.fatal((error as Error).message);
  process.exitCode = 1;
}

async function run(stopSignal: AbortSignal): Promise<void> {
  // Closed in reverse: first the outbox, then its client, and last those who tell people.
  await using parts = new AsyncDisposableStack();
  const registry = new Registry();
  const alerts = createAlerts({ ...alertOptionsFromEnv(), logger });
  parts.defer(() => alerts.close());
  const telemetry = { logger, registry, alerts };
  const client = parts.use(createSignalClient({ ...clientOptionsFromEnv(), ...telemetry }));
  const outbox = parts.use(createOutbox({ path: OUTBOX_FILE, client, ...telemetry }));
  const server = createServer(async (_, response) => {
    response.setHeader("content-type", registry.contentType).end(await registry.metrics());
  });
  parts.defer(() => void server.close().closeAllConnections());
  await once(server.listen(Number(METRICS_PORT), "127.0.0.1"), "listening");
  logger.info({ ...outbox.status(), metrics: server.address() }, "ready");

  const ranges = new Map<string, number[]>();
  for await (const line of createInterface({ input: process.stdin, signal: stopSignal })) {
    const price = parsePrice(line);
    if (price === undefined) continue;
    const signal = decide(price, ranges);
    if (signal === undefined) continue;
    // The key follows from the decision: when the bot decides the same again, because it was
    // killed and reads the same prices, the signal is still stored once.
    const idempotencyKey = `breakout-${price.instrument}-${price.time}`;
    try {
      await outbox.enqueue(signal, { idempotencyKey });
    } catch (error) {
      // It was not taken: it breaks a rule, or the outbox or the disk is full.
      logger.error({ idempotencyKey, err: error }, "the signal was not taken");
      void alerts.sendSignalDeliveryError(signal, error as Error);
    }
  }
  if (await outbox.flush(FLUSH_MS)) return;
  logger.warn(outbox.status(), "signals wait in the outbox for the next start");
}

/** The line as a price; `undefined`, and a line in the log, if it is none. */
function parsePrice(line: string): Price | undefined {
  try {
    return JSON.parse(line) ?? undefined;
  } catch {
    logger.warn({ line: line.slice(0, 200) }, "this line is no price");
    return undefined;
  }
}

/** Buys when a price leaves the range of the last few upwards, and sells when downwards. */
function decide(
  { time, instrument, price }: Price,
  ranges: Map<string, number[]>,
): SignalInput | undefined {
  const range = ranges.get(instrument) ?? [];
  ranges.set(instrument, [...range, price].slice(-RANGE_SIZE));
  const [low, high] = [Math.min(...range), Math.max(...range)];
  if (range.length < RANGE_SIZE || (price >= low && price <= high)) return undefined;
  const isUp = price > high;
  return {
    instrument,
    side: isUp ? "buy" : "sell",
    entryPrice: price,
    stopLoss: isUp ? low : high,
    strategyName: "breakout",
    reason: `The price left the range from ${low} to ${high}.`,
    // Of the price, not of the moment, so that it stays the same if the bot decides again.
    signalTime: time,
    expireTime: new Date(Date.parse(time) + LIFETIME_MS),
  };
}
