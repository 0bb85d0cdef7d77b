/**
 * One signed request over each protocol, written and read by hand, so that what a test
 * sees is what was on the wire: the HTTP status, the headers, and the error details.
 */
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import { fromBinary, type MessageInitShape, toBinary, toJsonString } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../../gen/google/rpc/error_details_pb.ts";
import { IngestRequestSchema } from "../../../gen/signals/v1/ingest_service_pb.ts";
import { allOf } from "../../support/allOf.ts";
import { anotherAddress } from "../../support/anotherAddress.ts";
import { testHeaders } from "../../support/server.ts";
import { restBody, validIngestRequest } from "../../support/signals.ts";

export const INGEST_PATH = "/signals.v1.IngestService/Ingest";
export const INGEST_BATCH_PATH = "/signals.v1.IngestService/IngestBatch";
export const REST_PATH = "/api/v1/signals/ingest";

/** All ways to send a signal. */
export const PROTOCOLS = ["gRPC", "gRPC-Web", "Connect JSON", "Connect binary", "REST"] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** A valid request in the body of each protocol. */
export interface Bodies {
  readonly binary: Uint8Array;
  readonly json: Uint8Array;
  readonly rest: Uint8Array;
}

/** The same request for each protocol, with the parts that a test cares about replaced. */
export function bodies(
  rpc: Omit<MessageInitShape<typeof IngestRequestSchema>, "$typeName"> = {},
  rest: Readonly<Record<string, unknown>> = {},
): Bodies {
  const request = validIngestRequest(rpc);
  return {
    binary: toBinary(IngestRequestSchema, request),
    json: Buffer.from(toJsonString(IngestRequestSchema, request)),
    rest: Buffer.from(restBody(rest)),
  };
}

/** The same bytes for each protocol. */
export function sameBytes(bytes: Uint8Array): Bodies {
  return { binary: bytes, json: bytes, rest: bytes };
}

/** What is sent besides the body. */
export interface SendOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** Who signs, with what, and when. */
  readonly signing?: Parameters<typeof testHeaders>[2];
  /** The protocol's own timeout header. REST has none. */
  readonly timeoutMs?: number;
  /** A method that takes a token, in place of Ingest, which takes a signature. REST has none. */
  readonly method?: { readonly path: string; readonly token: string };
  /** The address that it comes from. Default: one of its own. */
  readonly from?: string;
}

/** An answer, whatever its protocol. */
export interface WireAnswer {
  readonly httpStatus: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Everything that came, headers and trailers too, to search for what must not be there. */
  readonly text: string;
  /** The message of a success, or the JSON of REST. */
  readonly body: Buffer;
  /** `undefined` for a success. */
  readonly error: WireError | undefined;
}

/** An error, whatever its protocol. */
export interface WireError {
  /** The code as Connect names it; `undefined` over REST. */
  readonly code: string | undefined;
  readonly message: string;
  readonly reason: string | undefined;
  /** `undefined` over REST, which has none. */
  readonly domain: string | undefined;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly violations: readonly { readonly field: string; readonly description: string }[];
  /** From RetryInfo; over REST from Retry-After. */
  readonly retryAfterMs: number | undefined;
}

/** Proves who sends, and sends one request. */
export function send(
  url: string,
  protocol: Protocol,
  bytes: Bodies,
  options: SendOptions = {},
): Promise<WireAnswer> {
  switch (protocol) {
    case "gRPC":
      return sendGrpc(url, bytes.binary, options);
    case "gRPC-Web":
      return sendGrpcWeb(url, bytes.binary, options);
    case "Connect JSON":
      return sendConnect(url, "application/json", bytes.json, options);
    case "Connect binary":
      return sendConnect(url, "application/proto", bytes.binary, options);
    case "REST":
      return sendRest(url, bytes.rest, options);
  }
}

/** A message in its envelope of five bytes. */
export function framed(
  message: Uint8Array,
  flags = 0,
  length = message.length,
): Buffer<ArrayBuffer> {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}

async function sendRest(url: string, body: Uint8Array, options: SendOptions): Promise<WireAnswer> {
  const { headers, signing } = options;
  const fields = {
    "content-type": "application/json",
    ...testHeaders(REST_PATH, body, signing),
    ...headers,
  };
  const answer = await http1Post(url, REST_PATH, fields, body, options.from);
  return { ...answer, error: isSuccess(answer) ? undefined : problemOf(answer) };
}

