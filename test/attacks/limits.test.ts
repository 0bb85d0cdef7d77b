/**
 * What one connection may do, and what it may not: strangers meet limits early, and honest
 * heavy use, of which some looks alike, meets none.
 */

import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, connectivityState, credentials } from "@grpc/grpc-js";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Ingest } from "../../src/ingest/index.ts";
import { refuse } from "../../src/signal/index.ts";
import { startRouter } from "../server/support/routerServer.ts";
import {
  bodies,
  framed,
  INGEST_BATCH_PATH,
  INGEST_PATH,
  REST_PATH,
} from "../server/support/wire.ts";
import { allOf } from "../support/allOf.ts";
import { eventually } from "../support/eventually.ts";
import type { TestServer } from "../support/server.ts";
import * as frames from "./support/http2Frames.ts";
import { exchange, rawPost, rawRequest } from "./support/rawHttp1.ts";

const WATCH = "/grpc.health.v1.Health/Watch";
const GRPC = { "content-type": "application/grpc", te: "trailers" };
const ENHANCE_YOUR_CALM = 11;
/** As gRPC numbers its codes. */
const RESOURCE_EXHAUSTED = "8";

/** Takes every signal. Nobody has to sign here, so that each signal proves its sender. */
const takeAll: Ingest = async (submissions, { receiveTime }) =>
  (await allOf(submissions)).map(() => ({ kind: "valid", status: "received", receiveTime }));

/** Starts a server on which nothing that was used up comes back, however slow this machine is. */
async function start(ingest: Ingest = takeAll): Promise<TestServer> {
  const server = await startRouter(ingest, { allowanceClock: () => 0 });
  onTestFinished(() => server.close());
  return server;
}

interface RawConnection {
  readonly socket: net.Socket;
  /** All that came so far. */
  received(): Buffer;
  isClosed(): boolean;
}

async function connect(port: number, from = "127.0.0.1"): Promise<RawConnection> {
  const socket = net.connect({ port, host: "127.0.0.1", localAddress: from });
  onTestFinished(() => void socket.destroy());
  const chunks: Buffer[] = [];
  let isClosed = false;
  socket.on("error", () => undefined);
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.once("close", () => {
    isClosed = true;
  });
  await once(socket, "connect");
  return { socket, received: () => Buffer.concat(chunks), isClosed: () => isClosed };
}

function session(url: string, options?: http2.ClientSessionOptions): http2.ClientHttp2Session {
  const client = http2.connect(url, options);
  client.on("error", () => undefined);
  onTestFinished(() => client.destroy());
  return client;
}

/** Sends a signal over gRPC. @returns the gRPC status, or `undefined` if the stream broke off. */
async function ingest(client: http2.ClientHttp2Session): Promise<unknown> {
  const stream = client.request({ ":method": "POST", ":path": INGEST_PATH, ...GRPC });
  let status: unknown;
  const note = (headers: http2.IncomingHttpHeaders) => {
    status ??= headers["grpc-status"];
  };
  stream
    .on("response", note)
    .on("trailers", note)
    .on("error", () => undefined);
  stream.resume().end(framed(bodies().binary));
  await once(stream, "close");
  return status;
}

/** Streams that are opened and reset in one piece. */
function resets(count: number, path = "/x"): Buffer {
  const stream = (index: number) =>
    Buffer.concat([
      frames.headers(2 * index + 1, frames.post(path), frames.END_STREAM),
      frames.reset(2 * index + 1, frames.CANCEL),
    ]);
  return Buffer.concat([frames.opening(), ...Array.from({ length: count }, (_, i) => stream(i))]);
}

/** Uses up what all connections of an address share. */
async function useUpResets(port: number, from: string): Promise<void> {
  for (let round = 0; round < 12; round++) {
    const { socket, isClosed } = await connect(port, from);
    socket.write(resets(1_000));
    await eventually("it ends", isClosed);
  }
}

/** Posts a batch whose answer has a megabyte. @returns the stream, at the answer's headers. */
async function postBatch(client: http2.ClientHttp2Session): Promise<http2.ClientHttp2Stream> {
  const stream = client.request({
    ":method": "POST",
    ":path": INGEST_BATCH_PATH,
    "content-type": "application/json",
  });
  stream.on("error", () => undefined);
  stream.end(`{"requests":[${Array(1_000).fill("{}").join(",")}]}`);
  await once(stream, "response");
  return stream;
}

