/**
 * Every way in which a producer may hand over a signal, behind one function: each sends
 * the same signal in its own protocol, encoding and HTTP version, by a client of its own
 * make, and reads the answer in its own form.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromJson, type JsonValue, toBinary, toJson } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import {
  createConnectTransport as createFetchConnectTransport,
  createGrpcWebTransport as createFetchGrpcWebTransport,
} from "@connectrpc/connect-web";
import {
  IngestRequestSchema,
  type IngestResponse,
  IngestResponseSchema,
  IngestService,
} from "../../../gen/signals/v1/ingest_service_pb.ts";
import {
  type SignalStatus as ProtoSignalStatus,
  SignalStatusSchema,
} from "../../../gen/signals/v1/signal_pb.ts";
import {
  createSignalClient,
  createSigningInterceptor,
  type SignalClientOptions,
} from "../../../src/client/index.ts";
import {
  type Instant,
  type Signal,
  type SignalStatus,
  signalToProto,
} from "../../../src/signal/index.ts";
import { parseTimestamp } from "../../../src/signing/index.ts";
import { TEST_PRODUCER_ID, TEST_SECRET, testHeaders } from "../../support/server.ts";
import { restFields } from "../../support/signals.ts";
import { hasTool, ROOT, run } from "./command.ts";
import { grpcJsByHand, grpcJsWithInterceptor } from "./grpcJs.ts";
import type { Reply, Send } from "./reply.ts";

/** One way to hand a signal over. */
export interface Sender {
  readonly name: string;
  readonly send: Send;
  /** The HTTP status for a new signal, if its replies tell it. */
  readonly newStatus?: 200 | 201;
  /** The program that it needs. */
  readonly tool?: "python3" | "curl" | "buf";
}

const INGEST = "/signals.v1.IngestService/Ingest";
const IDENTITY = { producerId: TEST_PRODUCER_ID, secret: TEST_SECRET };

/** All that this machine has the tools for. */
export function availableSenders(): Sender[] {
  return SENDERS.filter(({ tool }) => tool === undefined || hasTool(tool));
}

/** The SDK's own client, which hides the protocol. */
function sdk(options: Partial<SignalClientOptions>): Sender {
  const { protocol, codec, httpVersion } = options;
  return {
    name: `createSignalClient, ${protocol} ${codec} HTTP/${httpVersion}`,
    async send(serverUrl, signal, idempotencyKey) {
      await using client = createSignalClient({ serverUrl, ...IDENTITY, ...options });
      const result = await client.ingest(signal, { idempotencyKey });
      if (result.outcome !== "stored" && result.outcome !== "duplicate") {
        throw new Error(`The outcome is ${result.outcome}.`);
      }
      return {
        signalId: result.signalId,
        status: result.status as SignalStatus,
        serverTime: parseTimestamp(result.serverTimestamp ?? "") as Instant,
        message: result.message,
        duplicate: result.outcome === "duplicate",
        errorCount: 0,
      };
    },
  };
}

/** The generated client on a transport of the caller's, with the signing interceptor. */
function generated(
  name: string,
  open: (baseUrl: string) => { readonly transport: Transport; readonly close?: () => void },
): Sender {
  return {
    name: `createClient(IngestService), ${name}`,
    async send(serverUrl, signal, idempotencyKey) {
      const { transport, close } = open(serverUrl);
      try {
        const client = createClient(IngestService, transport);
        return replyOf(await client.ingest({ signal: signalToProto(signal), idempotencyKey }));
      } finally {
        close?.();
      }
    },
  };
}

const interceptors = [createSigningInterceptor(IDENTITY)];

const CREATE_NODE_TRANSPORT = {
  connect: createConnectTransport,
  grpc: createGrpcTransport,
  "grpc-web": createGrpcWebTransport,
} as const;

function overHttp2(protocol: "connect" | "grpc" | "grpc-web", codec: "binary" | "json"): Sender {
  return generated(`${protocol} ${codec} h2c`, (baseUrl) => {
    const sessionManager = new Http2SessionManager(baseUrl);
    const transport = CREATE_NODE_TRANSPORT[protocol]({
      baseUrl,
      httpVersion: "2",
      useBinaryFormat: codec === "binary",
      interceptors,
      sessionManager,
    });
    return { transport, close: () => sessionManager.abort() };
  });
}

function overHttp1(protocol: "connect" | "grpc-web", codec: "binary" | "json"): Sender {
  return generated(`${protocol} ${codec} HTTP/1.1`, (baseUrl) => ({
    transport: CREATE_NODE_TRANSPORT[protocol]({
      baseUrl,
      httpVersion: "1.1",
      useBinaryFormat: codec === "binary",
      interceptors,
    }),
  }));
}