/** The path of the method that is called, and the headers that prove who calls. */
function target(
  { method, signing }: SendOptions,
  message: Uint8Array,
): { readonly path: string; readonly proof: Readonly<Record<string, string>> } {
  if (method === undefined) {
    return { path: INGEST_PATH, proof: testHeaders(INGEST_PATH, message, signing) };
  }
  return { path: method.path, proof: { authorization: `Bearer ${method.token}` } };
}

async function sendConnect(
  url: string,
  contentType: string,
  body: Uint8Array,
  options: SendOptions,
): Promise<WireAnswer> {
  const { headers, timeoutMs } = options;
  const { path, proof } = target(options, body);
  const fields = {
    "content-type": contentType,
    ...(timeoutMs !== undefined && { "connect-timeout-ms": `${timeoutMs}` }),
    ...proof,
    ...headers,
  };
  const answer = await http1Post(url, path, fields, body, options.from);
  return { ...answer, error: isSuccess(answer) ? undefined : connectError(answer.body) };
}

async function sendGrpcWeb(
  url: string,
  message: Uint8Array,
  options: SendOptions,
): Promise<WireAnswer> {
  const { headers, timeoutMs } = options;
  const { path, proof } = target(options, message);
  const fields = {
    "content-type": "application/grpc-web+proto",
    ...(timeoutMs !== undefined && { "grpc-timeout": `${timeoutMs}m` }),
    ...proof,
    ...headers,
  };
  const answer = await http1Post(url, path, fields, framed(message), options.from);
  const frames = framesOf(answer.body);
  const last = frames.find(({ flags }) => flags === 0x80)?.bytes.toString("latin1") ?? "";
  const trailers = Object.fromEntries(
    last
      .split("\r\n")
      .filter((line) => line !== "")
      .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]),
  );
  const body = frames.find(({ flags }) => flags === 0)?.bytes ?? Buffer.alloc(0);
  return { ...answer, body, error: grpcError({ ...answer.headers, ...trailers }) };
}

function sendGrpc(url: string, message: Uint8Array, options: SendOptions): Promise<WireAnswer> {
  const { headers, timeoutMs } = options;
  const { path, proof } = target(options, message);
  return http2Post(
    url,
    path,
    {
      "content-type": "application/grpc+proto",
      te: "trailers",
      ...(timeoutMs !== undefined && { "grpc-timeout": `${timeoutMs}m` }),
      ...proof,
      ...headers,
    },
    framed(message),
    options.from,
  ).then((answer) => ({
    ...answer,
    body: framesOf(answer.body)[0]?.bytes ?? Buffer.alloc(0),
    error: grpcError(answer.headers),
  }));
}

/** A POST on an HTTP/1.1 connection of its own. @param from the address that it comes from. */
export async function http1Post(
  url: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
  from = anotherAddress(),
): Promise<Omit<WireAnswer, "error">> {
  const options = { method: "POST", headers, localAddress: from, agent: false };
  const request = http.request(url + path, options).end(body);
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  const bytes = Buffer.concat(await allOf(response as AsyncIterable<Buffer>));
  const received = response.headers as Record<string, string>;
  const text = JSON.stringify(received) + bytes.toString("latin1");
  return { httpStatus: response.statusCode ?? 0, headers: received, body: bytes, text };
}

/** As {@link http1Post}, over HTTP/2. Trailers are among the headers. */
export function http2Post(
  url: string,
  path: string,
  headers: Readonly<Record<string, string | string[]>>,
  body: Uint8Array,
  from = anotherAddress(),
): Promise<Omit<WireAnswer, "error">> {
  const options = { rejectUnauthorized: false, localAddress: from };
  return new Promise((resolve, reject) => {
    const session = http2.connect(url, options);
    session.once("error", reject);
    const stream = session.request({ ":method": "POST", ":path": path, ...headers });
    const chunks: Buffer[] = [];
    let received: Record<string, string> = {};
    const keep = (more: http2.IncomingHttpHeaders) => {
      received = { ...received, ...(more as Record<string, string>) };
    };
    stream.on("response", keep);
    stream.on("trailers", keep);
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.once("error", reject);
    stream.once("close", () => {
      session.close();
      const bytes = Buffer.concat(chunks);
      const text = JSON.stringify(received) + bytes.toString("latin1");
      const httpStatus = Number(received[":status"]);
      if (Number.isNaN(httpStatus)) reject(new Error("The stream ended without an answer."));
      else resolve({ httpStatus, headers: received, body: bytes, text });
    });
    stream.end(body);
  });
}

