/**
 * Requests that prove nothing, in numbers: an address may bring a few, and whoever signs well
 * or has a live token is served all the while, also behind the same address.
 */
import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { ProducerService } from "../../gen/signals/v1/producer_service_pb.ts";
import { createSignalClient, SignalError } from "../../src/client/index.ts";
import { addTokens, aToken } from "../server/support/tokens.ts";
import {
  bodies,
  framed,
  INGEST_PATH,
  PROTOCOLS,
  type Protocol,
  REST_PATH,
  type SendOptions,
  send,
  type WireAnswer,
} from "../server/support/wire.ts";
import { anotherAddress } from "../support/anotherAddress.ts";
import { eventually } from "../support/eventually.ts";
import { TEST_PRODUCER_ID, testHeaders } from "../support/server.ts";
import { validSignal } from "../support/signals.ts";
import { exchange, type HeaderLines, rawPost } from "./support/rawHttp1.ts";
import { attackedServer, expectNoRow } from "./support/target.ts";

const WRONG_SECRET = "a-secret-that-nobody-knows-00001";
const admin = aToken();
const forged = aToken();
const target = attackedServer({
  prepare: (databaseUrl) => addTokens(databaseUrl, [admin]),
  secrets: () => [admin.text, forged.text, WRONG_SECRET],
});

const LIST = `/${ProducerService.typeName}/ListProducers`;
/** More than an address may fail at once, and more than it gets back while that is tried. */
const MANY = 60;

/** One way to fail: on which port, over what, and with which false proof. */
interface Failure {
  readonly name: string;
  readonly url: () => string;
  readonly protocol: Protocol;
  readonly options: SendOptions;
  /** The honest request of the same kind. */
  readonly honest: SendOptions;
}

const FAILURES: readonly Failure[] = [
  ...PROTOCOLS.map((protocol) => ({
    name: `signatures over ${protocol}`,
    url: () => target.url,
    protocol,
    options: { signing: { secret: WRONG_SECRET } },
    honest: {},
  })),
  ...PROTOCOLS.filter((protocol) => protocol !== "REST").map((protocol) => ({
    name: `tokens over ${protocol}`,
    url: () => target.opsUrl,
    protocol,
    options: { method: { path: LIST, token: forged.text } },
    honest: { method: { path: LIST, token: admin.text } },
  })),
];

const EMPTY = { binary: Buffer.alloc(0), json: Buffer.from("{}"), rest: Buffer.from("{}") };

function attempt(failure: Failure, from: string, options = failure.options): Promise<WireAnswer> {
  const body = options.method === undefined ? bodies() : EMPTY;
  return send(failure.url(), failure.protocol, body, { ...options, from });
}

/** Fails until it is told that this was too often. @returns that answer. */
async function exhaust(fail: () => Promise<WireAnswer>): Promise<WireAnswer> {
  for (let count = 0; count < MANY; count++) {
    const answer = await fail();
    if (answer.error?.reason !== "UNAUTHENTICATED") return answer;
  }
  return expect.unreachable("an address may fail without an end");
}

test.each(FAILURES)("$name are bounded for an address, and only failures", async (failure) => {
  await expectNoRow(target.sql, async () => {
    const from = anotherAddress();
    const answers = await Promise.all(Array.from({ length: 15 }, () => attempt(failure, from)));
    expect(new Set(answers.map(({ error }) => error?.reason))).toEqual(
      new Set(["UNAUTHENTICATED"]),
    );
    const { error, httpStatus, headers } = await exhaust(() => attempt(failure, from));
    expect(error).toMatchObject({ reason: "RATE_LIMITED" });
    expect(error?.message).toContain("Too many requests from this address prove nothing.");
    expect(error?.message).toMatch(/not signed by a known producer|no token that is live/);
    if (!failure.protocol.startsWith("gRPC")) expect(httpStatus).toBe(429);
    expect(headers["www-authenticate"]).toBeUndefined();

    // What it is told of the time is true.
    expect(error?.retryAfterMs).toBeGreaterThan(0);
    expect(error?.retryAfterMs).toBeLessThanOrEqual(1_000);
    await sleep(Number(error?.retryAfterMs));
    expect((await attempt(failure, from)).error?.reason).toBe("UNAUTHENTICATED");

    await exhaust(() => attempt(failure, from));
    const other = await attempt(failure, anotherAddress());
    expect(other.error?.reason).toBe("UNAUTHENTICATED");
  });
  const from = anotherAddress();
  let isOver = false;
  const flood = Array.from({ length: 4 }, async () => {
    while (!isOver) await attempt(failure, from);
  });
  await exhaust(() => attempt(failure, from));
  for (let count = 0; count < 20; count++) {
    expect((await attempt(failure, from, failure.honest)).error).toBeUndefined();
  }
  isOver = true;
  await Promise.all(flood);
});

test("what is wrong cannot be told from the answer beyond the bound, either", async () => {
  const [failure] = FAILURES as [Failure];
  const kinds: Readonly<Record<string, SendOptions>> = {
    "a wrong secret": failure.options,
    "an unknown producer": { signing: { producerId: "nobody" } },
    "no signature": { headers: { "x-signature": "" } },
    "a malformed time": { headers: { "x-timestamp": "now" } },
  };
  const from = anotherAddress();
  const headers = { "x-request-id": "the-same-for-all" };
  const answers = new Map<string, unknown>();
  for (const [kind, options] of Object.entries(kinds)) {
    const asked = { ...options, headers: { ...options.headers, ...headers } };
    const { error, headers: received } = await exhaust(() => attempt(failure, from, asked));
    answers.set(kind, [
      { ...error, retryAfterMs: undefined },
      { ...received, date: "", "grpc-status-details-bin": "" },
    ]);
  }
  const [first] = answers.values();
  for (const [kind, answer] of answers) expect(answer, kind).toEqual(first);
});

