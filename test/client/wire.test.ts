import { fromBinary, fromJsonString } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import {
  IngestBatchRequestSchema,
  IngestRequestSchema,
} from "../../gen/signals/v1/ingest_service_pb.ts";
import type { SignalClientOptions } from "../../src/client/index.ts";
import { TEST_CERTIFICATE } from "./support/certificate.ts";
import {
  clientTo,
  isSigned,
  SIGNAL_ID,
  startTestServer,
  storedResponse,
} from "./support/ingestServer.ts";
import { NOW, signalInput, tickingClock } from "./support/signals.ts";

const WIRES = [
  { protocol: "connect", codec: "binary", httpVersion: "1.1" },
  { protocol: "connect", codec: "json", httpVersion: "1.1" },
  { protocol: "connect", codec: "binary", httpVersion: "2" },
  { protocol: "connect", codec: "json", httpVersion: "2" },
  { protocol: "grpc", codec: "binary", httpVersion: "2" },
  { protocol: "grpc-web", codec: "binary", httpVersion: "1.1" },
  { protocol: "grpc-web", codec: "binary", httpVersion: "2" },
] as const satisfies Partial<SignalClientOptions>[];

const clientOf: typeof clientTo = (server, options) =>
  clientTo(server, { clock: tickingClock(), ...options });

describe.each(WIRES)("over $protocol $codec HTTP/$httpVersion", (wire) => {
  it("signs exactly the bytes that reach the socket", async () => {
    await using server = await startTestServer({ http: wire.httpVersion });
    await using client = clientOf(server, wire);

    const result = await client.ingest(signalInput(), { idempotencyKey: "key-1" });

    expect(result).toEqual({
      outcome: "stored",
      signalId: SIGNAL_ID,
      status: "received",
      idempotencyKey: "key-1",
      message: "The signal is stored.",
      serverTime: new Date("2025-10-25T14:30:45.123Z"),
      serverTimestamp: "2025-10-25T14:30:45.123456789Z",
    });
    expect(server.requests).toHaveLength(1);
    expect(isSigned(server.last())).toBe(true);
    expect(server.last().path).toBe("/signals.v1.IngestService/Ingest");
    const { message } = server.last();
    const decoded =
      wire.codec === "json"
        ? fromJsonString(IngestRequestSchema, message.toString())
        : fromBinary(IngestRequestSchema, message);
    expect(decoded).toMatchObject({
      idempotencyKey: "key-1",
      signal: { instrument: "GOLD", entryPrice: 4000.5, comment: "Größe: klein €" },
    });
  });

  it("signs a whole batch", async () => {
    await using server = await startTestServer({ http: wire.httpVersion });
    await using client = clientOf(server, wire);

    const items = [{ signal: signalInput() }, { signal: signalInput({ side: "buy" }) }];
    const results = await client.ingestBatch(items);

    expect(results.map(({ outcome }) => outcome)).toEqual(["stored", "stored"]);
    expect(isSigned(server.last(), "/signals.v1.IngestService/IngestBatch")).toBe(true);
  });

  it("gives the same bytes for a payload whatever the order of its keys", async () => {
    await using server = await startTestServer({ http: wire.httpVersion });
    await using client = clientOf(server, wire);
    const payloads = [
      { a: { x: "text", y: [{ c: true, d: null }] }, "9": 2, "10": 1, z: 1 },
      { z: 1, "10": 1, "9": 2, a: { y: [{ d: null, c: true }], x: "text" } },
      { "9": 2, a: { y: [{ c: true, d: null }], x: "text" }, z: 1, "10": 1 },
    ];

    for (const payload of payloads) {
      await client.ingest(signalInput({ payload }), { idempotencyKey: "key-1" });
    }

    const [first, ...others] = server.requests.map(({ message }) => message.toString("hex"));
    expect(others).toEqual([first, first]);
    expect(server.requests.every((request) => isSigned(request))).toBe(true);
  });
});

it("does not sign the prefix that a proxy takes off", async () => {
  await using server = await startTestServer({ prefix: "/trading" });
  await using client = clientOf(server, { serverUrl: `${server.url}/` });

  await client.ingest(signalInput());

  expect(server.last().path).toBe("/trading/signals.v1.IngestService/Ingest");
  expect(isSigned(server.last(), "/signals.v1.IngestService/Ingest")).toBe(true);
});

