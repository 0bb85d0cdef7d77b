/**
 * What answers is no Countersign server: over real sockets, for a lone call and for an outbox. A
 * person is told what was met, at which URL, and what to do; and nothing waits in silence.
 */
import type { RequestListener } from "node:http";
import { connect, createServer } from "node:net";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import {
  IngestBatchRequestSchema,
  IngestBatchResponseSchema,
  IngestResponseSchema,
} from "../../gen/signals/v1/ingest_service_pb.ts";
import {
  clientOptionsFromEnv,
  type SignalClientOptions,
  SignalError,
  type SignalErrorReason,
} from "../../src/client/index.ts";
import { proxyRule } from "../../src/client/options.ts";
import { listen } from "../support/listen.ts";
import { serveFile } from "../support/serveFile.ts";
import { TEST_PRODUCER_ID, TEST_SECRET } from "../support/server.ts";
import { openOutbox, outboxPath, RecordingAlerts, SIGNAL } from "./outbox/support.ts";
import { TEST_CERTIFICATE } from "./support/certificate.ts";
import {
  clientTo,
  PRODUCER_ID,
  SECRET,
  startTestServer,
  storedResponse,
} from "./support/ingestServer.ts";

const METHOD = "/signals.v1.IngestService/Ingest";

function clientOf(url: string, options: Partial<SignalClientOptions> = {}) {
  const client = clientTo({ url }, { retry: false, ...options });
  onTestFinished(() => client.close());
  return client;
}

/** What a lone call is told, and what a person is told of an outbox that sends the same. */
async function told(serverUrl: string, options: Partial<SignalClientOptions> = {}) {
  const error = await clientOf(serverUrl, options)
    .ingest(SIGNAL)
    .then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
  if (!(error instanceof SignalError)) throw new Error(`This is no SignalError: ${error}`);
  const alerts = new RecordingAlerts();
  const client = clientOf(serverUrl, options);
  const outbox = openOutbox({ path: outboxPath(), client, alerts });
  await outbox.enqueue(SIGNAL, { idempotencyKey: "key-1" });
  await vi.waitFor(() => expect(alerts.sent).toHaveLength(1), 10_000);
  const [alert] = alerts.sent;
  for (const text of [error.message, alert?.text]) {
    expect(text).not.toContain(SECRET);
    expect(text).not.toMatch(/[\n\r]|hunter2/);
  }
  return { error, alert, status: outbox.status() };
}

function answering(status: number, headers: Record<string, string> = {}): RequestListener {
  return (request, response) => {
    request.resume();
    const type = { "content-type": "text/html; charset=utf-8" };
    response.writeHead(status, { ...type, ...headers }).end(status === 204 ? "" : "<h1>No</h1>");
  };
}

/** Each status with what a person is told to do. */
const HELD: readonly (readonly [number, SignalErrorReason, RegExp])[] = [
  [200, "INVALID_RESPONSE", /with text\/html .*public port/],
  [204, "INVALID_RESPONSE", /another program/],
  [301, "REFUSED", /redirects to https:\/\/elsewhere\.example\/login, /],
  [302, "REFUSED", /redirects to/],
  [307, "REFUSED", /redirects to/],
  [308, "REFUSED", /redirects to/],
  [400, "REFUSED", /TLS port/],
  [401, "UNAUTHENTICATED", /proxy or firewall/],
  [403, "REFUSED", /proxy or firewall/],
  [404, "REFUSED", /host, port and path/],
  [405, "REFUSED", /host, port and path/],
  [407, "REFUSED", /credentials.*HTTPS_PROXY/],
  [410, "REFUSED", /OUTBOUND_SERVER_URL/],
  [411, "REFUSED", /chunked/],
  [415, "REFUSED", /content type/],
  [418, "REFUSED", /OUTBOUND_SERVER_URL/],
  [431, "REFUSED", /headers/],
  [451, "REFUSED", /proxy or firewall/],
  [501, "REFUSED", /OUTBOUND_SERVER_URL/],
  [511, "REFUSED", /OUTBOUND_SERVER_URL/],
];

const LOCATION = { location: "https://user:hunter2@elsewhere.example/login?token=hunter2" };

describe.each([
  { protocol: "connect", http: "1.1" },
  { protocol: "grpc", http: "2" },
] as const)("an answer to $protocol", ({ protocol, http }) => {
  it.each(HELD)(
    "of status %i holds the outbox, with what was met",
    async (status, reason, advice) => {
      const listener = answering(status, LOCATION);
      await using server = await startTestServer({ listener, http });
      const { error, alert, status: outbox } = await told(server.url, { protocol });
      const met = `HTTP ${status}`;
      for (const text of [error.message, alert?.text, outbox.lastError?.message]) {
        expect(text).toMatch(advice);
        expect(text).toContain(met);
        expect(text).toContain(
          ` from ${server.url}${METHOD} is no answer of a Countersign server.`,
        );
      }
      expect(error).toMatchObject({ reason, isForeign: true });
      expect(alert?.kind).toBe("delivery_held");
      expect(outbox).toMatchObject({ state: "held", pending: 1, deadLetters: 0 });
    },
  );
});

