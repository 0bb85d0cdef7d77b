/**
 * What is counted, and where it can be seen: numbers that fit what was sent, labels that
 * no caller can make up, and a port of their own.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { ProducerService } from "../../../gen/signals/v1/producer_service_pb.ts";
import { systemClock } from "../../../src/server/clock.ts";
import { listen } from "../../../src/server/http/listener.ts";
import { createRequestLog } from "../../../src/server/http/requestLog.ts";
import { serveOpsPort } from "../../../src/server/ops/opsPort.ts";
import { REASONS } from "../../../src/signal/index.ts";
import { exchange, rawRequest } from "../../attacks/support/rawHttp1.ts";
import { eventually } from "../../support/eventually.ts";
import { createTestDatabase, holdInserts, runOnServer, silentLog } from "../../support/postgres.ts";
import { startProxy } from "../../support/proxy.ts";
import { fileDatabase } from "../../support/serveFile.ts";
import {
  startTestServer,
  TEST_PRODUCER_ID,
  TEST_SECRET,
  type TestServer,
} from "../../support/server.ts";
import { scrape, scrapeAfter } from "../support/scrape.ts";
import { addTokens, aToken, clientOf, refusalOf } from "../support/tokens.ts";
import { bodies, INGEST_PATH, PROTOCOLS, REST_PATH, sameBytes, send } from "../support/wire.ts";

const database = fileDatabase();

async function startServer(
  overrides: Readonly<Record<string, string | undefined>> = {},
  databaseUrl = database.url,
): Promise<TestServer> {
  const server = await startTestServer(databaseUrl, { OPS_PORT: "0", ...overrides });
  onTestFinished(() => server.close());
  return server;
}

/** A signal like no other in the body of each protocol. */
function freshBodies(key: string = randomUUID()) {
  return bodies({ idempotencyKey: key }, { idempotency_key: key });
}

