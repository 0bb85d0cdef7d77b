/** Retries as a caller sees them, over real sockets. */
import { describe, expect, it, vi } from "vitest";
import type { SignalClientOptions, SignalError } from "../../../src/client/index.ts";
import {
  breakConnection,
  clientTo,
  failing,
  failingFirst,
  isSigned,
  refusal,
  startTestServer,
  storedResponse,
} from "../support/ingestServer.ts";
import { signalInput, tickingClock } from "../support/signals.ts";

const WIRES = [
  { protocol: "connect", codec: "binary", httpVersion: "1.1" },
  { protocol: "connect", codec: "json", httpVersion: "2" },
  { protocol: "grpc", codec: "binary", httpVersion: "2" },
  { protocol: "grpc-web", codec: "binary", httpVersion: "1.1" },
] as const satisfies Partial<SignalClientOptions>[];

const clientOf: typeof clientTo = (server, options) =>
  clientTo(server, { clock: tickingClock(), ...options });

describe.each(WIRES)("over $protocol $codec HTTP/$httpVersion", (wire) => {
  it("tries again at once when the connection breaks: same message and key, signed anew", async () => {
    let requests = 0;
    await using server = await startTestServer({
      http: wire.httpVersion,
      intercept: (request) => {
        requests += 1;
        // Read to its end, so that the bytes of both attempts can be compared.
        if (requests === 1) request.on("end", () => breakConnection(request)).resume();
        return requests === 1;
      },
    });
    // Any other wait than none would be longer than this test may take.
    await using client = clientOf(server, { ...wire, retry: LONG_WAITS });

    const result = await client.ingest(signalInput(), { idempotencyKey: "key-1" });

    expect(result).toMatchObject({ outcome: "stored", idempotencyKey: "key-1" });
    const [first, second] = server.requests;
    expect(server.requests).toHaveLength(2);
    expect(second?.message).toEqual(first?.message);
    expect(second?.message.length).toBeGreaterThan(50);
    expect(second?.headers["x-timestamp"]).not.toBe(first?.headers["x-timestamp"]);
    expect(second?.headers["x-signature"]).not.toBe(first?.headers["x-signature"]);
    expect(server.requests.every((request) => isSigned(request))).toBe(true);
  });

  it("keeps the keys that it made itself, in a batch too", async () => {
    let calls = 0;
    await using server = await startTestServer({
      http: wire.httpVersion,
      service: {
        ingestBatch: ({ requests }) => {
          calls += 1;
          if (calls === 1) throw refusal("STORE_UNAVAILABLE");
          return { responses: requests.map(() => storedResponse()) };
        },
      },
    });
    await using client = clientOf(server, { ...wire, retry: { baseDelayMs: 1 } });

    const items = [{ signal: signalInput() }, { signal: signalInput() }];
    const results = await client.ingestBatch(items);

    expect(results.map(({ outcome }) => outcome)).toEqual(["stored", "stored"]);
    expect(server.requests).toHaveLength(2);
    expect(server.requests[1]?.message).toEqual(server.requests[0]?.message);
  });

  it("waits as long as the service says", async () => {
    await using server = await startTestServer({
      http: wire.httpVersion,
      service: failingFirst(refusal("OVERLOADED", { retryDelayMs: 300 })),
    });
    await using client = clientOf(server, { ...wire, retry: { baseDelayMs: 1 } });
    const startMs = performance.now();
    await expect(client.ingest(signalInput())).resolves.toMatchObject({ outcome: "stored" });
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(299);
  });

  it("ends all attempts together at the budget, and tells the server each time", async () => {
    await using server = await startTestServer({
      http: wire.httpVersion,
      service: { ingest: () => new Promise(() => {}) },
    });
    const retry = { baseDelayMs: 10, jitter: 0, factor: 1, budgetMs: 500 };
    await using client = clientOf(server, { ...wire, timeoutMs: 300, retry });
    const startMs = performance.now();

    const call = client.ingest(signalInput());

    await expect(call).rejects.toMatchObject({ reason: "DEADLINE_EXCEEDED" });
    expect(performance.now() - startMs).toBeGreaterThan(450);
    const told = server.requests.map(({ headers }) =>
      Number.parseInt(String(headers["connect-timeout-ms"] ?? headers["grpc-timeout"]), 10),
    );
    expect(told).toHaveLength(2);
    expect(told[0]).toBe(300);
    expect(told[1]).toBeLessThan(200);
  });
});

/** So that whoever waits between attempts, and should not, is never done. */
const LONG_WAITS = { baseDelayMs: 60_000 };