function isSuccess({ httpStatus }: Pick<WireAnswer, "httpStatus">): boolean {
  return httpStatus >= 200 && httpStatus < 300;
}

/** The envelopes of a body, with their flags. */
export function framesOf(bytes: Buffer): { readonly flags: number; readonly bytes: Buffer }[] {
  const frames = [];
  for (let at = 0; at + 5 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at + 1);
    frames.push({ flags: bytes.readUInt8(at), bytes: bytes.subarray(at + 5, at + 5 + length) });
    at += 5 + length;
  }
  return frames;
}

function problemOf({ body, headers }: Pick<WireAnswer, "body" | "headers">): WireError {
  const problem = JSON.parse(body.toString("utf8"));
  const retryAfter = headers["retry-after"];
  return {
    code: undefined,
    domain: undefined,
    message: problem.detail,
    reason: problem.reason,
    metadata: problem,
    violations: problem.violations ?? [],
    retryAfterMs: retryAfter === undefined ? undefined : Number(retryAfter) * 1_000,
  };
}

/** An error in the JSON of Connect. */
export function connectError(body: Buffer): WireError {
  const { code, message, details } = JSON.parse(body.toString("utf8"));
  const decoded = ((details ?? []) as { type: string; value: string }[]).map(({ type, value }) => ({
    type,
    value: Buffer.from(value, "base64"),
  }));
  return { code, message: message ?? "", ...facts(decoded) };
}

const CODE_NAMES = [
  "ok",
  "canceled",
  "unknown",
  "invalid_argument",
  "deadline_exceeded",
  "not_found",
  "already_exists",
  "permission_denied",
  "resource_exhausted",
  "failed_precondition",
  "aborted",
  "out_of_range",
  "unimplemented",
  "internal",
  "unavailable",
  "data_loss",
  "unauthenticated",
];

/** An error in the trailers of gRPC. */
export function grpcError(trailers: Readonly<Record<string, string>>): WireError | undefined {
  const status = Number(trailers["grpc-status"]);
  if (status === 0) return undefined;
  const details = Buffer.from(trailers["grpc-status-details-bin"] ?? "", "base64");
  return {
    code: CODE_NAMES[status],
    message: decodeURIComponent(trailers["grpc-message"] ?? ""),
    ...facts(statusDetails(details)),
  };
}

interface Detail {
  readonly type: string;
  readonly value: Uint8Array;
}

/** The details of a google.rpc.Status: field 3, each an Any. */
function statusDetails(status: Uint8Array): Detail[] {
  const details: Detail[] = [];
  const reader = new BinaryReader(status);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field !== 3) {
      reader.skip(wireType, field);
      continue;
    }
    const any = new BinaryReader(reader.bytes());
    let type = "";
    let value: Uint8Array = new Uint8Array(0);
    while (any.pos < any.len) {
      const [anyField] = any.tag();
      if (anyField === 1) type = any.string().replace(/^.*\//, "");
      else value = any.bytes();
    }
    details.push({ type, value });
  }
  return details;
}

function facts(details: readonly Detail[]): Omit<WireError, "code" | "message"> {
  const find = (type: string) => details.find((detail) => detail.type === type)?.value;
  const info = find(ErrorInfoSchema.typeName);
  const fault = find(BadRequestSchema.typeName);
  const retry = find(RetryInfoSchema.typeName);
  const errorInfo = info && fromBinary(ErrorInfoSchema, info);
  const delay = retry && fromBinary(RetryInfoSchema, retry).retryDelay;
  return {
    reason: errorInfo?.reason,
    domain: errorInfo?.domain,
    metadata: errorInfo?.metadata ?? {},
    violations: fault
      ? fromBinary(BadRequestSchema, fault).fieldViolations.map(({ field, description }) => ({
          field,
          description,
        }))
      : [],
    retryAfterMs: delay && Number(delay.seconds) * 1_000 + delay.nanos / 1e6,
  };
}
