/**
 * The same signal over three protocols: gRPC and Connect JSON by the client, REST by
 * hand, as a producer without the client would do it.
 */
import {
  createSignalClient,
  type SignalClientOptions,
  type SignalInput,
} from "../../src/client/index.ts";
import { formatTimestamp, Secret, signatureHeaders } from "../../src/signing/index.ts";

/** What the server said of a signal. */
export interface Receipt {
  readonly signalId: string;
  readonly isDuplicate: boolean;
}

/** One way to send a signal. */
export interface Sender {
  readonly protocol: string;
  send(signal: SignalInput, idempotencyKey: string): Promise<Receipt>;
  close(): Promise<void>;
}

/** A sender for each protocol. */
export function createSenders(options: SignalClientOptions): readonly Sender[] {
  return [
    clientSender("gRPC", { ...options, protocol: "grpc" }),
    clientSender("Connect JSON", { ...options, protocol: "connect", codec: "json" }),
    restSender(options),
  ];
}

function clientSender(protocol: string, options: SignalClientOptions): Sender {
  const client = createSignalClient(options);
  return {
    protocol,
    async send(signal, idempotencyKey) {
      const result = await client.ingest(signal, { idempotencyKey });
      if (result.outcome !== "stored" && result.outcome !== "duplicate") {
        throw new Error(`unexpected outcome: ${result.outcome}`);
      }
      return { signalId: result.signalId, isDuplicate: result.outcome === "duplicate" };
    },
    close: () => client.close(),
  };
}

function restSender({ serverUrl, producerId, secret }: SignalClientOptions): Sender {
  const endpoint = "/api/v1/signals/ingest";
  const key = typeof secret === "string" ? Secret.fromString(secret) : secret;
  return {
    protocol: "REST",
    async send(signal, idempotencyKey) {
      // What is signed are the bytes that are sent, so they are made once.
      const body = Buffer.from(JSON.stringify(restBody(signal, idempotencyKey)));
      const timestamp = formatTimestamp(BigInt(Date.now()) * 1_000_000n);
      const signed = signatureHeaders({ secret: key, producerId, endpoint, body, timestamp });
      const response = await fetch(new URL(endpoint, serverUrl), {
        method: "POST",
        headers: { "content-type": "application/json", ...signed },
        body,
        signal: AbortSignal.timeout(10_000),
      });
      const answer = (await response.json()) as { signal_id: string; detail?: string };
      if (!response.ok) throw new Error(answer.detail);
      return { signalId: answer.signal_id, isDuplicate: response.status === 200 };
    },
    close: async () => undefined,
  };
}

function restBody(signal: SignalInput, idempotencyKey: string): Record<string, unknown> {
  return {
    instrument: signal.instrument,
    side: signal.side,
    entry_price: signal.entryPrice,
    stop_loss: signal.stopLoss,
    take_profit: signal.takeProfit,
    risk_percent: signal.riskPercent,
    strategy_name: signal.strategyName,
    reason: signal.reason,
    signal_time: signal.signalTime,
    payload: signal.payload,
    idempotency_key: idempotencyKey,
  };
}