/** What a browser would use, or Deno, or an edge worker. */
function byFetch(protocol: "connect" | "grpc-web", codec: "binary" | "json"): Sender {
  const open = protocol === "connect" ? createFetchConnectTransport : createFetchGrpcWebTransport;
  return generated(`connect-web ${protocol} ${codec} by fetch`, (baseUrl) => ({
    transport: open({ baseUrl, useBinaryFormat: codec === "binary", interceptors }),
  }));
}

/** Makes the headers for what `buf curl` sends when it is given this JSON file. */
type SignForBuf = (jsonFile: string) => Promise<Readonly<Record<string, string>>>;

/** As a person does it: `countersign sign` knows which protobuf buf makes of the JSON. */
const byCountersignSign: SignForBuf = async (jsonFile) => {
  const { code, stdout, stderr } = await run(
    process.execPath,
    ["src/cli/main.ts", "sign", "--body", jsonFile, "--message", "IngestRequest", "--json"],
    { env: { PRODUCER_ID: TEST_PRODUCER_ID, HMAC_PRODUCER_SECRET: TEST_SECRET } },
  );
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
};

/** By what buf itself makes of it, so that no serialiser of ours has a part in it. */
const byBufConvert: SignForBuf = async (jsonFile) => {
  const binaryFile = `${jsonFile}.binpb`;
  const type = ["--type", "signals.v1.IngestRequest"];
  const files = ["--from", `${jsonFile}#format=json`, "--to", binaryFile];
  const { code, stderr } = await run("buf", ["convert", "proto", ...type, ...files]);
  if (code !== 0) throw new Error(stderr);
  return testHeaders(INGEST, await readFile(binaryFile));
};

/** `buf curl` sends protobuf, made by Go. */
function bufCurl(
  protocol: "grpc" | "grpcweb" | "connect",
  httpArgs: readonly string[],
  sign: SignForBuf,
): Sender {
  const signer = sign === byBufConvert ? "the bytes of buf convert" : "countersign sign";
  return {
    name: `buf curl with ${signer}, ${protocol} ${httpArgs.length > 0 ? "h2c" : "HTTP/1.1"}`,
    tool: "buf",
    async send(serverUrl, signal, key) {
      return inFolder(async (folder) => {
        const file = join(folder, "message.json");
        await writeFile(file, JSON.stringify(ingestJson(signal, key)));
        const args = ["curl", "--schema", "proto", "--protocol", protocol, ...httpArgs];
        for (const [name, value] of Object.entries(await sign(file))) {
          args.push("-H", `${name}: ${value}`);
        }
        const outcome = await run("buf", [...args, "-d", `@${file}`, `${serverUrl}${INGEST}`]);
        if (outcome.code !== 0) throw new Error(outcome.stderr);
        return replyOf(fromJson(IngestResponseSchema, JSON.parse(outcome.stdout)));
      });
    },
  };
}

/** `curl` sends a file as it is. */
function curl(path: string, httpArgs: readonly string[] = []): Sender {
  return {
    name: `curl, ${path} ${httpArgs.length > 0 ? "h2c" : "HTTP/1.1"}`,
    newStatus: path === INGEST ? 200 : 201,
    tool: "curl",
    async send(serverUrl, signal, key) {
      const message = path === INGEST ? ingestJson(signal, key) : restJson(signal, key);
      // With blanks, as a person would write it: only the bytes count.
      const body = Buffer.from(JSON.stringify(message, null, 2));
      return inFolder(async (folder) => {
        const file = join(folder, "body.json");
        await writeFile(file, body);
        const headers = { ...testHeaders(path, body), "content-type": "application/json" };
        const args = ["--silent", "--show-error", ...httpArgs, "--write-out", "\n%{http_code}"];
        for (const [name, value] of Object.entries(headers)) args.push("-H", `${name}: ${value}`);
        args.push("--data-binary", `@${file}`, `${serverUrl}${path}`);
        const { code, stdout, stderr } = await run("curl", args);
        if (code !== 0) throw new Error(stderr);
        const end = stdout.lastIndexOf("\n");
        return jsonReply(path, Number(stdout.slice(end + 1)), JSON.parse(stdout.slice(0, end)));
      });
    },
  };
}

/** The standard library of Python. */
function python(path: string): Sender {
  return {
    name: `Python, ${path}`,
    newStatus: path === INGEST ? 200 : 201,
    tool: "python3",
    async send(serverUrl, signal, key) {
      const message = path === INGEST ? ingestJson(signal, key) : restJson(signal, key);
      const job = {
        url: serverUrl,
        path,
        producer_id: TEST_PRODUCER_ID,
        secret: TEST_SECRET,
        message,
      };
      const { code, stdout, stderr } = await run(
        "python3",
        [`${ROOT}test/interop/post_signed.py`],
        {
          stdin: JSON.stringify(job),
        },
      );
      if (code !== 0) throw new Error(stderr);
      const { status, body } = JSON.parse(stdout);
      return jsonReply(path, status, body);
    },
  };
}

