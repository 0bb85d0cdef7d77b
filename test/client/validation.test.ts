import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  createOutbox,
  type IngestItem,
  type SignalClient,
  SignalError,
  type SignalInput,
  silentLogger,
} from "../../src/client/index.ts";
import { clientTo, startTestServer } from "./support/ingestServer.ts";
import { NOW, signalInput } from "./support/signals.ts";

/** Runs a call that must fail before anything is sent, and returns its error. */
async function refusalOf(
  call: (client: SignalClient) => Promise<unknown>,
  maxBodyBytes?: number,
): Promise<SignalError> {
  await using server = await startTestServer();
  await using client = clientTo(server, { maxBodyBytes, clock: { now: () => NOW } });
  const error = await call(client).catch((thrown: unknown) => thrown);
  expect(server.requests).toHaveLength(0);
  if (error instanceof SignalError) return error;
  throw new Error(`This is no SignalError: ${error}`);
}

const fieldsOf = (error: SignalError) => error.violations.map(({ field }) => field);

describe("a signal that breaks rules", () => {
  it("is refused with every wrong field, and nothing is sent", async () => {
    const wrong = {
      instrument: "gold",
      side: "long",
      entryPrice: 0,
      stopLoss: Number.NaN,
      confidence: 1.1,
      riskPercent: 0,
      strategyName: "\n",
      signalTime: "yesterday",
      payload: { price: Number.POSITIVE_INFINITY },
      stopLos: 3990,
    } as unknown as SignalInput;

    const error = await refusalOf((client) =>
      client.ingest(wrong, { idempotencyKey: "with space" }),
    );

    expect(error).toMatchObject({ reason: "INVALID_SIGNAL", retryable: false, code: undefined });
    expect(fieldsOf(error).sort()).toEqual([
      "idempotency_key",
      "signal.confidence",
      "signal.entry_price",
      "signal.instrument",
      "signal.payload",
      "signal.risk_percent",
      "signal.side",
      "signal.signal_time",
      "signal.stopLos",
      "signal.stop_loss",
      "signal.strategy_name",
    ]);
    for (const { field, description } of error.violations) {
      expect(error.message).toContain(`${field} ${description}`);
    }
  });

  it("is refused at the place of each field in a batch", async () => {
    const items: IngestItem[] = [
      { signal: signalInput() },
      { signal: signalInput({ stopLoss: 4001 }) },
      { signal: undefined as unknown as SignalInput },
      { signal: signalInput({ expireTime: NOW - 1n, signalTime: NOW }), idempotencyKey: "" },
      { signal: signalInput(), validateOnly: 1 as unknown as boolean },
    ];

    const error = await refusalOf((client) => client.ingestBatch(items));

    expect(error.reason).toBe("INVALID_SIGNAL");
    expect(fieldsOf(error)).toEqual([
      "requests[1].signal.stop_loss",
      "requests[2].signal",
      "requests[3].signal.expire_time",
      "requests[3].idempotency_key",
      "requests[4].validate_only",
    ]);
  });

  it.each([
    ["a number", 1_761_402_645],
    ["an invalid Date", new Date(Number.NaN)],
    ["null", null],
    ["a date without a time", "2025-10-25"],
    ["ten fraction digits", "2025-10-25T14:30:45.1234567890Z"],
    ["a day that does not exist", "2025-02-30T00:00:00Z"],
  ])("is refused for %s as its time", async (_name, signalTime) => {
    const signal = signalInput({ signalTime: signalTime as unknown as string });
    const error = await refusalOf((client) => client.ingest(signal));
    expect(fieldsOf(error)).toContain("signal.signal_time");
  });

  it("is judged by the client's clock", async () => {
    const tolerance = 300_000_000_000n;
    const signal = signalInput({ signalTime: NOW + tolerance + 1n, expireTime: undefined });
    const error = await refusalOf((client) => client.ingest(signal));
    expect(fieldsOf(error)).toEqual(["signal.signal_time"]);
  });

  it("is PAYLOAD_TOO_LARGE if the payload's size is all that is wrong", async () => {
    const payload = { text: "x".repeat(32_768) };
    const alone = await refusalOf((client) => client.ingest(signalInput({ payload })));
    expect(alone).toMatchObject({ reason: "PAYLOAD_TOO_LARGE", retryable: false });
    expect(fieldsOf(alone)).toEqual(["signal.payload"]);

    const withKey = await refusalOf((client) =>
      client.ingest(signalInput({ payload }), { idempotencyKey: "é" }),
    );
    expect(withKey.reason).toBe("INVALID_SIGNAL");

    const inBatch = await refusalOf((client) =>
      client.ingestBatch([{ signal: signalInput({ payload }) }, { signal: signalInput() }]),
    );
    expect(inBatch.reason).toBe("PAYLOAD_TOO_LARGE");
  });
});

