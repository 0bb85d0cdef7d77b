import { fileURLToPath } from "node:url";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { describe, expect, it } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { createGrpcSigningInterceptor, SignalError } from "../../src/client/index.ts";
import {
  type IngestRequest,
  IngestRequestSchema,
  type IngestResponse,
  IngestResponseSchema,
} from "../../src/client/proto.ts";
import {
  isSigned,
  PRODUCER_ID,
  SECRET,
  SIGNAL_ID,
  startTestServer,
  type TestServer,
} from "./support/ingestServer.ts";

const sign = createGrpcSigningInterceptor({ producerId: PRODUCER_ID, secret: SECRET });

/** What both kinds of client have in common, as far as these tests go. */
type IngestCall<Request> = (
  request: Request,
  metadata: grpc.Metadata,
  options: grpc.CallOptions,
  callback: (error: grpc.ServiceError | null, response?: { signalId: string }) => void,
) => grpc.ClientUnaryCall;

interface OpenClient<Request> extends Disposable {
  ingest(
    request: Request,
    options?: grpc.CallOptions,
    metadata?: grpc.Metadata,
    onCall?: (call: grpc.ClientUnaryCall) => void,
  ): Promise<{ signalId: string }>;
}

function open<Request>(
  Constructor: grpc.ServiceClientConstructor,
  server: TestServer,
  interceptors: grpc.Interceptor[],
): OpenClient<Request> {
  const address = `127.0.0.1:${server.port}`;
  const client = new Constructor(address, grpc.credentials.createInsecure(), { interceptors });
  const ingest = (client.ingest as IngestCall<Request>).bind(client);
  return {
    ingest: (request, options = {}, metadata = new grpc.Metadata(), onCall = () => {}) =>
      new Promise((resolve, reject) => {
        const call = ingest(request, metadata, options, (error, response) => {
          if (error === null && response !== undefined) resolve(response);
          else reject(error);
        });
        onCall(call);
      }),
    [Symbol.dispose]: () => client.close(),
  };
}

const protobufEs = grpc.makeGenericClientConstructor(
  {
    ingest: {
      path: "/signals.v1.IngestService/Ingest",
      requestStream: false,
      responseStream: false,
      requestSerialize: (message: IngestRequest) =>
        Buffer.from(toBinary(IngestRequestSchema, message)),
      requestDeserialize: (bytes) => fromBinary(IngestRequestSchema, bytes),
      responseSerialize: (message: IngestResponse) =>
        Buffer.from(toBinary(IngestResponseSchema, message)),
      responseDeserialize: (bytes) => fromBinary(IngestResponseSchema, bytes),
    },
  },
  "IngestService",
);

const protoDirectory = fileURLToPath(new URL("../../proto", import.meta.url));
const loaded = grpc.loadPackageDefinition(
  loadSync("signals/v1/ingest_service.proto", { includeDirs: [protoDirectory] }),
) as unknown as { signals: { v1: { IngestService: grpc.ServiceClientConstructor } } };
const protoLoader = loaded.signals.v1.IngestService;

const message = create(IngestRequestSchema, {
  idempotencyKey: "key-1",
  signal: { instrument: "GOLD", payload: { b: 1, a: { "2": "€", "10": null } } },
});

const plain = {
  idempotencyKey: "key-1",
  signal: {
    instrument: "GOLD",
    side: "SIDE_BUY",
    entryPrice: 4000,
    payload: {
      fields: {
        b: { numberValue: 1 },
        a: { structValue: { fields: { "2": { stringValue: "€" }, "10": { nullValue: 0 } } } },
      },
    },
  },
};

/** Holds each message back for a while, as an interceptor that looks something up would. */
function delaying(delayMs: number): grpc.Interceptor {
  return (options, nextCall) =>
    new grpc.InterceptingCall(nextCall(options), {
      sendMessage: (held, next) => {
        setTimeout(() => next(held), delayMs);
      },
    });
}

describe.each([
  ["protobuf-es", protobufEs, message],
  ["proto-loader", protoLoader, plain],
])("with messages of %s", (_name, Constructor, request) => {
  it("signs exactly the bytes that reach the socket, for every call", async () => {
    await using server = await startTestServer({ http: "2" });
    using client = open<unknown>(Constructor, server, [sign]);

    for (let call = 0; call < 3; call++) {
      expect(await client.ingest(request)).toMatchObject({ signalId: SIGNAL_ID });
    }

    expect(server.requests).toHaveLength(3);
    expect(server.requests.every((captured) => isSigned(captured))).toBe(true);
    expect(fromBinary(IngestRequestSchema, server.last().message)).toMatchObject({
      idempotencyKey: "key-1",
      signal: { instrument: "GOLD", payload: { a: { "2": "€", "10": null }, b: 1 } },
    });
  });
});

it("works inside interceptors that take their time", async () => {
  await using server = await startTestServer({ http: "2" });
  using client = open<IngestRequest>(protobufEs, server, [delaying(20), sign]);
  expect(await client.ingest(message)).toMatchObject({ signalId: SIGNAL_ID });
  expect(isSigned(server.last())).toBe(true);
});