describe("the numbers", () => {
  test("fit what was sent over each protocol", async () => {
    const server = await startServer();
    const invalid = bodies({ idempotencyKey: "a key" }, { idempotency_key: "a key" });
    for (const protocol of PROTOCOLS) {
      const key = randomUUID();
      for (const bytes of [freshBodies(key), freshBodies(key), freshBodies(), invalid]) {
        await send(server.url, protocol, bytes);
      }
    }
    const sent = 4 * PROTOCOLS.length;
    const { sum, labelValues } = await scrapeAfter(server, sent);

    const all = "countersign_requests_total";
    expect(sum(all)).toBe(sent);
    const rpc = { endpoint: INGEST_PATH };
    expect(sum(all, { ...rpc, protocol: "grpc", outcome: "ok" })).toBe(3);
    expect(sum(all, { ...rpc, protocol: "grpc-web", outcome: "ok" })).toBe(3);
    expect(sum(all, { ...rpc, protocol: "connect", outcome: "ok" })).toBe(6);
    expect(sum(all, { endpoint: REST_PATH, protocol: "rest", outcome: "ok" })).toBe(3);
    expect(sum(all, { outcome: "INVALID_SIGNAL" })).toBe(PROTOCOLS.length);

    const signals = "countersign_signals_total";
    const producer = TEST_PRODUCER_ID;
    expect(sum(signals, { producer, outcome: "stored" })).toBe(2 * PROTOCOLS.length);
    expect(sum(signals, { producer, outcome: "duplicate" })).toBe(PROTOCOLS.length);
    expect(sum(signals, { producer, outcome: "INVALID_SIGNAL" })).toBe(PROTOCOLS.length);
    expect(sum(signals)).toBe(sent);
    expect(labelValues(signals, "producer")).toEqual([producer]);

    expect(sum("countersign_request_duration_seconds_count")).toBe(sent);
    expect(sum("countersign_request_duration_seconds_sum")).toBeGreaterThan(0);
    expect(sum("countersign_batch_signals_sum")).toBe(3 * PROTOCOLS.length);
    expect(sum("countersign_batch_duration_seconds_count")).toBe(
      sum("countersign_batch_signals_count"),
    );
    expect(sum("countersign_batches_in_flight")).toBe(0);
    expect(sum("countersign_queued_signals")).toBe(0);
    expect(sum("countersign_store_failures_total")).toBe(0);
    expect(sum("process_resident_memory_bytes")).toBeGreaterThan(0);
    expect(sum("nodejs_eventloop_lag_p99_seconds")).toBeGreaterThan(0);
  });

  test("tell why senders were not authenticated, more than the senders are told", async () => {
    const server = await startServer();
    const signings = {
      wrong_signature: { secret: "not-the-secret-0000001" },
      unknown_producer: { producerId: "nobody" },
      clock_skew: { timestamp: "2025-10-25T14:30:45Z" },
    };
    for (const signing of Object.values(signings)) {
      await send(server.url, "REST", freshBodies(), { signing });
    }
    await send(server.url, "REST", freshBodies(), { headers: { "x-signature": "AAAA" } });
    const { sum } = await scrapeAfter(server, 4);
    for (const reason of [...Object.keys(signings), "malformed_headers"]) {
      expect(sum("countersign_authentication_failures_total", { reason }), reason).toBe(1);
    }
    expect(sum("countersign_requests_total", { outcome: "UNAUTHENTICATED" })).toBe(3);
    expect(sum("countersign_requests_total", { outcome: "CLOCK_SKEW" })).toBe(1);
    expect(sum("countersign_signals_total")).toBe(0);
  });

  test("tell what waits for the database", async () => {
    const server = await startServer();
    const release = await holdInserts(database.url);
    const answers = [];
    for (let i = 0; i < 5; i++) {
      answers.push(send(server.url, "REST", freshBodies()));
      // Apart, so that the first ones make two batches and the others wait for their end.
      await sleep(100);
    }
    const { sum } = await scrape(server.opsUrl);
    expect(sum("countersign_batches_in_flight")).toBe(2);
    expect(sum("countersign_queued_signals")).toBe(3);
    expect(sum("countersign_database_statements")).toBeGreaterThanOrEqual(2);
    expect(sum("countersign_database_connections")).toBeGreaterThanOrEqual(2);
    await release();
    await Promise.all(answers);
    await eventually("nothing waits", async () => {
      return (await scrape(server.opsUrl)).sum("countersign_database_statements") === 0;
    });
  });

  test("do not count a refusal as a success because gRPC gives it the status 200", async () => {
    const server = await startServer();
    await send(server.url, "gRPC", freshBodies(), { headers: { "grpc-encoding": "gzip" } });
    await send(server.url, "gRPC", freshBodies(), { headers: { "x-signature": "AAAA" } });
    const { sum, labelValues } = await scrapeAfter(server, 2);
    expect(sum("countersign_requests_total", { protocol: "grpc" })).toBe(2);
    expect(labelValues("countersign_requests_total", "outcome").sort()).toEqual([
      "UNAUTHENTICATED",
      "unimplemented",
    ]);
  });

  test("tell of a database that is away, as the readiness does", async () => {
    const proxy = await startProxy(database.url);
    onTestFinished(() => proxy.close());
    const server = await startServer({}, proxy.url);
    expect((await fetch(`${server.opsUrl}/api/v1/ready`)).status).toBe(200);
    proxy.refuse();
    await send(server.url, "REST", freshBodies());
    const { sum } = await scrapeAfter(server, 1);
    expect(sum("countersign_store_failures_total", { reason: "unavailable" })).toBe(1);
    expect(sum("countersign_signals_total", { outcome: "STORE_UNAVAILABLE" })).toBe(1);
    await eventually(
      "it is not ready",
      async () => (await fetch(`${server.opsUrl}/api/v1/ready`)).status === 503,
    );
    expect((await fetch(`${server.opsUrl}/api/v1/health`)).status).toBe(200);
    await proxy.heal();
  });
});