/** Takes requests of so many bytes at most, as a proxy does, and stores what is in them. */
function limited(maxBytes: number): RequestListener {
  return async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    if (body.length > maxBytes) {
      response.writeHead(413, { "content-type": "text/html" }).end("<h1>Too large</h1>");
      return;
    }
    response.setHeader("content-type", "application/proto");
    if (request.url === METHOD) {
      response.end(toBinary(IngestResponseSchema, storedResponse()));
      return;
    }
    const { requests } = fromBinary(IngestBatchRequestSchema, body);
    const responses = requests.map(() => storedResponse());
    response.end(
      toBinary(IngestBatchResponseSchema, create(IngestBatchResponseSchema, { responses })),
    );
  };
}

it("makes a dead letter of the one signal that is too large for a proxy, status 413", async () => {
  await using server = await startTestServer({ listener: limited(10_000) });
  const large = { ...SIGNAL, payload: { text: "x".repeat(20_000) } };
  await expect(clientOf(server.url).ingest(large)).rejects.toMatchObject({
    reason: "BODY_TOO_LARGE",
    message: expect.stringMatching(/HTTP 413 from http.*client_max_body_size/),
  });

  const alerts = new RecordingAlerts();
  const outbox = openOutbox({ path: outboxPath(), client: clientOf(server.url), alerts });
  const signals = [SIGNAL, SIGNAL, large, SIGNAL, SIGNAL];
  await Promise.all(
    signals.map((signal, n) => outbox.enqueue(signal, { idempotencyKey: `key-${n}` })),
  );
  expect(await outbox.flush(20_000)).toBe(true);
  expect(outbox.status()).toMatchObject({ pending: 0, deadLetters: 1 });
  expect(alerts.kinds).toEqual(["delivery_failed"]);
  expect(alerts.sent[0]?.text).toContain("key-2");
  expect(alerts.sent[0]?.text).toMatch(/HTTP 413 from http.*client_max_body_size/);
});

it.each([408, 425, 429, 500, 502, 503, 504])(
  "waits after status %i, which passes",
  async (status) => {
    let isDown = true;
    await using server = await startTestServer({
      intercept: (request, response) => {
        if (isDown) answering(status)(request as never, response as never);
        return isDown;
      },
    });
    const alerts = new RecordingAlerts();
    const client = clientOf(server.url, { circuitBreaker: false });
    const retry = { baseDelayMs: 20, delayMaxMs: 50 };
    const outbox = openOutbox({ path: outboxPath(), client, alerts, retry });
    await outbox.enqueue(SIGNAL);
    await vi.waitFor(() => expect(server.requests.length).toBeGreaterThan(2), 10_000);
    isDown = false;
    expect(await outbox.flush(10_000)).toBe(true);
    expect(alerts.sent).toEqual([]);
  },
);

it("tells the cause, not that the client leaves the server alone", async () => {
  await using server = await startTestServer({ listener: answering(503) });
  const client = clientOf(server.url, { circuitBreaker: { failuresMax: 1 } });
  const outbox = openOutbox({ path: outboxPath(), client, retry: { baseDelayMs: 1 } });
  await client.ingest(SIGNAL).catch(() => {});
  await outbox.enqueue(SIGNAL);
  await vi.waitFor(() => expect(outbox.status().state).toBe("waiting"));
  const { lastError } = outbox.status();
  expect(lastError).toMatchObject({
    reason: "UNREACHABLE",
    message: expect.stringContaining("503"),
  });
  await expect(client.ingest(SIGNAL)).rejects.toMatchObject({
    reason: "CIRCUIT_OPEN",
    message: expect.stringContaining("HTTP 503"),
  });
});

describe.each(["1.1", "2"] as const)("another protocol than that of HTTP/%s", (httpVersion) => {
  it("is told of an https URL whose port speaks http", async () => {
    await using server = await startTestServer();
    const url = server.url.replace("http:", "https:");
    const { error, alert } = await told(url, { httpVersion });
    for (const text of [error.message, alert?.text]) {
      expect(text).toContain(`${url}${METHOD} says https, but what answers there speaks no TLS`);
    }
    expect(alert?.kind).toBe("delivery_held");
  });

  it("is told of an http URL whose port speaks TLS", async () => {
    await using server = await startTestServer({ tls: true, http: httpVersion });
    const url = server.url.replace("https:", "http:");
    const { error, alert } = await told(url, { httpVersion });
    for (const text of [error.message, alert?.text]) {
      expect(text).toContain(`${url}${METHOD} says http, but what answers there speaks TLS`);
    }
    expect(alert?.kind).toBe("delivery_held");
  });

  it("is told of a certificate that is not trusted", async () => {
    await using server = await startTestServer({ tls: true, http: httpVersion });
    const { error, alert } = await told(server.url, { httpVersion });
    for (const text of [error.message, alert?.text]) {
      expect(text).toMatch(/The certificate of https:.* is not trusted: .*tlsCa/);
    }
    expect(alert?.kind).toBe("delivery_held");
  });
});

