/**
 * A bot that hands over one signal with the TypeScript client.
 *
 *   npm exec -- node --env-file=.countersign/producer.env examples/producer.ts
 *
 * The environment says who the bot is and where the server is: PRODUCER_ID,
 * HMAC_PRODUCER_SECRET and OUTBOUND_SERVER_URL.
 */
// In a project of your own: from "countersign-client".
import { clientOptionsFromEnv, createSignalClient } from "../src/client/index.ts";

try {
  await using client = createSignalClient({
    ...clientOptionsFromEnv(),
    // An attempt that fails for a passing reason is repeated: the same signal under the same
    // key, so it is stored once however often it arrives, and signed anew each time.
    retry: { baseDelayMs: 250 },
    // Any logger that is like pino. This one tells of retries only.
    logger: { info() {}, warn: (facts, message) => console.error(message, facts), error() {} },
  });
  const result = await client.ingest({
    instrument: "GOLD",
    side: "buy",
    entryPrice: 2650.5,
    stopLoss: 2640,
    takeProfit: 2680.25,
    confidence: 0.87,
    riskPercent: 1.5,
    strategyName: "breakout-h1",
    reason: "Close above the range",
    signalTime: new Date(),
    payload: { timeframe: "H1", indicators: { rsi: 61.5 } },
  });
  console.log(`${result.outcome} ${result.signalId ?? ""} ${result.status ?? ""}`);
} catch (error) {
  // The message names every wrong field, or every wrong variable, and never the secret.
  console.error((error as Error).message);
  process.exitCode = 1;
}