test("the numbers tell that it cannot be read who may do what", async () => {
  const own = await createTestDatabase();
  onTestFinished(() => own.drop());
  const server = await startServer({}, own.url);
  const failures = async () =>
    (await scrape(server.opsUrl)).sum("countersign_access_read_failures_total");
  expect(await failures()).toBe(0);
  await runOnServer(own.url, "ALTER TABLE access_version RENAME TO hidden");
  await eventually("it has failed several times", async () => (await failures()) > 2);
});

describe("no caller makes up a label", () => {
  const MADE_UP = "made-up-by-the-caller";

  test("by a path, a producer id, or a method", async () => {
    const server = await startServer();
    await fetch(`${server.url}/${MADE_UP}`);
    await fetch(`${server.url}${REST_PATH}`, { method: "PATCH" });
    await send(server.url, "REST", freshBodies(), { signing: { producerId: MADE_UP } });
    await send(server.url, "REST", sameBytes(Buffer.from(MADE_UP)));
    const { text, sum, labelValues } = await scrapeAfter(server, 4);
    expect(text).not.toContain(MADE_UP);
    expect(sum("countersign_requests_total", { endpoint: "unknown", outcome: "http_404" })).toBe(1);
    expect(sum("countersign_requests_total", { endpoint: REST_PATH, outcome: "http_405" })).toBe(1);
    for (const outcome of labelValues("countersign_requests_total", "outcome")) {
      expect([...REASONS, "http_404", "http_405"]).toContain(outcome);
    }
  });

  test("without signatures, where a producer may take any name", async () => {
    const server = await startServer({ HMAC_PRODUCER_ENABLED: "false" });
    await send(server.url, "REST", freshBodies(), { signing: { producerId: MADE_UP } });
    await send(server.url, "REST", freshBodies());
    const { text, labelValues, sum } = await scrapeAfter(server, 2);
    expect(text).not.toContain(MADE_UP);
    expect(labelValues("countersign_signals_total", "producer")).toEqual(["", TEST_PRODUCER_ID]);
    expect(sum("countersign_signals_total", { producer: "", outcome: "stored" })).toBe(1);
  });

  test("and no secret shows", async () => {
    const server = await startServer();
    await send(server.url, "REST", freshBodies());
    expect((await scrapeAfter(server, 1)).text).not.toContain(TEST_SECRET);
  });
});