test("a bad clock is no failed proof", async () => {
  const [failure] = FAILURES as [Failure];
  const from = anotherAddress();
  const old = { signing: { timestamp: new Date(Date.now() - 3_600_000).toISOString() } };
  for (let count = 0; count < 40; count++) {
    expect((await attempt(failure, from, old)).error?.reason).toBe("CLOCK_SKEW");
  }
  expect((await attempt(failure, from)).error?.reason).toBe("UNAUTHENTICATED");
});

test("the connection of the one too many ends after its answer, over HTTP/1.1", async () => {
  const [tokens] = FAILURES.slice(-1) as [Failure];
  const body = Buffer.from("{}");
  const lines: HeaderLines = [
    ["content-type", "application/json"],
    ["authorization", `Bearer ${forged.text}`],
  ];
  const from = anotherAddress();
  const port = Number(new URL(target.opsUrl).port);
  const request = rawPost(LIST, lines, body);
  const early = await exchange(port, [request], "closed", 500, from);
  expect([early.status, early.isClosed]).toEqual([401, false]);
  await exhaust(() => attempt(tokens, from));
  let late = await exchange(port, [request], "closed", 5_000, from);
  if (late.status === 401) late = await exchange(port, [request], "closed", 5_000, from);
  expect([late.status, late.headers.connection, late.isClosed]).toEqual([429, "close", true]);
  // An answer that is followed by a reset, while the body still comes, could be lost.
  await exhaust(() => attempt(tokens, from));
  const head = request.subarray(0, request.length - body.length);
  expect((await exchange(port, [head], "answered", 300, from)).status).toBeUndefined();
});

/** Opens a stream over HTTP/2 and signs for it. @returns it, and how it ended. */
function open(session: http2.ClientHttp2Session, secret?: string) {
  const message = bodies().binary;
  const stream = session.request({
    ":method": "POST",
    ":path": INGEST_PATH,
    "content-type": "application/grpc",
    te: "trailers",
    ...testHeaders(INGEST_PATH, message, secret === undefined ? {} : { secret }),
  });
  let status: unknown;
  const note = (headers: http2.IncomingHttpHeaders) => {
    status ??= headers["grpc-status"];
  };
  stream
    .on("response", note)
    .on("trailers", note)
    .on("error", () => undefined);
  stream.resume();
  const ended = once(stream, "close").then(() => status);
  return { stream, message: framed(message), ended };
}

function connect(from: string): http2.ClientHttp2Session {
  const { port } = target.server;
  const session = http2.connect(target.url, {
    createConnection: () => net.connect({ port, host: "127.0.0.1", localAddress: from }),
  });
  session.on("error", () => undefined);
  onTestFinished(() => session.destroy());
  return session;
}

/** As gRPC numbers its codes. */
const [OK, RESOURCE_EXHAUSTED] = ["0", "8"];

test("over HTTP/2 it ends after what is under way, unless somebody is proven on it", async () => {
  const [failure] = FAILURES as [Failure];
  const from = anotherAddress();
  const shared = connect(from);
  const proven = connect(from);
  const first = open(proven);
  first.stream.end(first.message);
  expect(await first.ended).toBe(OK);
  const honest = open(shared);
  honest.stream.write(honest.message.subarray(0, 10));

  async function failUntilTold(session: http2.ClientHttp2Session): Promise<void> {
    await exhaust(() => attempt(failure, from));
    for (let count = 0; count < MANY && !session.closed; count++) {
      const { stream, message, ended } = open(session, WRONG_SECRET);
      stream.end(message);
      if ((await ended) === RESOURCE_EXHAUSTED) return;
    }
  }
  await failUntilTold(shared);
  await eventually("it is told to end", () => shared.closed);
  honest.stream.end(honest.message.subarray(10));
  expect(await honest.ended).toBe(OK);

  await failUntilTold(proven);
  const again = open(proven);
  again.stream.end(again.message);
  expect(await again.ended).toBe(OK);
  expect(proven.closed).toBe(false);
});

test("a bot with a wrong secret learns the cause, also behind a stranger's address", async () => {
  const [failure] = FAILURES as [Failure];
  const options = { producerId: TEST_PRODUCER_ID, secret: WRONG_SECRET };
  // All clients of Node.js are at 127.0.0.1.
  await exhaust(() => attempt(failure, "127.0.0.1"));
  await using client = createSignalClient({ serverUrl: target.url, ...options });
  const thrown = await client.ingest(validSignal()).catch((error: unknown) => error);
  expect(thrown).toBeInstanceOf(SignalError);
  // It waited as it was told.
  expect((thrown as SignalError).reason).toBe("UNAUTHENTICATED");
});

test("a flood of them is told in so many lines a second", async () => {
  const before = target.server.logLines().length;
  const startMs = performance.now();
  const body = bodies().rest;
  const from = anotherAddress();
  const one = rawPost(
    REST_PATH,
    Object.entries({
      "content-type": "application/json",
      ...testHeaders(REST_PATH, body, { secret: WRONG_SECRET }),
    }),
    body,
  );
  const many = Buffer.concat(Array.from({ length: 90 }, () => one));
  for (let count = 0; count < 20; count++) {
    await exchange(target.server.port, [many], "closed", 5_000, from);
  }
  const seconds = Math.ceil((performance.now() - startMs) / 1_000) + 1;
  expect(target.server.logLines().length - before).toBeLessThan(101 * seconds);
});