describe("the size of a payload", () => {
  // Besides the text, `{"text":""}`.
  const payloadOf = (bytes: number) => ({ text: "x".repeat(bytes - 11) });
  const tooLarge = { reason: "PAYLOAD_TOO_LARGE", message: expect.stringContaining("40000 bytes") };

  it("is limited as the server's configuration says, in the client and in its outbox", async () => {
    await using server = await startTestServer();
    await using client = clientTo(server, { payloadMaxBytes: 40_000 });
    const directory = await mkdtemp(join(tmpdir(), "countersign-payload-"));
    const outbox = createOutbox({
      path: join(directory, "outbox.db"),
      client,
      logger: silentLogger,
    });
    const [fits, tooMuch] = [40_000, 40_001].map((n) =>
      signalInput({ expireTime: undefined, payload: payloadOf(n) }),
    );

    await expect(client.ingest(fits as SignalInput)).resolves.toMatchObject({ outcome: "stored" });
    await expect(client.ingest(tooMuch as SignalInput)).rejects.toMatchObject(tooLarge);
    await expect(outbox.enqueue(tooMuch as SignalInput)).rejects.toMatchObject(tooLarge);
    await outbox.enqueue(fits as SignalInput);
    expect(await outbox.flush(20_000)).toBe(true);
    await outbox.close();
    await rm(directory, { recursive: true });
    expect(server.requests).toHaveLength(2);
  });
});

describe("the size of a request", () => {
  it("is limited for one signal, to the byte", async () => {
    await using server = await startTestServer();
    const signal = signalInput({ payload: { text: "x".repeat(2_000) } });
    const key = { idempotencyKey: "key-1" };
    await using unlimited = clientTo(server);
    await unlimited.ingest(signal, key);
    const bytes = server.last().message.length;

    await using exact = clientTo(server, { maxBodyBytes: bytes });
    await expect(exact.ingest(signal, key)).resolves.toMatchObject({ outcome: "stored" });

    await using tooSmall = clientTo(server, { maxBodyBytes: bytes - 1 });
    await expect(tooSmall.ingest(signal, key)).rejects.toMatchObject({
      reason: "BODY_TOO_LARGE",
      retryable: false,
    });
    expect(server.requests).toHaveLength(2);
  });

  it("is limited to 1 to 1,000 signals and 4 MiB for a batch", async () => {
    const small = { signal: signalInput({ payload: undefined }) };
    const none = await refusalOf((client) => client.ingestBatch([]));
    expect(fieldsOf(none)).toEqual(["requests"]);
    const many = await refusalOf((client) => client.ingestBatch(Array(1_001).fill(small)));
    expect(fieldsOf(many)).toEqual(["requests"]);

    const large = { signal: signalInput({ payload: { text: "x".repeat(30_000) } }) };
    const heavy = await refusalOf((client) => client.ingestBatch(Array(150).fill(large)));
    expect(heavy.reason).toBe("BODY_TOO_LARGE");

    await using server = await startTestServer();
    await using client = clientTo(server, { maxBodyBytes: 1_024 });
    await expect(client.ingestBatch(Array(1_000).fill(small))).resolves.toHaveLength(1_000);
  });
});

it.each([0, 300_001, 1.5, Number.NaN])(
  "refuses a call with a timeout of %d ms",
  async (timeoutMs) => {
    await using server = await startTestServer();
    await using client = clientTo(server);
    await expect(client.ingest(signalInput(), { timeoutMs })).rejects.toThrow(RangeError);
    expect(server.requests).toHaveLength(0);
  },
);
