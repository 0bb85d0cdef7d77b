/**
 * A client of `@grpc/grpc-js` whose messages are made by protobuf.js from the `.proto`
 * files: another serialiser, another HTTP/2 client, no generated code.
 */
import { createHash, createHmac } from "node:crypto";
import { join } from "node:path";
import {
  Client,
  credentials,
  type Interceptor,
  loadPackageDefinition,
  Metadata,
  type ServiceClientConstructor,
  type ServiceError,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { createGrpcSigningInterceptor } from "../../../src/client/index.ts";
import type {
  Instant,
  JsonObject,
  JsonValue,
  Signal,
  SignalStatus,
} from "../../../src/signal/index.ts";
import { TEST_PRODUCER_ID, TEST_SECRET } from "../../support/server.ts";
import { ROOT } from "./command.ts";
import type { Reply, Send } from "./reply.ts";

const definition = loadSync("signals/v1/ingest_service.proto", {
  includeDirs: [join(ROOT, "proto")],
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});
const IngestService = (
  loadPackageDefinition(definition) as unknown as {
    readonly signals: { readonly v1: { readonly IngestService: ServiceClientConstructor } };
  }
).signals.v1.IngestService;
const INGEST = IngestService.service.Ingest;
if (INGEST === undefined) throw new Error("The service has no method Ingest.");
const { path, requestSerialize, responseDeserialize } = INGEST;

/** The answer as protobuf.js decodes it. */
interface GrpcJsResponse {
  readonly signalId: string;
  readonly status: string;
  readonly serverTimestamp: { readonly seconds: string; readonly nanos: number };
  readonly message: string;
  readonly errors: readonly unknown[];
  readonly duplicate: boolean;
}

/** Signs by the SDK's interceptor. */
export const grpcJsWithInterceptor: Send = (serverUrl, signal, key) => {
  const identity = { producerId: TEST_PRODUCER_ID, secret: TEST_SECRET };
  const interceptor = createGrpcSigningInterceptor(identity);
  return call(serverUrl, grpcJsRequest(signal, key), new Metadata(), [interceptor]);
};

/** Signs with nothing but `node:crypto`, as `docs/signing.md` tells it. */
export const grpcJsByHand: Send = (serverUrl, signal, key) => {
  const request = grpcJsRequest(signal, key);
  const body = requestSerialize(request);
  const timestamp = new Date().toISOString();
  const stringToSign = [
    "METHOD:POST",
    `ENDPOINT:${path}`,
    `TIMESTAMP:${timestamp}`,
    `PRODUCER_ID:${TEST_PRODUCER_ID}`,
    `BODY_SHA256:${createHash("sha256").update(body).digest("base64")}`,
  ].join("\n");
  const metadata = new Metadata();
  metadata.set("x-producer-id", TEST_PRODUCER_ID);
  metadata.set("x-timestamp", timestamp);
  metadata.set(
    "x-signature",
    createHmac("sha256", TEST_SECRET).update(stringToSign).digest("base64"),
  );
  return call(serverUrl, request, metadata, []);
};

function call(
  serverUrl: string,
  request: object,
  metadata: Metadata,
  interceptors: Interceptor[],
): Promise<Reply> {
  const client = new Client(new URL(serverUrl).host, credentials.createInsecure());
  return new Promise<Reply>((resolve, reject) => {
    const options = { interceptors, deadline: Date.now() + 20_000 };
    client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      metadata,
      options,
      (error: ServiceError | null, response?: GrpcJsResponse) => {
        if (error !== null) reject(error);
        else resolve(replyOf(response as GrpcJsResponse));
      },
    );
  }).finally(() => client.close());
}

function replyOf(response: GrpcJsResponse): Reply {
  const { seconds, nanos } = response.serverTimestamp;
  return {
    signalId: response.signalId,
    status: response.status.replace("SIGNAL_STATUS_", "").toLowerCase() as SignalStatus,
    serverTime: BigInt(seconds) * 1_000_000_000n + BigInt(nanos),
    message: response.message,
    duplicate: response.duplicate,
    errorCount: response.errors.length,
  };
}

function grpcJsRequest(signal: Signal, idempotencyKey: string): object {
  const { side, signalTime, expireTime, payload, ...others } = signal;
  return {
    signal: {
      ...others,
      side: side === "buy" ? "SIDE_BUY" : "SIDE_SELL",
      signalTime: timestampOf(signalTime),
      expireTime: expireTime && timestampOf(expireTime),
      payload: payload && structOf(payload),
    },
    idempotencyKey,
  };
}

function timestampOf(instant: Instant): object {
  return { seconds: `${instant / 1_000_000_000n}`, nanos: Number(instant % 1_000_000_000n) };
}

/** protobuf.js knows google.protobuf.Struct as a message like any other. */
function structOf(object: JsonObject): object {
  const fields = Object.entries(object).map(([key, value]) => [key, protoValueOf(value)]);
  return { fields: Object.fromEntries(fields) };
}

function protoValueOf(value: JsonValue): object {
  if (value === null) return { nullValue: "NULL_VALUE" };
  if (typeof value === "number") return { numberValue: value };
  if (typeof value === "string") return { stringValue: value };
  if (typeof value === "boolean") return { boolValue: value };
  if (Array.isArray(value)) return { listValue: { values: value.map(protoValueOf) } };
  return { structValue: structOf(value) };
}
