/**
 * A real server on a real socket that keeps the raw bytes of every request, so that tests
 * can judge signatures by what was sent. It does not itself judge anything.
 */
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import {
  createServer as createHttp2Server,
  createSecureServer,
  type Http2ServerRequest,
  type Http2Session,
} from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { ErrorInfoSchema, RetryInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";
import {
  IngestBatchResponseSchema,
  IngestResponseSchema,
  IngestService,
} from "../../../gen/signals/v1/ingest_service_pb.ts";
import { SignalStatus } from "../../../gen/signals/v1/signal_pb.ts";
import {
  createSignalClient,
  type SignalClient,
  type SignalClientOptions,
} from "../../../src/client/index.ts";
import {
  HEADER_PRODUCER_ID,
  HEADER_SIGNATURE,
  HEADER_TIMESTAMP,
  parseSignature,
  Secret,
  verify,
} from "../../../src/signing/index.ts";
import { planted } from "../../support/secrecy/canaries.ts";
import { TEST_CERTIFICATE, TEST_CERTIFICATE_KEY } from "./certificate.ts";

export const PRODUCER_ID = "test-bot";
export const SECRET = planted("producer's secret", "correct horse battery staple");
export const SIGNAL_ID = "0193d5e8-6f1a-7c3e-9b52-3d8f0a6b1c2d";

/** A request as it came over the socket. */
export interface CapturedRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** All bytes of the body, framed if the protocol frames. Complete once it was answered. */
  readonly body: Buffer;
  /** The bytes of the message: those that the signature covers. */
  readonly message: Buffer;
}

export interface TestServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly requests: readonly CapturedRequest[];
  /** How many sockets are open now. */
  connections(): Promise<number>;
  /** The most recent request. */
  last(): CapturedRequest;
}

export interface TestServerOptions {
  readonly http?: "1.1" | "2";
  readonly tls?: boolean;
  readonly prefix?: string;
  /** Defaults to one that is free. */
  readonly port?: number;
  readonly service?: Partial<ServiceImpl<typeof IngestService>>;
  /** Answers in place of the service. */
  readonly listener?: RequestListener;
  /** Answers some requests in place of the service: those for which it returns true. */
  readonly intercept?: (
    request: IncomingMessage | Http2ServerRequest,
    response: Parameters<RequestListener>[1],
  ) => boolean;
}

/** Starts a server that stores everything that it is sent, unless told otherwise. */
export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const requests: CapturedRequest[] = [];
  const serve =
    options.listener ??
    (connectNodeAdapter({
      ...(options.prefix === undefined ? {} : { requestPathPrefix: options.prefix }),
      routes: (router) => {
        router.service(IngestService, { ...storeAll, ...options.service });
      },
    }) as RequestListener);
  const listener: RequestListener = (request, response) => {
    requests.push(capture(request));
    if (options.intercept?.(request, response) !== true) serve(request, response);
  };

  const sessions = new Set<Http2Session>();
  const server = listen(options, listener);
  server.on("session", (session: Http2Session) => sessions.add(session));
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `${options.tls === true ? "https" : "http"}://127.0.0.1:${port}${options.prefix ?? ""}`,
    port,
    requests,
    connections: () => promisify(server.getConnections.bind(server))(),
    last() {
      const request = requests.at(-1);
      if (request === undefined) throw new Error("The server got no request.");
      return request;
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const session of sessions) session.destroy();
      if ("closeAllConnections" in server) server.closeAllConnections();
      await closed;
    },
  };
}

function listen({ http = "1.1", tls = false }: TestServerOptions, listener: RequestListener) {
  const identity = { cert: TEST_CERTIFICATE, key: TEST_CERTIFICATE_KEY };
  if (http === "1.1") return tls ? createHttpsServer(identity, listener) : createServer(listener);
  const listener2 = listener as unknown as Parameters<typeof createHttp2Server>[1];
  return tls ? createSecureServer(identity, listener2 as never) : createHttp2Server(listener2);
}

/** Breaks the connection that a request came by, in place of an answer. */
export function breakConnection(request: IncomingMessage | Http2ServerRequest): void {
  if ("stream" in request) request.stream.session?.destroy();
  else request.socket.destroy();
}

