/** A machine whose clock is wrong, against the real server and against one made up. */
import { fromBinary } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import { describe, expect, it, vi } from "vitest";
import { IngestRequestSchema } from "../../../gen/signals/v1/ingest_service_pb.ts";
import { createSignalClient } from "../../../src/client/index.ts";
import type { Reason } from "../../../src/signal/index.ts";
import { serveFile } from "../../support/serveFile.ts";
import { TEST_PRODUCER_ID, TEST_SECRET } from "../../support/server.ts";
import { openOutbox, outboxPath } from "../outbox/support.ts";
import { clientTo, failingFirst, refusal, startTestServer } from "../support/ingestServer.ts";
import { NOW, signalInput } from "../support/signals.ts";

const MINUTE_NANOS = 60_000_000_000n;

/** The machine's clock, wrong by so many minutes. */
function clockOffBy(minutes: bigint) {
  return { now: () => BigInt(Date.now()) * 1_000_000n + minutes * MINUTE_NANOS };
}

const gold = { instrument: "GOLD", side: "buy", entryPrice: 4000 } as const;

describe("the real server", () => {
  const served = serveFile();

  it.each([10n, -10n, 525_600n])("takes the signals of a clock %s minutes off", async (minutes) => {
    const skews = () =>
      served.server.logLines.filter(({ reason }) => reason === "CLOCK_SKEW").length;
    const before = skews();
    const warn = vi.fn();
    await using client = createSignalClient({
      serverUrl: served.server.url,
      producerId: TEST_PRODUCER_ID,
      secret: TEST_SECRET,
      clock: clockOffBy(minutes),
      retry: false,
      logger: { info() {}, warn, error() {} },
    });

    const first = await client.ingest(gold);
    const second = await client.ingest(gold);
    const batch = await client.ingestBatch([{ signal: gold }]);

    expect([first, second, ...batch].map(({ outcome }) => outcome)).toEqual(
      Array.from({ length: 3 }, () => "stored"),
    );
    expect(skews() - before).toBe(1);
    expect(warn).toHaveBeenCalledTimes(1);
    const [facts, message] = warn.mock.calls[0] ?? [];
    expect(Math.abs(facts.offset_seconds + Number(minutes) * 60)).toBeLessThan(30);
    expect(message).toContain("clock");
  });

  it("takes them from an outbox, too, once the client knows its clock", async () => {
    await using client = createSignalClient({
      serverUrl: served.server.url,
      producerId: TEST_PRODUCER_ID,
      secret: TEST_SECRET,
      clock: clockOffBy(10n),
    });
    await client.ingest(gold);
    await using outbox = openOutbox({ path: outboxPath(), client });
    await outbox.enqueue(gold);
    expect(await outbox.flush(10_000)).toBe(true);
    expect(outbox.status().deadLetters).toBe(0);
  });
});

describe("a server made up", () => {
  function answers(reason: Reason, server_time?: string): ConnectError {
    return refusal(reason, server_time === undefined ? {} : { metadata: { server_time } });
  }

  const SERVER_TIME = "2025-10-25T15:30:45Z";

  /** Answers with these errors in turn, then stores. */
  async function start(...errors: readonly ConnectError[]) {
    const server = await startTestServer({ service: failingFirst(...errors) });
    const sent = () =>
      server.requests.map(({ message }) => fromBinary(IngestRequestSchema, message));
    const stamps = () => server.requests.map(({ headers }) => headers["x-timestamp"]);
    return { server, sent, stamps };
  }

  const clientOf: typeof clientTo = (server, options) =>
    clientTo(server, { clock: { now: () => NOW }, ...options });

  it("gets a corrected signature at once, over the same message if that has a time", async () => {
    const { server, stamps } = await start(answers("CLOCK_SKEW", SERVER_TIME));
    await using _ = server;
    await using client = clientOf(server);
    const signal = signalInput({ expireTime: "2025-10-26T00:00:00Z" });
    await expect(client.ingest(signal)).resolves.toMatchObject({ outcome: "stored" });
    expect(stamps()).toEqual(["2025-10-25T14:30:45.123456789Z", SERVER_TIME]);
    expect(server.requests[1]?.message).toEqual(server.requests[0]?.message);
  });

  it("gets the corrected time for a signal that has none, under the same key", async () => {
    const { server, sent } = await start(answers("CLOCK_SKEW", SERVER_TIME));
    await using _ = server;
    await using client = clientOf(server);
    await client.ingest(gold);
    const [first, second] = sent();
    expect(second?.idempotencyKey).toBe(first?.idempotencyKey);
    expect(first?.signal?.signalTime?.seconds).toBe(1_761_402_645n);
    expect(second?.signal?.signalTime?.seconds).toBe(1_761_406_245n);
  });

  it("gets the same message after an attempt whose fate is not known", async () => {
    const errors = [answers("INTERNAL"), answers("CLOCK_SKEW", SERVER_TIME)];
    const { server } = await start(...errors);
    await using _ = server;
    await using client = clientOf(server, { retry: { baseDelayMs: 1 } });
    await client.ingest(gold);
    const [first, ...others] = server.requests.map(({ message }) => message.toString("hex"));
    expect(others).toEqual([first, first]);
  });

  it("that is never content gets no third attempt", async () => {
    const skewed = Array.from({ length: 9 }, () => answers("CLOCK_SKEW", SERVER_TIME));
    const { server } = await start(...skewed);
    await using _ = server;
    await using client = clientOf(server);
    await expect(client.ingest(gold)).rejects.toMatchObject({ reason: "CLOCK_SKEW" });
    expect(server.requests).toHaveLength(2);
  });

  it("is not followed a second time within one call", async () => {
    const skewed = () => answers("CLOCK_SKEW", SERVER_TIME);
    const { server } = await start(skewed(), answers("INTERNAL"), skewed(), skewed());
    await using _ = server;
    await using client = clientOf(server, { retry: { baseDelayMs: 1 } });
    await expect(client.ingest(gold)).rejects.toMatchObject({ reason: "CLOCK_SKEW" });
    expect(server.requests).toHaveLength(3);
  });

  it.each([
    undefined,
    "soon",
    "1761402645",
    "2025-10-25T14:30:45",
    "2024-12-31T23:59:59Z",
    "2100-01-01T00:00:00Z",
  ])("that says it is %s changes nothing", async (time) => {
    const { server, stamps } = await start(answers("CLOCK_SKEW", time));
    await using _ = server;
    await using client = clientOf(server);
    await expect(client.ingest(gold)).rejects.toMatchObject({ reason: "CLOCK_SKEW" });
    expect(server.requests).toHaveLength(1);
    await client.ingest(gold);
    expect(stamps()[1]).toBe(stamps()[0]);
  });
});