describe("the operations port", () => {
  test("has the metrics in the text format, and health", async () => {
    const server = await startServer();
    const metrics = await fetch(`${server.opsUrl}/metrics`);
    expect(metrics.status).toBe(200);
    expect(metrics.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    for (const path of ["health", "ready", "version"]) {
      expect((await fetch(`${server.opsUrl}/api/v1/${path}`)).status, path).toBe(200);
    }
    expect((await fetch(`${server.opsUrl}/metrics`, { method: "POST" })).status).toBe(405);
    // Looking at the numbers does not change them.
    expect((await scrape(server.opsUrl)).sum("countersign_requests_total")).toBe(0);
  });

  test.each(["1", "2"])("counts calls to its services, with %s processes", async (WORKERS) => {
    const own = aToken();
    await addTokens(database.url, [own]);
    const server = await startServer({ WORKERS });
    await clientOf(ProducerService, server.opsUrl, own).listProducers({});
    for (const token of [aToken(), { text: "no token" }]) {
      await refusalOf(clientOf(ProducerService, server.opsUrl, token).listProducers({}));
    }
    const { sum } = await scrapeAfter(server, 3);
    const all = "countersign_requests_total";
    const endpoint = "/signals.v1.ProducerService/ListProducers";
    expect(sum(all, { endpoint, outcome: "ok" })).toBe(1);
    expect(sum(all, { endpoint, outcome: "UNAUTHENTICATED" })).toBe(2);
    expect(sum(all)).toBe(3);
    expect(sum("countersign_request_duration_seconds_count", { endpoint })).toBe(3);
    const reason = "unknown_token";
    expect(sum("countersign_authentication_failures_total", { reason })).toBe(2);
  });

  test("is on this machine only unless another address is given", async () => {
    const server = await startServer();
    expect(new URL(String(server.opsUrl)).hostname).toBe("127.0.0.1");
  });

  test.each([
    ["localhost:9090", 200],
    ["127.0.0.1:9090", 200],
    ["evil.example:9090", 400],
    ["127.0.0.1.evil.example", 400],
  ])("answers the host %s with %d, so that no web page can read it", async (host, status) => {
    const server = await startServer();
    const request = rawRequest("GET /metrics HTTP/1.1", [["host", host]]);
    const port = Number(new URL(String(server.opsUrl)).port);
    expect((await exchange(port, [request])).status).toBe(status);
  });

  test("answers under any name where it is meant for other machines", async () => {
    const server = await startServer({ OPS_HOST: "0.0.0.0", ALLOW_CLEARTEXT: "true" });
    const request = rawRequest("GET /metrics HTTP/1.1", [["host", "countersign.example:9090"]]);
    const port = Number(new URL(String(server.opsUrl)).port);
    expect((await exchange(port, [request])).status).toBe(200);
  });

  test("shows the end of a server to its last signal", async () => {
    const server = await startServer();
    const release = await holdInserts(database.url);
    const answer = send(server.url, "REST", freshBodies());
    await eventually("the signal is on its way", async () => {
      return (await scrape(server.opsUrl)).sum("countersign_batches_in_flight") === 1;
    });
    expect((await fetch(`${server.opsUrl}/api/v1/ready`)).status).toBe(200);
    const closed = server.close();
    expect((await fetch(`${server.opsUrl}/api/v1/ready`)).status).toBe(503);
    expect((await scrape(server.opsUrl)).sum("countersign_batches_in_flight")).toBe(1);
    await release();
    expect((await answer).httpStatus).toBe(201);
    await closed;
    await expect(fetch(`${server.opsUrl}/metrics`)).rejects.toThrow();
  });

  test("asks for the metrics once for all who want them at the same time", async () => {
    const texts: ((text: string) => void)[] = [];
    const { monotonicMs } = systemClock;
    const onRequest = serveOpsPort({
      metricsText: () => new Promise((resolve) => texts.push(resolve)),
      isReady: async () => true,
      monotonicMs,
      requestLog: createRequestLog({ log: silentLog, monotonicMs }),
      version: "0.0.0",
      services: new Map(),
    });
    const listener = await listen({
      host: "127.0.0.1",
      port: 0,
      tls: undefined,
      onRequest,
      monotonicMs,
    });
    onTestFinished(() => listener.close(0));
    const url = `http://127.0.0.1:${listener.address.port}/metrics`;
    async function textsOf(count: number, text: string): Promise<string[]> {
      const askedBefore = texts.length;
      const answers = Array.from({ length: count }, async () => (await fetch(url)).text());
      await eventually("it is asked", () => texts.length > askedBefore);
      // Time for all of them to come.
      await sleep(200);
      expect(texts).toHaveLength(askedBefore + 1);
      texts.at(-1)?.(text);
      return Promise.all(answers);
    }
    expect(await textsOf(20, "first")).toEqual(Array(20).fill("first"));
    expect(await textsOf(2, "second")).toEqual(Array(2).fill("second"));
  });

  test("takes no signals, and the public port has no metrics", async () => {
    const server = await startServer();
    expect((await fetch(`${server.url}/metrics`)).status).toBe(404);
    const answer = await send(String(server.opsUrl), "REST", freshBodies());
    expect(answer.httpStatus).toBe(404);
  });

  test("can be switched off", async () => {
    const server = await startServer({ OPS_PORT: "off" });
    expect(server.opsUrl).toBeUndefined();
    expect((await send(server.url, "REST", freshBodies())).httpStatus).toBe(201);
  });
});
