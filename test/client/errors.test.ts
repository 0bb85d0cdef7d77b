import type { RequestListener } from "node:http";
import { constants, type ServerHttp2Stream } from "node:http2";
import { Socket } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../gen/google/rpc/error_details_pb.ts";
import { type SignalClientOptions, SignalError } from "../../src/client/index.ts";
import { REASONS, recordOf } from "../../src/signal/index.ts";
import {
  clientTo,
  failing,
  refusal,
  startTestServer,
  storedResponse,
  type TestServerOptions,
} from "./support/ingestServer.ts";
import { signalInput } from "./support/signals.ts";

const WIRES = [
  { protocol: "connect", codec: "binary", httpVersion: "1.1" },
  { protocol: "connect", codec: "json", httpVersion: "2" },
  { protocol: "grpc", httpVersion: "2" },
  { protocol: "grpc-web", httpVersion: "1.1" },
] as const satisfies Partial<SignalClientOptions>[];

/** Fails a call against such a server, and returns the error. */
async function failureOf(
  server: TestServerOptions,
  options: Partial<SignalClientOptions> = {},
): Promise<SignalError> {
  await using running = await startTestServer({ http: options.httpVersion ?? "1.1", ...server });
  await using client = clientTo(running, {
    retry: false,
    ...options,
  });
  return thrownBy(client.ingest(signalInput()));
}

async function thrownBy(call: Promise<unknown>): Promise<SignalError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof SignalError) return error;
  throw new Error(`This is no SignalError: ${error}`);
}

/** What a request of HTTP/2 has, though the listener's type does not tell. */
type Http2Request = { readonly stream: ServerHttp2Stream };

describe.each(WIRES)("a refusal over $protocol HTTP/$httpVersion", (wire) => {
  it("names the reason, every wrong field, the request and the time to wait", async () => {
    const rateLimited = new ConnectError(
      "Too many at once.",
      Code.ResourceExhausted,
      { "x-request-id": "req-42" },
      [
        {
          desc: ErrorInfoSchema,
          value: { reason: "RATE_LIMITED", domain: "signals.v1", metadata: { limit: "10" } },
        },
        {
          desc: BadRequestSchema,
          value: {
            fieldViolations: [
              { field: "signal.side", description: "must be buy or sell" },
              { field: "signal.entry_price", description: "is required" },
            ],
          },
        },
        { desc: RetryInfoSchema, value: { retryDelay: { seconds: 2n, nanos: 500_000_001 } } },
      ],
    );

    const error = await failureOf({ service: failing(rateLimited) }, wire);

    expect(error).toMatchObject({
      name: "SignalError",
      message: "[RATE_LIMITED] Too many at once.",
      reason: "RATE_LIMITED",
      retry: "after_delay",
      retryable: true,
      retryAfterMs: 2501,
      requestId: "req-42",
      code: Code.ResourceExhausted,
      metadata: { limit: "10" },
      violations: [
        { field: "signal.side", description: "must be buy or sell" },
        { field: "signal.entry_price", description: "is required" },
      ],
    });
    expect(error.cause).toBeInstanceOf(ConnectError);
  });

  it("tells the server's time after a clock skew", async () => {
    const facts = { server_time: "2025-10-25T14:30:45Z", skew_seconds: "-412.5" };
    const skewed = refusal("CLOCK_SKEW", { code: Code.Unauthenticated, metadata: facts });

    const error = await failureOf({ service: failing(skewed) }, wire);

    expect(error).toMatchObject({
      reason: "CLOCK_SKEW",
      retry: "corrected_clock",
      retryable: false,
      metadata: facts,
    });
  });

  it("is CANCELLED if the caller gives up, before the call or during it", async () => {
    await using server = await startTestServer({
      http: wire.httpVersion,
      service: { ingest: () => new Promise(() => {}) },
    });
    await using client = clientTo(server, {
      retry: false,
      ...wire,
    });
    const reason = new Error("The strategy changed its mind.");

    const before = await thrownBy(
      client.ingest(signalInput(), { signal: AbortSignal.abort(reason) }),
    );
    expect(before).toMatchObject({ reason: "CANCELLED", retryable: false, cause: reason });
    expect(server.requests).toHaveLength(0);

    const controller = new AbortController();
    const call = client.ingest(signalInput(), { signal: controller.signal });
    await vi.waitFor(() => expect(server.requests).toHaveLength(1));
    controller.abort(reason);
    expect(await thrownBy(call)).toMatchObject({ reason: "CANCELLED", cause: reason });
  });
});

it.each(REASONS)("knows what to do after %s", async (reason) => {
  const error = SignalError.from(refusal(reason));
  expect(error.reason).toBe(reason);
  expect(error.retry).toBe(recordOf(reason).retry);
  expect(error.retryable).toBe(["same_key", "after_delay"].includes(recordOf(reason).retry));
});

