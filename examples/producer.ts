/**
 * A bot that hands over one signal with the TypeScript client.
 *
 *   npm exec -- node --env-file=.countersign/producer.env examples/producer.ts
 *
 * The environment says who the bot is and where the server is: PRODUCER_ID,
 * HMAC_PRODUCER_SECRET and OUTBOUND_SERVER_URL.
 */
import { randomUUIDv7 } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
// In a project of your own: from "countersign/client".
import {
  clientOptionsFromEnv,
  createSignalClient,
  type IngestResult,
  type SignalClient,
  SignalError,
  type SignalInput,
} from "../src/client/index.ts";

const ATTEMPTS_MAX = 5;
const FIRST_DELAY_MS = 250;

/**
 * Hands a signal over, and does not give up at the first trouble. The key and the signal
 * are the same in every attempt, so it is stored once however often it arrives; the client
 * signs each attempt anew.
 */
async function deliver(client: SignalClient, signal: SignalInput): Promise<IngestResult> {
  const idempotencyKey = randomUUIDv7();
  for (let attempt = 1; ; attempt++) {
    try {
      return await client.ingest(signal, { idempotencyKey });
    } catch (thrown) {
      const error = SignalError.from(thrown);
      if (!error.retryable || attempt === ATTEMPTS_MAX) throw error;
      console.error(`Attempt ${attempt} failed, trying again: ${error.message}`);
      await sleep(error.retryAfterMs ?? FIRST_DELAY_MS * 2 ** (attempt - 1));
    }
  }
}

try {
  await using client = createSignalClient(clientOptionsFromEnv());
  const result = await deliver(client, {
    instrument: "GOLD",
    side: "buy",
    entryPrice: 2650.5,
    stopLoss: 2640,
    takeProfit: 2680.25,
    confidence: 0.87,
    riskPercent: 1.5,
    strategyName: "breakout-h1",
    reason: "Close above the range",
    // Given once, here: a retry must not become another signal by another time.
    signalTime: new Date(),
    payload: { timeframe: "H1", indicators: { rsi: 61.5 } },
  });
  console.log(`${result.outcome} ${result.signalId ?? ""} ${result.status ?? ""}`);
} catch (error) {
  // The message names every wrong field, or every wrong variable, and never the secret.
  console.error((error as Error).message);
  process.exitCode = 1;
}