describe("an answer of a proxy", () => {
  function proxy(headers: Record<string, string>, failures = 1) {
    let requests = 0;
    return startTestServer({
      intercept: (request, response) => {
        requests += 1;
        if (requests > failures) return false;
        request.resume();
        response.writeHead(503, headers).end();
        return true;
      },
    });
  }

  it("with Retry-After is obeyed, without an immediate retry", async () => {
    await using server = await proxy({ "retry-after": "1" });
    await using client = clientOf(server, { retry: { baseDelayMs: 1 } });
    const startMs = performance.now();
    await expect(client.ingest(signalInput())).resolves.toMatchObject({ outcome: "stored" });
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(999);
    expect(server.requests).toHaveLength(2);
  });

  it("with a Retry-After past the budget ends the call at once", async () => {
    await using server = await proxy({ "retry-after": "301" });
    await using client = clientOf(server);
    const failed = client.ingest(signalInput());
    await expect(failed).rejects.toMatchObject({ reason: "UNREACHABLE", retryAfterMs: 301_000 });
    expect(server.requests).toHaveLength(1);
  });
});

describe("how often it is tried", () => {
  it.each<[string, Partial<SignalClientOptions>, number]>([
    ["as often as the options say", { retry: { retriesMax: 3, baseDelayMs: 1 } }, 4],
    ["once if retries are switched off", { retry: false }, 1],
  ])("%s", async (_, options, requests) => {
    await using server = await startTestServer({
      service: failing(refusal("INTERNAL")),
    });
    await using client = clientOf(server, { ...options, circuitBreaker: false });
    await expect(client.ingest(signalInput())).rejects.toMatchObject({ reason: "INTERNAL" });
    expect(server.requests).toHaveLength(requests);
  });

  it("is for a call to say, as far as it says so", async () => {
    await using server = await startTestServer({
      service: failing(refusal("INTERNAL")),
    });
    const retry = { retriesMax: 5, baseDelayMs: 1 };
    await using client = clientOf(server, { retry, circuitBreaker: false });
    await client.ingest(signalInput(), { retry: { retriesMax: 1 } }).catch(() => {});
    expect(server.requests).toHaveLength(2);
    await client.ingest(signalInput(), { retry: false }).catch(() => {});
    expect(server.requests).toHaveLength(3);
  });
});

describe("a call that waits for its next retry", () => {
  const refusing = () => startTestServer({ service: failing(refusal("STORE_UNAVAILABLE")) });

  it("ends at once when the caller gives up", async () => {
    await using server = await refusing();
    const controller = new AbortController();
    const reason = new Error("The strategy changed its mind.");
    const waiting = vi.fn();
    const logger = { info() {}, warn: waiting, error() {} };
    await using client = clientOf(server, { logger, retry: LONG_WAITS });
    const call = client.ingest(signalInput(), { signal: controller.signal });
    const outcome = expect(call).rejects.toMatchObject({ reason: "CANCELLED", cause: reason });
    await vi.waitFor(() => expect(waiting).toHaveBeenCalled());
    controller.abort(reason);
    await outcome;
    expect(server.requests).toHaveLength(1);
  });

  it("ends at once with its last error when the client is closed, many of them too", async () => {
    await using server = await refusing();
    const warned = vi.fn();
    process.on("warning", warned);
    const waiting = vi.fn();
    const client = clientOf(server, {
      circuitBreaker: false,
      retry: LONG_WAITS,
      logger: { info() {}, warn: waiting, error() {} },
    });
    const calls = Array.from({ length: 40 }, () =>
      client.ingest(signalInput()).catch((error: SignalError) => error.reason),
    );
    await vi.waitFor(() => expect(waiting).toHaveBeenCalledTimes(40));

    await client.close();

    expect(new Set(await Promise.all(calls))).toEqual(new Set(["STORE_UNAVAILABLE"]));
    expect(server.requests).toHaveLength(40);
    process.off("warning", warned);
    expect(warned).not.toHaveBeenCalled();
  });
});

it("makes no further attempt after one that fails while the client is closed", async () => {
  const gate = Promise.withResolvers<void>();
  await using server = await startTestServer({
    service: {
      ingest: async () => {
        await gate.promise;
        throw refusal("STORE_UNAVAILABLE");
      },
    },
  });
  const client = clientOf(server, { retry: { baseDelayMs: 1 } });
  const call = client.ingest(signalInput()).catch((error: SignalError) => error.reason);
  await vi.waitFor(() => expect(server.requests).toHaveLength(1));
  const closed = client.close();
  gate.resolve();
  await closed;
  expect(await call).toBe("STORE_UNAVAILABLE");
  expect(server.requests).toHaveLength(1);
});
