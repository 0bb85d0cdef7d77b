/**
 * Nothing that is handed to the SDK is left out in silence: what it does not know is refused,
 * with the name that was probably meant.
 */
import { describe, expect, it } from "vitest";
import {
  ConfigError,
  createAlerts,
  createBackoff,
  createGrpcSigningInterceptor,
  createOutbox,
  createSignalClient,
  createSigningInterceptor,
  createTelegramSink,
  createWebhookSink,
  type IngestItem,
  SignalError,
  type SignalInput,
  silentLogger,
  withRetry,
} from "../../src/client/index.ts";
import { openOutbox, outboxPath, SIGNAL, unreachable } from "./outbox/support.ts";
import { clientTo, PRODUCER_ID, SECRET, startTestServer } from "./support/ingestServer.ts";
import { INDEX, runProgram } from "./support/program.ts";

const identity = { producerId: PRODUCER_ID, secret: SECRET };

/** Calls with one name that is nearly right, and what it should have been. */
const CALLS: Readonly<Record<string, [(unknown: never) => unknown, string, string]>> = {
  createSignalClient: [createSignalClient, "timeoutMS", "timeoutMs"],
  "createSignalClient's retry": [
    (retry) => createSignalClient({ ...identity, serverUrl: "http://localhost", retry }),
    "retriesmax",
    "retriesMax",
  ],
  createOutbox: [createOutbox, "give_up_after_ms", "giveUpAfterMs"],
  createAlerts: [createAlerts, "interval_ms", "intervalMs"],
  createTelegramSink: [createTelegramSink, "chatid", "chatId"],
  createWebhookSink: [createWebhookSink, "URL", "url"],
  createSigningInterceptor: [createSigningInterceptor, "producerID", "producerId"],
  createGrpcSigningInterceptor: [createGrpcSigningInterceptor, "producer_id", "producerId"],
  createBackoff: [createBackoff, "jiter", "jitter"],
  withRetry: [(options) => withRetry(async () => 1, options), "budget_ms", "budgetMs"],
  "ingest's retry": [(retry) => nobody().ingest(SIGNAL, { retry }), "retries_max", "retriesMax"],
  ingest: [(options) => nobody().ingest(SIGNAL, options), "idempotencykey", "idempotencyKey"],
  "ingest of a client that is switched off": [
    (options) => createSignalClient({ enabled: false }).ingest(SIGNAL, options),
    "idempotency_key",
    "idempotencyKey",
  ],
  ingestBatch: [
    (options) => nobody().ingestBatch([{ signal: SIGNAL }], options),
    "timeout_ms",
    "timeoutMs",
  ],
  enqueue: [
    (options) => openOutbox({ path: outboxPath() }).enqueue(SIGNAL, options),
    "idempotencyKeys",
    "idempotencyKey",
  ],
  close: [(options) => openOutbox({ path: outboxPath() }).close(options), "drainMS", "drainMs"],
};

/** No test needs a server there: what is wrong is refused before anything is sent. */
const nobody = () => clientTo({ url: "http://localhost:1" }, { retry: false });

async function errorOf(call: () => unknown): Promise<unknown> {
  try {
    return await call();
  } catch (thrown) {
    return thrown;
  }
}

describe.each(Object.entries(CALLS))("%s", (_, [call, wrong, meant]) => {
  it("refuses an option that there is not, and says which was meant", async () => {
    const error = await errorOf(() => call({ [wrong]: "text" } as never));
    expect(error).toBeInstanceOf(ConfigError);
    const name = expect.stringMatching(new RegExp(`^(retry\\.)?${wrong}$`));
    const rule = `is not an option (did you mean ${meant}?)`;
    expect((error as ConfigError).problems).toContainEqual({ name, rule });
  });
});

it("sends nothing with an option that is none", async () => {
  await using server = await startTestServer();
  await using client = clientTo(server, { retry: false });
  const misspelt = { idempotencykey: "key-1" } as object;
  await expect(client.ingest(SIGNAL, misspelt)).rejects.toThrow(
    "The call's configuration is wrong: idempotencykey is not an option (did you mean idempotencyKey?).",
  );
  await expect(client.ingest(SIGNAL, "key-1" as never)).rejects.toThrow("must be an object");
  await expect(client.ingestBatch([], null as never)).rejects.toThrow("must be an object");
  expect(server.requests).toHaveLength(0);
});

