import { create, fromBinary, fromJsonString, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import {
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { describe, expect, it } from "vitest";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { createSigningInterceptor } from "../../src/client/index.ts";
import {
  IngestBatchRequestSchema,
  IngestRequestSchema,
  IngestService,
  Side,
} from "../../src/client/proto.ts";
import {
  isSigned,
  PRODUCER_ID,
  SECRET,
  SIGNAL_ID,
  startTestServer,
} from "./support/ingestServer.ts";
import { problemsOf } from "./support/problems.ts";
import { tickingClock } from "./support/signals.ts";

const identity = { producerId: PRODUCER_ID, secret: SECRET };

const request = {
  idempotencyKey: "key-1",
  signal: {
    instrument: "GOLD",
    side: Side.BUY,
    entryPrice: 4000,
    comment: "€",
    payload: { b: 1, a: { d: [{ f: 1, e: 2 }], c: null } },
  },
};

const TRANSPORTS = [
  ["Connect", "1.1", createConnectTransport],
  ["Connect", "2", createConnectTransport],
  ["gRPC-Web", "1.1", createGrpcWebTransport],
  ["gRPC-Web", "2", createGrpcWebTransport],
  ["gRPC", "2", createGrpcTransport],
] as const;

describe.each(TRANSPORTS)(
  "on a %s transport of one's own, HTTP/%s",
  (_name, http, createTransport) => {
    it.each([true, false])("signs what is sent (useBinaryFormat %s)", async (useBinaryFormat) => {
      await using server = await startTestServer({ http });
      const jsonOptions = {
        useProtoFieldName: true,
        enumAsInteger: true,
        alwaysEmitImplicit: true,
      };
      const transport = createTransport({
        baseUrl: server.url,
        httpVersion: http as "2",
        useBinaryFormat,
        jsonOptions,
        interceptors: [createSigningInterceptor({ ...identity, jsonOptions })],
        nodeOptions: {},
        idleConnectionTimeoutMs: 10,
      });

      const response = await createClient(IngestService, transport).ingest(request);

      expect(response.signalId).toBe(SIGNAL_ID);
      expect(isSigned(server.last())).toBe(true);
      const { message } = server.last();
      const text = message.toString();
      if (useBinaryFormat) expect(fromBinary(IngestRequestSchema, message)).toMatchObject(request);
      else expect(fromJsonString(IngestRequestSchema, text)).toMatchObject(request);
      const keys = ["a", "c", "d", "e", "f", "b"].map((key) =>
        text.indexOf(useBinaryFormat ? `\n\u0001${key}` : `"${key}":`),
      );
      expect(keys).toEqual(keys.toSorted((one, other) => one - other));
      expect(keys).not.toContain(-1);
    });
  },
);

function connect(
  baseUrl: string,
  options: Partial<Parameters<typeof createConnectTransport>[0]> = {},
) {
  const interceptors = [createSigningInterceptor(identity)];
  return createConnectTransport({ baseUrl, httpVersion: "1.1", interceptors, ...options } as never);
}

it("keeps to the binary options of the transport", async () => {
  await using server = await startTestServer();
  const unknown = create(IngestRequestSchema, request);
  unknown.$unknown = [{ no: 99, wireType: 0, data: new Uint8Array([1]) }];
  for (const writeUnknownFields of [true, false]) {
    const binaryOptions = { writeUnknownFields };
    const interceptors = [createSigningInterceptor({ ...identity, binaryOptions })];
    const transport = connect(server.url, { binaryOptions, interceptors });
    await createClient(IngestService, transport).ingest(unknown);
    expect(isSigned(server.last())).toBe(true);
  }
  const [withUnknown, without] = server.requests;
  expect(withUnknown?.message.length).toBeGreaterThan(Number(without?.message.length));
});

it.each(TRANSPORTS)(
  "sends what it signed, though the caller changes it meanwhile, on %s and HTTP/%s",
  async (_name, http, createTransport) => {
    await using server = await startTestServer({ http });
    const interceptors = [createSigningInterceptor(identity)];
    const nodeOptions = { baseUrl: server.url, idleConnectionTimeoutMs: 10 };
    const transport = createTransport({ ...nodeOptions, httpVersion: http as "2", interceptors });
    // Without a payload, nothing else would make a copy.
    const { payload: _, ...signal } = request.signal;
    const message = create(IngestRequestSchema, { idempotencyKey: "key-1", signal });
    const call = createClient(IngestService, transport).ingest(message);
    message.idempotencyKey = "the-next";
    await call;
    expect(isSigned(server.last())).toBe(true);
    const { idempotencyKey } = fromBinary(IngestRequestSchema, server.last().message);
    expect(idempotencyKey).toBe("key-1");
  },
);

it("does not change the caller's own message", async () => {
  await using server = await startTestServer();
  const message = create(IngestRequestSchema, request);
  const before = toBinary(IngestRequestSchema, message);
  await createClient(IngestService, connect(server.url)).ingest(message);
  expect(toBinary(IngestRequestSchema, message)).toEqual(before);
});

it("sorts the keys in every item of a batch, and changes none of the caller's own", async () => {
  await using server = await startTestServer();
  const { payload, ...withoutPayload } = request.signal;
  const requests = [{ signal: withoutPayload }, request, { signal: { payload } }];
  const message = create(IngestBatchRequestSchema, { requests });
  const before = toBinary(IngestBatchRequestSchema, message);
  await createClient(IngestService, connect(server.url)).ingestBatch(message);
  expect(isSigned(server.last(), "/signals.v1.IngestService/IngestBatch")).toBe(true);
  const sent = fromBinary(IngestBatchRequestSchema, server.last().message);
  expect(sent).toEqual(message);
  const keysOf = (index: number) => Object.keys(sent.requests[index]?.signal?.payload ?? {});
  expect([0, 1, 2].map(keysOf)).toEqual([[], ["a", "b"], ["a", "b"]]);
  expect(toBinary(IngestBatchRequestSchema, message)).toEqual(before);
});

it("signs each attempt of a retrying interceptor anew", async () => {
  let calls = 0;
  await using server = await startTestServer({
    service: {
      ingest: () => {
        calls += 1;
        if (calls < 3) throw new ConnectError("Busy.", Code.Unavailable);
        return { signalId: SIGNAL_ID };
      },
    },
  });
  const retry: Interceptor = (next) => async (attempt) => {
    for (let remaining = 2; ; remaining--) {
      try {
        return await next(attempt);
      } catch (error) {
        if (remaining === 0) throw error;
      }
    }
  };
  const interceptors = [retry, createSigningInterceptor({ ...identity, clock: tickingClock() })];

  await createClient(IngestService, connect(server.url, { interceptors })).ingest(request);

  expect(server.requests).toHaveLength(3);
  expect(server.requests.every((attempt) => isSigned(attempt))).toBe(true);
  const timestamps = server.requests.map(({ headers }) => headers["x-timestamp"]);
  expect(new Set(timestamps).size).toBe(3);
});

it("replaces signature headers that a caller has set", async () => {
  await using server = await startTestServer();
  const headers = { "x-signature": "mine", "x-timestamp": "mine", "x-producer-id": "mine" };
  await createClient(IngestService, connect(server.url)).ingest(request, { headers });
  expect(isSigned(server.last())).toBe(true);
});

it.each([createConnectTransport, createGrpcWebTransport])(
  "refuses a transport that compresses, even for a small request",
  async (createTransport) => {
    await using server = await startTestServer();
    const transport = createTransport({
      baseUrl: server.url,
      httpVersion: "1.1",
      sendCompression: compressionGzip,
      interceptors: [createSigningInterceptor(identity)],
    });
    const call = createClient(IngestService, transport).ingest(request);
    await expect(call).rejects.toMatchObject({ code: Code.Unimplemented });
    expect(server.requests).toHaveLength(0);
  },
);

it("leaves the calls of other services alone", async () => {
  await using server = await startTestServer();
  const call = createClient(Health, connect(server.url)).check({});
  await expect(call).rejects.toMatchObject({ code: Code.Unimplemented });
  expect(server.last().path).toBe("/grpc.health.v1.Health/Check");
  expect(server.last().headers).not.toHaveProperty("x-signature");
});

it("refuses a wrong producer id and a short secret at once", () => {
  const wrong = { producerId: "-", secret: "short" };
  expect(problemsOf(() => createSigningInterceptor(wrong))).toEqual(["producerId", "secret"]);
});