/** The error codes of the GOAWAY frames (RFC 9113, section 6.8) in what a server sent. */
function goawayCodes(bytes: Buffer): number[] {
  const codes: number[] = [];
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    if (bytes[at + 3] === frames.FRAME.goaway) codes.push(bytes.readUInt32BE(at + 13));
  }
  return codes;
}

/** The highest of the streams that the server sent something on. */
function highestStream(bytes: Buffer): number {
  let highest = 0;
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    highest = Math.max(highest, bytes.readUInt32BE(at + 5));
  }
  return highest;
}

describe("an HTTP/2 session of a stranger", () => {
  test("on which no stream is opened ends after 10 s, pings or not", {
    timeout: 60_000,
  }, async () => {
    const { port } = await start();
    const startMs = performance.now();
    const connections = await Promise.all([connect(port), connect(port)]);
    for (const { socket } of connections) socket.write(frames.opening());
    const ping = setInterval(() => {
      connections[1]?.socket.write(frames.frame(frames.FRAME.ping, 0, 0, Buffer.alloc(8)));
    }, 500);
    onTestFinished(() => clearInterval(ping));
    await eventually("both end", () => connections.every((c) => c.isClosed()), 40_000);
    expect(performance.now() - startMs).toBeGreaterThan(9_000);
  });

  test("is closed at its 101st reset, and what was sent with it is not served", async () => {
    const { port } = await start();
    const { socket, received, isClosed } = await connect(port);
    socket.write(resets(1_000));
    await eventually("it ends", isClosed);
    expect(goawayCodes(received())).toContain(ENHANCE_YOUR_CALM);
    expect(highestStream(received())).toBeLessThan(2 * 150);
  });

  test("may reset a hundred", async () => {
    const { port } = await start();
    const { socket, received, isClosed } = await connect(port);
    socket.write(resets(100));
    socket.write(frames.headers(401, frames.post("/x"), frames.END_STREAM));
    await eventually("the last is answered", () => highestStream(received()) === 401);
    expect(isClosed()).toBe(false);
  });

  test("has only eight resets once its address has used up what it shares", async () => {
    const { port } = await start();
    await useUpResets(port, "127.0.0.66");
    const late = await connect(port, "127.0.0.66");
    late.socket.write(resets(9));
    await eventually("it ends", late.isClosed);
    const other = await connect(port, "127.0.0.67");
    other.socket.write(resets(9));
    other.socket.write(frames.headers(401, frames.post("/x"), frames.END_STREAM));
    await eventually("the last is answered", () => highestStream(other.received()) === 401);
  });

  test("has 16 streams at once then, until a producer proves itself on it", async () => {
    const { port, url } = await start();
    await useUpResets(port, "127.0.0.1");
    const client = session(url);
    const streamsMax: (number | undefined)[] = [];
    client.on("remoteSettings", (settings) => streamsMax.push(settings.maxConcurrentStreams));
    await eventually("it is told", () => streamsMax.at(-1) === 16);
    const statuses = await Promise.all(Array.from({ length: 100 }, () => ingest(client)));
    expect(statuses).toEqual(Array(100).fill("0"));
    await eventually("it is told again", () => streamsMax.at(-1) === 100);
  });

  test("ends for others when no more requests can be under way", async () => {
    const { port } = await start();
    const type = ["content-type", "application/grpc"] as const;
    const open = (index: number) =>
      frames.headers(2 * index + 1, [...frames.post(INGEST_PATH), type]);
    const streams = Array.from({ length: 100 }, (_, index) => open(index));
    const connections: RawConnection[] = [];
    const isFirstClosed = () => connections[0]?.isClosed() === true;
    for (let count = 0; count < 40 && !isFirstClosed(); count++) {
      const connection = await connect(port, "127.0.0.66");
      connection.socket.write(Buffer.concat([frames.opening(), ...streams]));
      connections.push(connection);
      await sleep(20);
    }
    await eventually("the first ends", isFirstClosed, 2_000);
    expect(connections.length).toBeGreaterThan(20);
    expect(connections.at(-1)?.isClosed()).toBe(false);
  });

  test("ends when it asks for more than 500 things at once", async () => {
    const { port } = await start();
    const { socket, received, isClosed } = await connect(port);
    socket.write(frames.opening());
    for (let stream = 1; stream < 4_000 && !isClosed(); stream += 2) {
      socket.write(frames.headers(stream, frames.post("/x"), frames.END_STREAM));
      if (stream % 100 === 99) await sleep(5);
    }
    await eventually("it ends", isClosed);
    expect(highestStream(received())).toBeLessThan(2 * 510);
  });

  test("has eight watches", async () => {
    const server = await start();
    const client = session(server.url);
    const told = { states: 0, refused: 0 };
    for (let index = 0; index < 9; index++) {
      const stream = client.request({ ":method": "POST", ":path": WATCH, ...GRPC });
      stream.once("data", () => {
        told.states += 1;
      });
      const note = (headers: http2.IncomingHttpHeaders) => {
        if (headers["grpc-status"] === RESOURCE_EXHAUSTED) told.refused += 1;
      };
      stream.on("response", note).on("trailers", note).resume();
      stream.on("error", () => undefined);
      stream.end(framed(Buffer.alloc(0)));
    }
    await eventually("all are answered", () => told.states + told.refused === 9);
    expect(told).toEqual({ states: 8, refused: 1 });
  });
});