describe("a signal", () => {
  async function violationsOf(signal: object, call = "ingest"): Promise<object> {
    await using client = nobody();
    const error = await errorOf(() =>
      call === "ingest"
        ? client.ingest(signal as SignalInput)
        : client.ingestBatch([signal as IngestItem]),
    );
    expect(error).toBeInstanceOf(SignalError);
    const { violations } = error as SignalError;
    expect(new Set(violations.map(({ field }) => field)).size).toBe(violations.length);
    return Object.fromEntries(violations.map(({ field, description }) => [field, description]));
  }

  it("with a field of another spelling is told of it once, with the right one", async () => {
    const { entryPrice, ...others } = SIGNAL;
    expect(await violationsOf({ ...others, entry_price: entryPrice, stop_los: 3_990 })).toEqual({
      "signal.entry_price": "is not a field of a signal (did you mean entryPrice?)",
      "signal.stop_los": "is not a field of a signal (did you mean stopLoss?)",
    });
    expect(await violationsOf({ ...others, entry_price: entryPrice, confidence: 2 })).toEqual({
      "signal.entry_price": "is not a field of a signal (did you mean entryPrice?)",
      "signal.confidence": "must be a number from 0 to 1",
    });
  });

  it("with a number as text is told that it is text", async () => {
    const texts = { entryPrice: "1950.5", stopLoss: "1", confidence: "0.5", riskPercent: "" };
    expect(await violationsOf({ ...SIGNAL, ...texts })).toEqual({
      "signal.entry_price": "must be a number above 0 and at most 1000000000000, and not text",
      "signal.stop_loss": "must be a number above 0 and at most 1000000000000, and not text",
      "signal.confidence": "must be a number from 0 to 1, and not text",
      "signal.risk_percent": "must be a number above 0 and at most 100, and not text",
    });
    expect(() => createSignalClient({ ...identity, timeoutMs: "30" } as never)).toThrow(
      "timeoutMs must be a whole number from 1 to 300000, and not text",
    );
    await using client = nobody();
    await expect(client.ingest(SIGNAL, { timeoutMs: "30" as never })).rejects.toThrow("not text");
  });

  it("of a class keeps what its accessors say", async () => {
    class Decision {
      readonly instrument = "GOLD";
      readonly side = "buy";
      readonly entryPrice = 4_000;
      get stopLoss() {
        return 4_001;
      }
    }
    class Item {
      readonly signal = SIGNAL;
      get validateOnly() {
        return "yes";
      }
    }
    const stopLoss = { "signal.stop_loss": expect.any(String) };
    expect(await violationsOf(new Decision())).toEqual(stopLoss);
    expect(await violationsOf(new Item(), "batch")).toEqual({
      "requests[0].validate_only": "must be true or false",
    });
  });

  it("in a batch whose key is misspelt is refused, at its place", async () => {
    expect(await violationsOf({ signal: SIGNAL, idempotency_key: "key" }, "batch")).toEqual({
      "requests[0].idempotency_key": "is not a field of an item (did you mean idempotencyKey?)",
    });
    expect(await violationsOf(SIGNAL, "batch")).toMatchObject({
      "requests[0].signal": "is required",
      "requests[0].side": "is not a field of an item",
    });
  });
});

it.each([
  [{ signal: {} }, "signal must be an AbortSignal"],
  [{ signal: null }, "signal must be an AbortSignal"],
  [{ retryClockSkew: "no" }, "retryClockSkew must be true or false"],
])("refuses a call with %j", async (options, rule) => {
  await using client = nobody();
  const error = await errorOf(() => client.ingest(SIGNAL, options as never));
  expect(error).toBeInstanceOf(ConfigError);
  expect((error as Error).message).toContain(rule);
});

it("gives results that are JSON", async () => {
  await using server = await startTestServer();
  await using client = clientTo(server, { retry: false });
  const off = createSignalClient({ enabled: false });
  const outbox = openOutbox({ path: outboxPath(), client: unreachable });
  const results = [
    await client.ingest(SIGNAL, { idempotencyKey: "key-1" }),
    await client.ingestBatch([{ signal: SIGNAL }]),
    await off.ingest(SIGNAL),
    await outbox.enqueue({ ...SIGNAL, signalTime: 1_761_402_645_123_456_789n }),
    outbox.status(),
  ];
  for (const result of results) expect(() => JSON.stringify(result)).not.toThrow();
  expect(JSON.parse(JSON.stringify(results[0]))).toMatchObject({
    serverTime: "2025-10-25T14:30:45.123Z",
    serverTimestamp: "2025-10-25T14:30:45.123456789Z",
  });
});

it.each([Number.NaN, -1, undefined, "5"])("refuses a wait of %s", async (duration) => {
  const outbox = openOutbox({ path: outboxPath() });
  await expect(outbox.flush(duration as number)).rejects.toThrow(RangeError);
  if (duration === undefined) return;
  await expect(outbox.close({ drainMs: duration as number })).rejects.toThrow(RangeError);
});

describe("a client without a logger", () => {
  /** What a bot writes to standard error whose server is not there, in three calls. */
  async function stderrOf(options: string): Promise<string> {
    const program = `
      import { createSignalClient, silentLogger } from ${INDEX};
      const client = createSignalClient({
        serverUrl: "http://127.0.0.1:1", producerId: "bot", secret: ${JSON.stringify(SECRET)},
        circuitBreaker: false, retry: { baseDelayMs: 1, retriesMax: 2 }, ${options}
      });
      const signal = ${JSON.stringify(SIGNAL)};
      for (let call = 0; call < 3; call++) await client.ingest(signal).catch(() => {});`;
    const { code, stdout, stderr } = await runProgram(program);
    expect([code, stdout]).toEqual([0, ""]);
    return stderr;
  }

  it("tells once on standard error that an attempt is repeated, and no secret", async () => {
    const stderr = await stderrOf("");
    expect(stderr).toMatch(
      /^countersign: an attempt failed and will be repeated at once: \[UNREACHABLE\] .*ECONNREFUSED.*\. .*logger.*\n$/,
    );
    expect(stderr).not.toContain(SECRET);
  });

  it.each(["logger: silentLogger", "retry: false"])("is silent with %s", async (options) => {
    expect(silentLogger).toBeDefined();
    expect(await stderrOf(options)).toBe("");
  });
});