/** Answers as a server does that accepts everything. */
export const storeAll: ServiceImpl<typeof IngestService> = {
  ingest: (request) => storedResponse(request.validateOnly ? "" : SIGNAL_ID),
  ingestBatch: ({ requests }) =>
    create(IngestBatchResponseSchema, { responses: requests.map(() => storedResponse()) }),
};

export function storedResponse(signalId: string = SIGNAL_ID) {
  return create(IngestResponseSchema, {
    signalId,
    status: SignalStatus.RECEIVED,
    serverTimestamp: { seconds: 1_761_402_645n, nanos: 123_456_789 },
    message: "The signal is stored.",
  });
}

/** A client of such a server, under the identity that {@link isSigned} expects. */
export function clientTo(
  { url }: { readonly url: string },
  options: Partial<SignalClientOptions> = {},
): SignalClient {
  const identity = { serverUrl: url, producerId: PRODUCER_ID, secret: SECRET };
  return createSignalClient({ ...identity, ...options });
}

/** A refusal as the service words it. */
export function refusal(
  reason: string,
  details: {
    readonly message?: string;
    readonly code?: Code;
    readonly headers?: Record<string, string>;
    readonly metadata?: Record<string, string>;
    readonly domain?: string;
    readonly retryDelayMs?: number;
  } = {},
): ConnectError {
  const { message = "No.", code = Code.Unavailable, headers, retryDelayMs } = details;
  const { domain = "signals.v1", metadata = {} } = details;
  const info = { desc: ErrorInfoSchema, value: { reason, domain, metadata } };
  const error = new ConnectError(message, code, headers, [info]);
  if (retryDelayMs !== undefined) {
    const seconds = BigInt(Math.trunc(retryDelayMs / 1_000));
    const retryDelay = { seconds, nanos: (retryDelayMs % 1_000) * 1_000_000 };
    error.details.push({ desc: RetryInfoSchema, value: { retryDelay } });
  }
  return error;
}

/** A service whose first calls fail, each with the next of these errors, before it stores. */
export function failingFirst(
  ...errors: readonly Error[]
): Partial<ServiceImpl<typeof IngestService>> {
  const left = [...errors];
  return {
    ingest: () => {
      const error = left.shift();
      if (error !== undefined) throw error;
      return storedResponse();
    },
  };
}

/** A service whose calls all fail with this error. */
export function failing(error: Error): Partial<ServiceImpl<typeof IngestService>> {
  const fail = () => {
    throw error;
  };
  return { ingest: fail, ingestBatch: fail };
}

/** Taps the stream below whoever reads it, so that the reader still sees every byte. */
function capture(request: IncomingMessage | Http2ServerRequest): CapturedRequest {
  const chunks: Buffer[] = [];
  const push = request.push.bind(request);
  request.push = (chunk: Buffer | null, encoding?: BufferEncoding) => {
    if (chunk !== null) chunks.push(Buffer.from(chunk));
    return push(chunk, encoding);
  };
  return {
    path: request.url ?? "",
    headers: request.headers,
    get body() {
      return Buffer.concat(chunks);
    },
    get message() {
      const isFramed = request.headers["content-type"]?.startsWith("application/grpc");
      return isFramed === true ? unframed(this.body) : this.body;
    },
  };
}

/** Takes off the gRPC frame: one byte of flags, four of length. */
function unframed(body: Buffer): Buffer {
  if (body[0] !== 0) throw new Error("The message is compressed.");
  if (body.readUInt32BE(1) !== body.length - 5) throw new Error("There is not just one frame.");
  return body.subarray(5);
}

/** Whether the signature of a request is right for the bytes that came over the socket. */
export function isSigned(
  request: CapturedRequest,
  endpoint = "/signals.v1.IngestService/Ingest",
): boolean {
  const signature = parseSignature(String(request.headers[HEADER_SIGNATURE]));
  if (signature === undefined) return false;
  const producerId = String(request.headers[HEADER_PRODUCER_ID]);
  const timestamp = String(request.headers[HEADER_TIMESTAMP]);
  const parts = { endpoint, producerId, timestamp, body: request.message };
  return producerId === PRODUCER_ID && verify([Secret.fromString(SECRET)], parts, signature);
}