it("replaces signature headers, and leaves the caller's metadata as it was", async () => {
  await using server = await startTestServer({ http: "2" });
  using client = open<IngestRequest>(protobufEs, server, [sign]);
  const metadata = new grpc.Metadata();
  metadata.add("x-signature", "mine");
  metadata.add("x-signature", "mine too");
  metadata.set("x-trace", "trace-1");

  await client.ingest(message, {}, metadata);

  expect(isSigned(server.last())).toBe(true);
  expect(server.last().headers["x-trace"]).toBe("trace-1");
  expect(metadata.get("x-signature")).toEqual(["mine", "mine too"]);
  expect(metadata.get("x-timestamp")).toEqual([]);
});

it("sends nothing if the call is cancelled before its message is there", async () => {
  await using server = await startTestServer({ http: "2" });
  using client = open<IngestRequest>(protobufEs, server, [delaying(20), sign]);
  const call = client.ingest(message, {}, undefined, (started) => started.cancel());
  await expect(call).rejects.toMatchObject({ code: grpc.status.CANCELLED });
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(server.requests).toHaveLength(0);
});

it("passes cancellation on once the request is sent", async () => {
  const reached = Promise.withResolvers<void>();
  await using server = await startTestServer({
    http: "2",
    service: {
      ingest: () => {
        reached.resolve();
        return new Promise(() => {});
      },
    },
  });
  using client = open<IngestRequest>(protobufEs, server, [sign]);
  const call = client.ingest(message, {}, undefined, (started) => {
    reached.promise.then(() => started.cancel());
  });
  await expect(call).rejects.toMatchObject({ code: grpc.status.CANCELLED });
});

it("keeps the deadline, also while the message is held back", async () => {
  await using server = await startTestServer({
    http: "2",
    service: { ingest: () => new Promise(() => {}) },
  });
  const expected = { code: grpc.status.DEADLINE_EXCEEDED };
  using waiting = open<IngestRequest>(protobufEs, server, [sign]);
  await expect(waiting.ingest(message, { deadline: Date.now() + 100 })).rejects.toMatchObject(
    expected,
  );
  using held = open<IngestRequest>(protobufEs, server, [delaying(1_500), sign]);
  const startMs = performance.now();
  await expect(
    held.ingest(message, { deadline: new Date(Date.now() + 100) }),
  ).rejects.toMatchObject(expected);
  expect(performance.now() - startMs).toBeLessThan(1_500);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  expect(server.requests).toHaveLength(1);
});

it("fails a message that cannot be serialised, and sends nothing", async () => {
  await using server = await startTestServer({ http: "2" });
  using client = open<unknown>(protoLoader, server, [sign]);
  const call = client.ingest({ signal: 7 });
  await expect(call).rejects.toMatchObject({ code: grpc.status.INTERNAL });
  expect(server.requests).toHaveLength(0);
});

it("leaves the calls of other services alone, and streams too", async () => {
  await using server = await startTestServer({ http: "2" });
  const other = grpc.makeGenericClientConstructor(
    {
      watch: {
        path: "/signals.v1.SignalService/WatchSignals",
        requestStream: false,
        responseStream: true,
        requestSerialize: () => Buffer.alloc(0),
        requestDeserialize: () => ({}),
        responseSerialize: () => Buffer.alloc(0),
        responseDeserialize: () => ({}),
      },
    },
    "SignalService",
  );
  const client = new other(`127.0.0.1:${server.port}`, grpc.credentials.createInsecure(), {
    interceptors: [sign],
  });
  const watch = client.watch as (request: unknown) => grpc.ClientReadableStream<unknown>;
  const code = await new Promise((resolve) =>
    watch
      .call(client, {})
      .on("error", (error: grpc.ServiceError) => resolve(error.code))
      .resume(),
  );
  client.close();
  expect(code).toBe(grpc.status.UNIMPLEMENTED);
  expect(server.last().headers).not.toHaveProperty("x-signature");
});

it("refuses to sign a stream", () => {
  const method_definition = {
    ...protobufEs.service.ingest,
    requestStream: true,
  } as unknown as grpc.InterceptorOptions["method_definition"];
  const call = {} as ReturnType<Parameters<grpc.Interceptor>[1]>;
  expect(() => sign({ method_definition }, () => call)).toThrow("Only unary calls can be signed.");
});

it("turns its errors into SignalErrors, with their details", async () => {
  const info = { reason: "PRODUCER_DISABLED", domain: "signals.v1" };
  await using server = await startTestServer({
    http: "2",
    service: {
      ingest: ({ idempotencyKey }) => {
        const details = [{ desc: ErrorInfoSchema, value: info }];
        throw idempotencyKey === "key-1"
          ? new ConnectError("Größe.", Code.PermissionDenied, { "x-request-id": "r-1" }, details)
          : new ConnectError("Down.", Code.Unavailable);
      },
    },
  });
  using client = open<IngestRequest>(protobufEs, server, [sign]);

  const described = await client.ingest(message).catch((error: unknown) => error);
  expect(SignalError.from(described)).toMatchObject({
    reason: "PRODUCER_DISABLED",
    message: "[PRODUCER_DISABLED] Größe.",
    code: Code.PermissionDenied,
    requestId: "r-1",
    cause: described,
  });
  const other = create(IngestRequestSchema, { ...message, idempotencyKey: "key-2" });
  const bare = await client.ingest(other).catch((error: unknown) => error);
  expect(SignalError.from(bare)).toMatchObject({ reason: "UNREACHABLE", cause: bare });
});