describe("an HTTP/1.1 connection of a stranger", () => {
  test("may have a hundred requests at once, and ends with more", async () => {
    const { port } = await start();
    const request = rawRequest("GET /x HTTP/1.1", [["host", "a"]]);
    const few = await connect(port);
    few.socket.write(Buffer.concat(Array.from({ length: 100 }, () => request)));
    const answers = () => few.received().toString("latin1").split("HTTP/1.1 404").length - 1;
    await eventually("all are answered", () => answers() === 100);
    const many = await connect(port);
    many.socket.write(Buffer.concat(Array.from({ length: 101 }, () => request)));
    await eventually("it ends", many.isClosed);
  });
});

describe("honest heavy use is not cut:", () => {
  test("a hundred streams at once, thousands in all", async () => {
    const server = await start();
    const client = session(server.url);
    expect(await ingest(client)).toBe("0");
    const served = await Promise.all(
      Array.from({ length: 100 }, async () => {
        let count = 0;
        for (let sent = 0; sent < 20; sent++) if ((await ingest(client)) === "0") count += 1;
        return count;
      }),
    );
    expect(served).toEqual(Array(100).fill(20));
    expect(client.closed).toBe(false);
  });

  test("hundreds of calls that are cancelled among others", async () => {
    const server = await start();
    const client = session(server.url);
    const served = await Promise.all(
      Array.from({ length: 30 }, async () => {
        let count = 0;
        for (let sent = 0; sent < 10; sent++) {
          if ((await ingest(client)) === "0") count += 1;
          const cancelled = client.request({ ":method": "POST", ":path": INGEST_PATH, ...GRPC });
          cancelled.on("error", () => undefined);
          cancelled.write(framed(bodies().binary).subarray(0, 20));
          await sleep(1);
          cancelled.close(http2.constants.NGHTTP2_CANCEL);
        }
        return count;
      }),
    );
    expect(served).toEqual(Array(30).fill(10));
    expect(client.closed).toBe(false);
  });

  test("a session that only keeps itself alive between calls", { timeout: 60_000 }, async () => {
    const server = await start();
    const grpc = new Client(new URL(server.url).host, credentials.createInsecure(), {
      "grpc.keepalive_time_ms": 1_000,
      "grpc.keepalive_permit_without_calls": 1,
    });
    onTestFinished(() => grpc.close());
    const call = () =>
      new Promise<void>((resolve, reject) => {
        const pass = (bytes: Buffer) => bytes;
        const done = (error: Error | null) => (error === null ? resolve() : reject(error));
        grpc.makeUnaryRequest(INGEST_PATH, pass, pass, Buffer.from(bodies().binary), done);
      });
    await call();
    const states = new Set<connectivityState>();
    const watch = setInterval(() => states.add(grpc.getChannel().getConnectivityState(false)), 50);
    onTestFinished(() => clearInterval(watch));
    await sleep(12_000);
    expect([...states]).toEqual([connectivityState.READY]);
    await call();
  });

  test("a body that comes at the pace of the worst mobile line", { timeout: 60_000 }, async () => {
    const { port } = await start();
    const body = Buffer.concat([bodies().rest, Buffer.alloc(2_400, 0x20)]);
    const request = rawPost(REST_PATH, [["content-type", "application/json"]], body);
    const { socket, received } = await connect(port);
    const step = 150;
    for (let sent = 0; sent < request.length; sent += step) {
      socket.write(request.subarray(sent, sent + step));
      await sleep(400);
    }
    await eventually("it is answered", () => received().length > 0);
    expect(received().toString("latin1")).toMatch(/^HTTP\/1\.1 20[01] /);
  });

  test("a caller that is slower than that is told why", { timeout: 60_000 }, async () => {
    const { port } = await start();
    const request = rawPost(REST_PATH, [["content-type", "application/json"]], Buffer.alloc(5_000));
    const answer = await exchange(port, [request.subarray(0, 600)], "answered", 30_000);
    expect(answer.status).toBe(504);
    expect(answer.body).toContain("too slowly");
  });
});

