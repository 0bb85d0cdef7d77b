/**
 * A batch is so many signals under one signature: each is answered by itself, in order.
 */
import { randomUUID } from "node:crypto";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type Client, createClient } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  IngestBatchRequestSchema,
  type IngestRequestSchema,
  type IngestResponse,
  IngestService,
} from "../../gen/signals/v1/ingest_service_pb.ts";
import { SignalStatus } from "../../gen/signals/v1/signal_pb.ts";
import {
  createSignalClient,
  createSigningInterceptor,
  type StoredResult,
} from "../../src/client/index.ts";
import { type Signal, signalToProto } from "../../src/signal/index.ts";
import { TEST_PRODUCER_ID, TEST_SECRET } from "../support/server.ts";
import { validIngestRequest, validSignal } from "../support/signals.ts";
import { INGEST_BATCH_PATH, sendRaw, signed } from "./support/raw.ts";
import { decidedByProducer, interopOfFile, rowOf } from "./support/server.ts";

const IDENTITY = { producerId: TEST_PRODUCER_ID, secret: TEST_SECRET };
const interceptors = [createSigningInterceptor(IDENTITY)];

const interop = interopOfFile();
let sessions: Http2SessionManager;
beforeAll(() => {
  sessions = new Http2SessionManager(interop.url);
});
afterAll(() => sessions.abort());

/** The generated client, which sends what the SDK's own would refuse. */
function generatedClient(protocol: "grpc" | "connect json"): Client<typeof IngestService> {
  const common = { baseUrl: interop.url, interceptors };
  return createClient(
    IngestService,
    protocol === "grpc"
      ? createGrpcTransport({ ...common, sessionManager: sessions })
      : createConnectTransport({ ...common, httpVersion: "1.1", useBinaryFormat: false }),
  );
}

/** Signals that can be told apart. */
function numbered(count: number): Signal[] {
  return Array.from({ length: count }, (_, index) =>
    validSignal({ comment: `number ${index}`, payload: { index } }),
  );
}

function itemOf(
  signal: Signal,
  others: Omit<MessageInitShape<typeof IngestRequestSchema>, "$typeName" | "signal"> = {},
) {
  return { signal: signalToProto(signal), ...others };
}

async function rowOfResponse({ signalId }: IngestResponse) {
  return decidedByProducer(await interop.store.findSignal(signalId));
}