describe("a Countersign server", () => {
  const served = serveFile({ OPS_PORT: "0" });
  const identity = { producerId: TEST_PRODUCER_ID, secret: TEST_SECRET };

  it.each(["connect", "grpc", "grpc-web"] as const)(
    "at a wrong path holds the outbox, %s",
    async (protocol) => {
      const { error, alert } = await told(`${served.server.url}/api`, { ...identity, protocol });
      for (const text of [error.message, alert?.text]) {
        expect(text).toContain(`${served.server.url}/api${METHOD}`);
        expect(text).toContain("HTTP 404");
      }
      expect(alert?.kind).toBe("delivery_held");
    },
  );

  it.each(["connect", "grpc-web"] as const)(
    "at its operations port holds the outbox, %s",
    async (protocol) => {
      const { alert, error } = await told(String(served.server.opsUrl), { ...identity, protocol });
      for (const text of [error.message, alert?.text]) {
        expect(text).toMatch(/HTTP 40[45] from http:\/\/127\.0\.0\.1:\d+\/signals/);
        expect(text).toContain("not of its operations port");
      }
      expect(alert?.kind).toBe("delivery_held");
    },
  );
});

describe("a proxy of HTTPS_PROXY", () => {
  /** A proxy that connects wherever it is asked to, at this machine. @returns what it was asked. */
  async function startConnectProxy(refusal?: string) {
    const asked: string[] = [];
    const proxy = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", (head) => {
        const [line = ""] = head.toString("latin1").split("\r\n");
        asked.push(line);
        if (refusal !== undefined) {
          socket.end(`HTTP/1.1 ${refusal}\r\ncontent-length: 0\r\n\r\n`);
          return;
        }
        const port = Number(/:(\d+) HTTP/.exec(line)?.[1]);
        const target = connect(port, "127.0.0.1", () => {
          socket.write("HTTP/1.1 200 OK\r\n\r\n");
          socket.pipe(target).pipe(socket);
        });
        target.on("error", () => socket.destroy());
      });
    });
    const listening = await listen(proxy);
    onTestFinished(() => listening[Symbol.asyncDispose]());
    const { port } = listening;
    return { asked, url: `http://user:hunter2@127.0.0.1:${port}` };
  }

  /** Another machine by its name, which is this one so that there is a server. */
  const elsewhere = (url: string) => url.replace("127.0.0.1", "localhost.");

  it("is gone through, but not to this machine, nor to the exceptions", async () => {
    await using server = await startTestServer({ tls: true });
    const proxy = await startConnectProxy();
    const common = { tlsCa: TEST_CERTIFICATE };
    const proxyEnv = { HTTPS_PROXY: proxy.url };
    const far = elsewhere(server.url);
    await clientOf(far, { ...common, proxyEnv }).ingest(SIGNAL);
    expect(proxy.asked).toEqual([`CONNECT localhost.:${server.port} HTTP/1.1`]);
    await clientOf(server.url, { ...common, proxyEnv }).ingest(SIGNAL);
    // Its name is known to the proxy only, so that the way without it leads nowhere.
    const excepted = clientOf(far, {
      ...common,
      proxyEnv: { ...proxyEnv, NO_PROXY: "localhost." },
    });
    await excepted.ingest(SIGNAL).catch(() => {});
    expect(proxy.asked).toHaveLength(1);
    expect(server.requests.length).toBeGreaterThanOrEqual(2);
  });

  it.each([
    ["20.19.0", false],
    ["22.20.9", false],
    ["22.21.0", true],
    ["23.11.1", false],
    ["24.4.1", false],
    ["24.5.0", true],
    ["26.0.0", true],
  ])("is refused by a Node.js that would pass it by, such as %s", (nodeVersion, isKnown) => {
    const rule = proxyRule("https://far", { HTTPS_PROXY: "http://proxy" }, nodeVersion);
    expect(rule).toBe(isKnown ? undefined : "needs Node.js 22.21, 24.5 or newer");
  });

  it("that refuses holds the outbox, and its password is not told", async () => {
    await using server = await startTestServer({ tls: true });
    const proxy = await startConnectProxy("407 Proxy Authentication Required");
    const { proxyEnv } = clientOptionsFromEnv({
      HMAC_PRODUCER_SECRET: SECRET,
      PRODUCER_ID,
      OUTBOUND_SERVER_URL: elsewhere(server.url),
      HTTPS_PROXY: proxy.url,
    });
    const { error, alert } = await told(elsewhere(server.url), { proxyEnv });
    for (const text of [error.message, alert?.text]) {
      expect(text).toMatch(/The proxy does not pass calls to https:\/\/localhost\..*HTTPS_PROXY/);
    }
    expect(alert?.kind).toBe("delivery_held");
  });
});
