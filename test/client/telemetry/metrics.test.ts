import { Code, ConnectError } from "@connectrpc/connect";
import { Counter, Gauge, register as globalRegistry, Registry } from "prom-client";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createSignalClient } from "../../../src/client/index.ts";
import { REASONS, recordOf } from "../../../src/signal/index.ts";
import {
  clientTo,
  failing,
  failingFirst,
  PRODUCER_ID,
  refusal,
  startTestServer,
  storedResponse,
} from "../support/ingestServer.ts";
import { signalInput } from "../support/signals.ts";

let registry: Registry;
beforeEach(() => {
  registry = new Registry();
});
afterEach(() => {
  expect(globalRegistry.getMetricsAsArray()).toEqual([]);
});

const clientOf: typeof clientTo = (server, options) =>
  clientTo(server, { registry, retry: false, ...options });

const NOBODY = { url: "http://127.0.0.1:1" };

async function scrape(): Promise<string[]> {
  return (await registry.metrics()).split("\n");
}

async function posted(): Promise<string[]> {
  return (await scrape()).filter((line) => line.startsWith("signals_posted_total{"));
}

it("counts and times a success, by these very names, labels and buckets", async () => {
  await using server = await startTestServer();
  await using client = clientOf(server);
  await client.ingest(signalInput());

  const lines = await scrape();

  const who = `producer_id="${PRODUCER_ID}"`;
  expect(lines).toContain(`signals_posted_total{result="success",http_code="200",${who}} 1`);
  expect(lines).toContain("# TYPE signals_posted_total counter");
  expect(lines).toContain("# TYPE signals_posted_duration_seconds histogram");
  expect(lines).toContain("# TYPE signals_post_retries_total counter");
  expect(lines).toContain("# TYPE signals_circuit_state gauge");
  const buckets = lines
    .filter((line) => line.startsWith("signals_posted_duration_seconds_bucket"))
    .map(
      (line) => /^\S+\{le="([^"]+)",result="success",producer_id="test-bot"\} \d+$/.exec(line)?.[1],
    );
  expect(buckets).toEqual(["0.01", "0.05", "0.1", "0.5", "1", "2.5", "5", "+Inf"]);
  expect(lines).toContain(`signals_posted_duration_seconds_count{result="success",${who}} 1`);
});

describe("one signal that is not taken", () => {
  it.each(REASONS.filter((reason) => reason !== "CLOCK_SKEW"))("%s", async (reason) => {
    const error = refusal(reason, { headers: { "x-request-id": "r" } });
    await using server = await startTestServer({ service: failing(error) });
    await using client = clientOf(server);
    await client.ingest(signalInput()).catch(() => {});
    const validation = [
      "MALFORMED_BODY",
      "INVALID_SIGNAL",
      "BODY_TOO_LARGE",
      "PAYLOAD_TOO_LARGE",
    ].includes(reason);
    const other = reason === "DEADLINE_EXCEEDED" ? "timeout" : "failure";
    const result = validation ? "validation_error" : other;
    expect(await posted()).toEqual([
      `signals_posted_total{result="${result}",http_code="${recordOf(reason).httpStatus}",producer_id="test-bot"} 1`,
    ]);
  });

  it("because it breaks a rule, without an answer", async () => {
    await using client = clientOf(NOBODY);
    await client.ingest(signalInput({ instrument: "?" })).catch(() => {});
    expect(await posted()).toEqual([
      'signals_posted_total{result="validation_error",http_code="none",producer_id="test-bot"} 1',
    ]);
  });

  it("because nobody answers, or not in time", async () => {
    await using server = await startTestServer({
      service: { ingest: () => new Promise(() => {}) },
    });
    await using client = clientOf(server);
    await client.ingest(signalInput(), { timeoutMs: 50 }).catch(() => {});
    await using alone = clientOf(NOBODY);
    await alone.ingest(signalInput()).catch(() => {});
    expect((await posted()).sort()).toEqual([
      'signals_posted_total{result="failure",http_code="none",producer_id="test-bot"} 1',
      'signals_posted_total{result="timeout",http_code="none",producer_id="test-bot"} 1',
    ]);
  });
});

it("counts each item of a batch once, by its own result, and a failed batch by all of them", async () => {
  await using server = await startTestServer({
    service: {
      ingestBatch: ({ requests }) => {
        if (requests.length === 2) throw new ConnectError("Away.", Code.Unavailable);
        const errors = [{ reason: "SIGNAL_EXPIRED", field: "", description: "too late" }];
        return { responses: [storedResponse(), { errors }, storedResponse()] };
      },
    },
  });
  await using client = clientOf(server);
  const items = [1, 2, 3].map(() => ({ signal: signalInput() }));
  await client.ingestBatch(items);
  await client.ingestBatch(items.slice(1)).catch(() => {});
  expect((await posted()).sort()).toEqual([
    'signals_posted_total{result="failure",http_code="400",producer_id="test-bot"} 1',
    'signals_posted_total{result="failure",http_code="none",producer_id="test-bot"} 2',
    'signals_posted_total{result="success",http_code="200",producer_id="test-bot"} 2',
  ]);
});

it("counts a signal once however often it was tried, and its retries by reason", async () => {
  const away = new ConnectError("Away.", Code.Unavailable);
  await using server = await startTestServer({ service: failingFirst(away, away) });
  await using client = clientOf(server, { retry: { baseDelayMs: 30, jitter: 0 } });
  await client.ingest(signalInput());
  const lines = await scrape();
  expect(await posted()).toEqual([
    'signals_posted_total{result="success",http_code="200",producer_id="test-bot"} 1',
  ]);
  expect(lines).toContain(
    'signals_post_retries_total{reason="UNREACHABLE",producer_id="test-bot"} 2',
  );
  const sum = lines.find((line) => line.startsWith("signals_posted_duration_seconds_sum"));
  expect(Number(sum?.split(" ")[1])).toBeGreaterThanOrEqual(0.029);
});

it("is shared by all clients of a registry, which differ by their producer", async () => {
  await using server = await startTestServer();
  await using first = clientOf(server);
  await using second = clientOf(server, { producerId: "other-bot" });
  await using third = clientOf(server);
  for (const client of [first, second, third]) await client.ingest(signalInput());
  expect((await posted()).sort()).toEqual([
    'signals_posted_total{result="success",http_code="200",producer_id="other-bot"} 1',
    'signals_posted_total{result="success",http_code="200",producer_id="test-bot"} 2',
  ]);
});

it.each([Counter, Gauge])("says so if a %o of somebody else has one of the names", (Metric) => {
  new Metric({ name: "signals_posted_total", help: "mine", registers: [registry] });
  expect(() => clientOf(NOBODY)).toThrow("signals_posted_total");
});

it("counts nothing for a client that is switched off", async () => {
  await using client = createSignalClient({ enabled: false, registry });
  await client.ingest(signalInput());
  expect(await registry.metrics()).toBe("\n");
});