it("makes a new UUIDv7 for each signal without a key, and tells it", async () => {
  await using server = await startTestServer();
  await using client = clientOf(server);

  const first = await client.ingest(signalInput());
  const second = await client.ingest(signalInput());

  const uuidV7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  expect(first.idempotencyKey).toMatch(uuidV7);
  expect(second.idempotencyKey).toMatch(uuidV7);
  expect(second.idempotencyKey).not.toBe(first.idempotencyKey);
  expect(fromBinary(IngestRequestSchema, server.last().message).idempotencyKey).toBe(
    second.idempotencyKey,
  );
});

it("takes the time of a signal as text, nanoseconds or Date, and now if there is none", async () => {
  await using server = await startTestServer();
  await using client = clientOf(server, { clock: { now: () => NOW } });
  const times = ["2025-10-25T16:30:45.123456789+02:00", NOW, new Date("2025-10-25"), undefined];

  for (const signalTime of times) {
    await client.ingest(signalInput({ signalTime, expireTime: undefined }));
  }

  const sent = server.requests.map(
    ({ message }) => fromBinary(IngestRequestSchema, message).signal?.signalTime,
  );
  expect(sent).toMatchObject([
    { seconds: 1_761_402_645n, nanos: 123_456_789 },
    { seconds: 1_761_402_645n, nanos: 123_456_789 },
    { seconds: 1_761_350_400n, nanos: 0 },
    { seconds: 1_761_402_645n, nanos: 123_456_789 },
  ]);
});

it("tells a duplicate and a mere validation from a new signal", async () => {
  await using server = await startTestServer({
    service: {
      ingest: (request) =>
        request.validateOnly ? storedResponse("") : { ...storedResponse(), duplicate: true },
    },
  });
  await using client = clientOf(server);

  await expect(client.ingest(signalInput())).resolves.toMatchObject({
    outcome: "duplicate",
    signalId: SIGNAL_ID,
  });
  await expect(client.ingest(signalInput(), { validateOnly: true })).resolves.toMatchObject({
    outcome: "valid",
    signalId: undefined,
  });
});

it("gives each item of a batch its key, its flag and its own result", async () => {
  await using server = await startTestServer({
    service: {
      ingestBatch: () => ({
        responses: [
          storedResponse(),
          {
            status: 4,
            message: "The signal is not valid.",
            errors: [
              { reason: "INSTRUMENT_NOT_ALLOWED", field: "signal.instrument", description: "no" },
            ],
          },
          {
            status: 4,
            message: "Busy.",
            errors: [{ reason: "STORE_UNAVAILABLE", field: "", description: "does not answer" }],
          },
          storedResponse(""),
          { status: 4, errors: [{ reason: "FROM_THE_FUTURE", field: "", description: "?" }] },
        ],
      }),
    },
  });
  await using client = clientOf(server);

  const results = await client.ingestBatch([
    { signal: signalInput(), idempotencyKey: "key-0" },
    { signal: signalInput(), idempotencyKey: "key-1" },
    { signal: signalInput() },
    { signal: signalInput(), validateOnly: true },
    { signal: signalInput() },
  ]);

  const sent = fromBinary(IngestBatchRequestSchema, server.last().message).requests;
  expect(results.map(({ idempotencyKey }) => idempotencyKey)).toEqual(
    sent.map(({ idempotencyKey }) => idempotencyKey),
  );
  expect(sent.map(({ validateOnly }) => validateOnly)).toEqual([false, false, false, true, false]);
  expect(results).toMatchObject([
    { outcome: "stored", idempotencyKey: "key-0" },
    {
      outcome: "refused",
      idempotencyKey: "key-1",
      reason: "INSTRUMENT_NOT_ALLOWED",
      retryable: false,
      status: "rejected",
      violations: [{ field: "signal.instrument", description: "no" }],
      message: "The signal is not valid.",
    },
    { outcome: "refused", reason: "STORE_UNAVAILABLE", retryable: true, violations: [] },
    { outcome: "valid" },
    { outcome: "refused", reason: "UNKNOWN", retryable: false },
  ]);
});

it.each(["1.1", "2"] as const)("trusts the certificates it is told to, HTTP/%s", async (http) => {
  await using server = await startTestServer({ http, tls: true });
  await using trusting = clientOf(server, { httpVersion: http, tlsCa: TEST_CERTIFICATE });

  await expect(trusting.ingest(signalInput())).resolves.toMatchObject({ outcome: "stored" });
  expect(server.requests).toHaveLength(1);
});