test("answers that a producer does not read are kept up to a bound, the newest", {
  timeout: 60_000,
}, async () => {
  const refusal = refuse("INVALID_SIGNAL", "x".repeat(500));
  const refuseAll: Ingest = async (submissions, { receiveTime }) =>
    (await allOf(submissions)).map(() => ({ kind: "refused", refusal, receiveTime }));
  const server = await start(refuseAll);

  const streams: http2.ClientHttp2Stream[] = [];
  for (let sessions = 0; sessions < 12; sessions++) {
    const client = session(server.url, { settings: { initialWindowSize: 0 } });
    for (let batches = 0; batches < 5; batches++) streams.push(await postBatch(client));
  }
  const isOpen = (stream: http2.ClientHttp2Stream) => !stream.closed && !stream.destroyed;
  await eventually("no more than fit are kept", () => streams.filter(isOpen).length <= 32);
  expect(streams.filter(isOpen).length).toBeGreaterThan(10);
  expect(streams.slice(-10).every(isOpen)).toBe(true);

  const reader = await postBatch(session(server.url));
  const answer: Buffer[] = [];
  for await (const chunk of reader) answer.push(chunk);
  expect(Buffer.concat(answer).length).toBeGreaterThan(1_000_000);
});

test.each([
  ["batches", INGEST_BATCH_PATH, `{"requests":[${Array(1_000).fill("{}").join(",")}]}`, 11],
  ["single signals", INGEST_PATH, `{"idempotencyKey":"${"k".repeat(60_000)}"}`, 411],
] as const)(
  "%s that wait for the database take no more than a bound",
  {
    timeout: 60_000,
  },
  async (_, path, body, fitting) => {
    const answers = Promise.withResolvers<void>();
    const waitAndTakeAll: Ingest = async (submissions, origin, deadlineMs) => {
      await answers.promise;
      return takeAll(submissions, origin, deadlineMs);
    };
    const server = await start(waitAndTakeAll);
    const sessions = Array.from({ length: 5 }, () => session(server.url));
    const statuses: unknown[] = [];
    const headers = { ":method": "POST", ":path": path, "content-type": "application/json" };
    const count = fitting + 20;
    for (let sent = 0; sent < count; sent++) {
      const stream = (sessions[sent % 5] as http2.ClientHttp2Session).request(headers);
      stream.on("error", () => undefined);
      stream.once("response", (answer) => statuses.push(answer[":status"]));
      stream.resume().end(body);
    }

    await eventually("what does not fit is refused", () => statuses.length >= 15, 30_000);
    expect(new Set(statuses)).toEqual(new Set([503]));
    answers.resolve();
    await eventually("all are answered", () => statuses.length === count, 30_000);
    const taken = statuses.filter((status) => status === 200).length;
    expect(Math.abs(taken - fitting)).toBeLessThanOrEqual(5);
  },
);