describe.each(["grpc", "connect json"] as const)("over %s", (protocol) => {
  it("stores 1,000 signals once, in order", async () => {
    const signals = numbered(1_000);
    const run = randomUUID();
    const keys = signals.map((_, index) => `${run}-${index}`);
    const requests = signals.map((signal, index) =>
      itemOf(signal, { idempotencyKey: keys[index] as string }),
    );

    const first = await generatedClient(protocol).ingestBatch({ requests });
    const second = await generatedClient(protocol).ingestBatch({ requests });

    expect(first.responses).toHaveLength(1_000);
    expect(first.responses.every(({ duplicate }) => !duplicate)).toBe(true);
    expect(second.responses.every(({ duplicate }) => duplicate)).toBe(true);
    const ids = first.responses.map(({ signalId }) => signalId);
    expect(second.responses.map(({ signalId }) => signalId)).toEqual(ids);
    const rows = (await interop.all()).filter(({ idempotencyKey }) =>
      idempotencyKey?.startsWith(run),
    );
    expect(rows.map(({ signalId }) => signalId)).toEqual(ids);
    expect(rows.map(decidedByProducer)).toEqual(
      signals.map((signal, index) => rowOf(signal, { idempotencyKey: keys[index] })),
    );
  });

  it("refuses 1,001 signals, and none", async () => {
    const before = await interop.all();
    const requests = numbered(1_001).map((signal) => itemOf(signal));

    for (const wrong of [requests, []]) {
      const call = generatedClient(protocol).ingestBatch({ requests: wrong });
      await expect(call).rejects.toMatchObject({ code: 3 });
    }
    expect(await interop.all()).toEqual(before);
  });

  it("stores the neighbours of invalid items, and names every fault", async () => {
    const [good, other] = numbered(2) as [Signal, Signal];
    const key = randomUUID();
    const wrongStop = signalToProto(validSignal({ stopLoss: 2_700 }));
    wrongStop.instrument = "gold";
    const expired = validSignal({ expireTime: good.signalTime + 1n });

    const { responses } = await generatedClient(protocol).ingestBatch({
      requests: [
        itemOf(good),
        { signal: wrongStop, idempotencyKey: key },
        {},
        itemOf(good, { idempotencyKey: "two words" }),
        itemOf(expired),
        itemOf(other, { idempotencyKey: key }),
        itemOf(good, { validateOnly: true }),
        itemOf(good, { idempotencyKey: key }),
      ],
    });

    const { RECEIVED, REJECTED } = SignalStatus;
    expect(responses.map(({ status }) => status)).toEqual([
      RECEIVED,
      REJECTED,
      REJECTED,
      REJECTED,
      REJECTED,
      RECEIVED,
      RECEIVED,
      REJECTED,
    ]);
    const faults = responses.map(({ errors }) =>
      errors.map(({ reason, field }) => `${reason} ${field}`).sort(),
    );
    expect(faults).toEqual([
      [],
      ["INVALID_SIGNAL signal.instrument", "INVALID_SIGNAL signal.stop_loss"],
      ["INVALID_SIGNAL signal"],
      ["INVALID_SIGNAL idempotency_key"],
      ["SIGNAL_EXPIRED signal.expire_time"],
      [],
      [],
      ["IDEMPOTENCY_KEY_REUSED "],
    ]);
    const ids = responses.map(({ signalId }) => signalId !== "");
    expect(ids).toEqual([true, false, false, false, false, true, false, false]);
    expect(responses.every(({ message }) => message !== "")).toBe(true);
    expect(await rowOfResponse(responses[0] as IngestResponse)).toEqual(rowOf(good));
    expect(await rowOfResponse(responses[5] as IngestResponse)).toEqual(
      rowOf(other, { idempotencyKey: key }),
    );
  });

  it("stores one of two items under one key", async () => {
    const [signal] = numbered(1) as [Signal];
    const item = itemOf(signal, { idempotencyKey: randomUUID() });

    const { responses } = await generatedClient(protocol).ingestBatch({ requests: [item, item] });

    expect(responses.map(({ duplicate }) => duplicate)).toEqual([false, true]);
    expect(responses[1]?.signalId).toBe(responses[0]?.signalId);
  });
});

it.each([
  ["the batch", (surplus: Uint8Array) => surplus],
  ["an item", (surplus: Uint8Array) => delimited(1, surplus)],
])("refuses a field number that is not defined in %s, and stores nothing", async (_, place) => {
  const before = await interop.all();
  const batch = create(IngestBatchRequestSchema, { requests: [validIngestRequest()] });
  const surplus = new BinaryWriter().tag(99, WireType.Varint).uint32(1).finish();
  const body = Buffer.concat([toBinary(IngestBatchRequestSchema, batch), place(surplus)]);

  const answer = await sendRaw(interop.url, signed(INGEST_BATCH_PATH, body, "application/proto"));

  expect(answer.status).toBe(400);
  expect(Buffer.from(answer.body).toString()).toContain("MALFORMED_BODY");
  expect(await interop.all()).toEqual(before);
});

function delimited(field: number, bytes: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(field, WireType.LengthDelimited).bytes(bytes).finish();
}

it("knows an item again that comes alone, and one that came alone", async () => {
  await using client = createSignalClient({ serverUrl: interop.url, ...IDENTITY });
  const [first, second] = numbered(2) as [Signal, Signal];
  const [inBatch, alone] = [randomUUID(), randomUUID()];

  const before = await client.ingest(second, { idempotencyKey: alone });
  const results = await client.ingestBatch([
    { signal: first, idempotencyKey: inBatch },
    { signal: second, idempotencyKey: alone },
  ]);
  const after = await client.ingest(first, { idempotencyKey: inBatch });

  expect(results.map(({ outcome }) => outcome)).toEqual(["stored", "duplicate"]);
  expect((results[1] as StoredResult).signalId).toBe(before.signalId);
  expect(after).toMatchObject({ outcome: "duplicate", signalId: results[0]?.signalId });
});