describe("an answer that is not the service's own", () => {
  function answering(status: number, body = "", type = "text/html"): TestServerOptions {
    return {
      listener: (request, response) => {
        request.resume();
        response.writeHead(status, { "content-type": type, "x-request-id": "proxy-7" }).end(body);
      },
    };
  }

  it.each([
    [503, "UNREACHABLE", true],
    [429, "UNREACHABLE", true],
    [500, "INVALID_RESPONSE", true],
    [404, "REFUSED", false],
  ] as const)("with HTTP status %i is %s", async (status, reason, retryable) => {
    const error = await failureOf(answering(status, "<h1>A proxy</h1>"));
    expect(error).toMatchObject({ reason, retryable, requestId: "proxy-7" });
  });

  it.each([
    ["binary", "application/proto", Buffer.from([0x0a, 0xff])],
    ["binary", "application/proto", Buffer.alloc(0)],
    ["binary", "application/json", Buffer.from("{}")],
    ["json", "application/json", Buffer.from('{"signalId":')],
    ["json", "application/json", Buffer.from('{"signalId":7}')],
    ["json", "application/json", Buffer.from("{}")],
  ] as const)(
    "is INVALID_RESPONSE or INTERNAL, and retryable: %s, %s, %o",
    async (codec, type, body) => {
      const listener: RequestListener = (request, response) => {
        request.resume();
        response.writeHead(200, { "content-type": type }).end(body);
      };
      const error = await failureOf({ listener }, { codec });
      expect(["INVALID_RESPONSE", "INTERNAL"]).toContain(error.reason);
      expect(error.retryable).toBe(true);
    },
  );

  it("is not read without bound", async () => {
    const large = { ...storedResponse(), message: "x".repeat(5_000_000) };
    const error = await failureOf({ service: { ingest: () => large } });
    expect(error).toMatchObject({ reason: "INVALID_RESPONSE", retryable: true });
  });

  it.each([
    { "grpc-status": "not a number" },
    { "grpc-status": "13", "grpc-message": "%E0%A4%A" },
    { "grpc-status": "13", "grpc-status-details-bin": "!!!" },
    {},
  ])("is retryable with the gRPC trailers %o", async (trailers) => {
    const listener: RequestListener = (request, response) => {
      request.resume();
      response.writeHead(200, { "content-type": "application/grpc", ...trailers }).end();
    };
    const error = await failureOf({ listener }, { protocol: "grpc", httpVersion: "2" });
    expect(["INVALID_RESPONSE", "INTERNAL"]).toContain(error.reason);
    expect(error.retryable).toBe(true);
  });

  it("does not pass off another one's reason as ours", () => {
    const headers = { a: "b" };
    const foreign = refusal("RATE_LIMITED", { headers, domain: "gateway.example.com" });
    for (const error of [foreign, refusal("NEW_ONE", { headers })]) {
      expect(SignalError.from(error).reason).toBe("UNREACHABLE");
    }
  });

  it("with too few items for a batch is INVALID_RESPONSE", async () => {
    await using server = await startTestServer({
      service: { ingestBatch: () => ({ responses: [storedResponse()] }) },
    });
    await using client = clientTo(server, {
      retry: false,
    });
    const items = [{ signal: signalInput() }, { signal: signalInput() }];
    expect(await thrownBy(client.ingestBatch(items))).toMatchObject({ reason: "INVALID_RESPONSE" });
  });

  it("that refuses a single signal without an error is INVALID_RESPONSE", async () => {
    const error = await failureOf({
      service: {
        ingest: () => ({ errors: [{ reason: "INTERNAL", field: "", description: "oops" }] }),
      },
    });
    expect(error).toMatchObject({ reason: "INVALID_RESPONSE", retryable: true });
  });
});

it("is UNREACHABLE, not CANCELLED, if the server resets the call", async () => {
  const listener: RequestListener = (request) =>
    (request as unknown as Http2Request).stream.close(constants.NGHTTP2_CANCEL);
  const error = await failureOf({ listener }, { protocol: "grpc", httpVersion: "2" });
  expect(error).toMatchObject({ reason: "UNREACHABLE", retryable: true });
});

describe("SignalError.from", () => {
  afterEach(() => vi.restoreAllMocks());

  it("returns a SignalError as it is, also a wrapped one", () => {
    const error = new SignalError("BODY_TOO_LARGE", "Too large.");
    expect(SignalError.from(error)).toBe(error);
    expect(SignalError.from(ConnectError.from(error))).toBe(error);
  });

  it("survives whatever is thrown", () => {
    const looped = new Error("loop");
    looped.cause = looped;
    for (const thrown of [undefined, null, 7, "text", {}, looped, Symbol("s")]) {
      expect(SignalError.from(thrown)).toMatchObject({ reason: "UNKNOWN", retryable: false });
    }
  });

  it("knows a failed socket", async () => {
    const thrown = await new Promise((resolve) => new Socket().on("error", resolve).connect(1));
    expect(SignalError.from(thrown)).toMatchObject({ reason: "UNREACHABLE", cause: thrown });
  });

  it("has a message of one line, whatever was thrown", () => {
    for (const thrown of [new Error("a\nb\r\n"), new ConnectError("a\n\u2028b\n"), "a\nb"]) {
      expect(SignalError.from(thrown).message).toMatch(/^\[[A-Z_]+\] a b$/);
    }
  });

  it("ignores a negative delay", () => {
    const error = refusal("OVERLOADED", { retryDelayMs: -1_000 });
    expect(SignalError.from(error).retryAfterMs).toBeUndefined();
  });
});