/** The request to `Ingest` as JSON. */
export function ingestJson(signal: Signal, key: string): JsonValue {
  const message = create(IngestRequestSchema, {
    signal: signalToProto(signal),
    idempotencyKey: key,
  });
  return toJson(IngestRequestSchema, message);
}

/** The request to `Ingest` as protobuf bytes. */
export function ingestBytes(signal: Signal, idempotencyKey = ""): Uint8Array {
  return toBinary(
    IngestRequestSchema,
    create(IngestRequestSchema, { signal: signalToProto(signal), idempotencyKey }),
  );
}

/** The request to REST. */
export function restJson(signal: Signal, key?: string): Record<string, unknown> {
  return { ...restFields(signal), idempotency_key: key };
}

/** The answer of an RPC. */
export function replyOf(response: IngestResponse): Reply {
  return {
    signalId: response.signalId,
    status: statusOf(response.status),
    serverTime: instantOf(response.serverTimestamp ?? timestampFromDate(new Date(0))),
    message: response.message,
    duplicate: response.duplicate,
    errorCount: response.errors.length,
  };
}

function jsonReply(path: string, httpStatus: number, body: JsonValue): Reply {
  if (httpStatus >= 300) throw new Error(`HTTP ${httpStatus}: ${JSON.stringify(body)}`);
  return path === INGEST
    ? { ...replyOf(fromJson(IngestResponseSchema, body)), httpStatus }
    : { ...restReply(body as unknown as RestAnswer), httpStatus };
}

/** The body of a success of REST. */
export interface RestAnswer {
  readonly signal_id: string;
  readonly status: SignalStatus;
  readonly server_timestamp: string;
  readonly message: string;
  readonly errors: readonly unknown[];
  readonly duplicate: boolean;
  readonly id: string;
  readonly created_at: string;
}

function restReply(answer: RestAnswer): Reply {
  return {
    signalId: answer.signal_id,
    status: answer.status,
    serverTime: parseTimestamp(answer.server_timestamp) as Instant,
    message: answer.message,
    duplicate: answer.duplicate,
    errorCount: answer.errors.length,
  };
}

/** `SIGNAL_STATUS_PENDING_APPROVAL` as `pending_approval`. */
function statusOf(status: ProtoSignalStatus): SignalStatus {
  return SignalStatusSchema.value[status]?.localName.toLowerCase() as SignalStatus;
}

function instantOf({ seconds, nanos }: Timestamp): Instant {
  return seconds * 1_000_000_000n + BigInt(nanos);
}

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "countersign-interop-"));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const HTTP2 = ["--http2-prior-knowledge"];

/** All ways that are promised. */
const SENDERS: readonly Sender[] = [
  sdk({ protocol: "connect", codec: "binary", httpVersion: "1.1" }),
  sdk({ protocol: "connect", codec: "json", httpVersion: "1.1" }),
  sdk({ protocol: "connect", codec: "binary", httpVersion: "2" }),
  sdk({ protocol: "connect", codec: "json", httpVersion: "2" }),
  sdk({ protocol: "grpc", codec: "binary", httpVersion: "2" }),
  sdk({ protocol: "grpc-web", codec: "binary", httpVersion: "1.1" }),
  sdk({ protocol: "grpc-web", codec: "binary", httpVersion: "2" }),
  overHttp1("connect", "binary"),
  overHttp1("connect", "json"),
  overHttp1("grpc-web", "binary"),
  overHttp1("grpc-web", "json"),
  overHttp2("connect", "binary"),
  overHttp2("connect", "json"),
  overHttp2("grpc", "binary"),
  overHttp2("grpc", "json"),
  overHttp2("grpc-web", "binary"),
  overHttp2("grpc-web", "json"),
  byFetch("connect", "binary"),
  byFetch("connect", "json"),
  byFetch("grpc-web", "binary"),
  byFetch("grpc-web", "json"),
  { name: "@grpc/grpc-js with createGrpcSigningInterceptor", send: grpcJsWithInterceptor },
  { name: "@grpc/grpc-js with headers made by hand", send: grpcJsByHand },
  bufCurl("grpc", HTTP2, byCountersignSign),
  bufCurl("connect", [], byCountersignSign),
  bufCurl("grpcweb", [], byBufConvert),
  bufCurl("connect", HTTP2, byBufConvert),
  curl(INGEST),
  curl(INGEST, HTTP2),
  curl("/api/v1/signals/ingest"),
  curl("/api/v1/signals"),
  curl("/api/v1/signals", HTTP2),
  python(INGEST),
  python("/api/v1/signals/ingest"),
  python("/api/v1/signals"),
];
