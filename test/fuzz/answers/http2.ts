/**
 * Reads the answers of a connection of HTTP/2: the frames by hand, and what is in them by the
 * client of Node.js, which is given the server's bytes and takes nothing that is not well-formed.
 */
import http2 from "node:http2";
import { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import * as frames from "../../attacks/support/http2Frames.ts";
import { BROKEN_OFF, type WireAnswer } from "../../conformance/support/client.ts";

/** A frame as it came. */
interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly bytes: Buffer;
}

const HEAD_BYTES = 9;
const FRAME_MAX_BYTES = 16_384;
const CONTINUATION = 9;
/** How long a client may take to read what is there already. */
const DECODING_TIMEOUT_MS = 5_000;
/** What a client has to read to understand the answers. */
const TO_READ: readonly number[] = [
  frames.FRAME.data,
  frames.FRAME.headers,
  CONTINUATION,
  frames.FRAME.reset,
];
const OF_STREAMS: readonly number[] = [frames.FRAME.data, frames.FRAME.headers, CONTINUATION];

/** The whole frames. @throws Error if one is none that a server may send here. */
export function framesOf(bytes: Buffer): Frame[] {
  const found: Frame[] = [];
  for (let at = 0; at + HEAD_BYTES <= bytes.length; ) {
    const length = bytes.readUIntBE(at, 3);
    const [type, flags, stream] = [
      bytes.readUInt8(at + 3),
      bytes.readUInt8(at + 4),
      bytes.readUInt32BE(at + 5),
    ];
    const end = at + HEAD_BYTES + length;
    if (length > FRAME_MAX_BYTES || type > CONTINUATION || type === 5) {
      throw new Error(`no frame of a server: type ${type} of ${length} bytes`);
    }
    if (OF_STREAMS.includes(type) && stream % 2 !== 1) throw new Error(`no stream: ${stream}`);
    if (end > bytes.length) break;
    found.push({ type, flags, stream, bytes: bytes.subarray(at, end) });
    at = end;
  }
  return found;
}

/** Whether a stream has come to its end, by its answer or by a reset. */
export function isOver(sent: readonly Frame[], stream: number): boolean {
  return sent.some(
    (one) =>
      one.stream === stream &&
      (one.type === frames.FRAME.reset ||
        (one.type !== CONTINUATION &&
          OF_STREAMS.includes(one.type) &&
          (one.flags & frames.END_STREAM) !== 0)),
  );
}

/** Whether the body of an answer has begun. */
export function hasBegun(sent: readonly Frame[], stream: number): boolean {
  return sent.some(
    (one) =>
      one.stream === stream && one.type === frames.FRAME.data && one.bytes.length > HEAD_BYTES,
  );
}

/** What is known of a request to read its answer. */
export interface Asked {
  readonly method: string;
  /** Whether the answer may never end, so that what came of it is enough. */
  readonly isEndless: boolean;
}

const UNKNOWN: Asked = { method: "POST", isEndless: false };

/**
 * The answers by their stream, as far as they came.
 *
 * @param requests those on the streams 1, 3, 5 …
 * @throws Error if what came is no HTTP/2.
 */
export async function readHttp2(
  bytes: Buffer,
  requests: readonly Asked[],
): Promise<ReadonlyMap<number, WireAnswer>> {
  const came = framesOf(bytes).filter(({ type }) => TO_READ.includes(type));
  const ids = [...new Set(came.map(({ stream }) => stream))].sort((one, other) => one - other);
  if (ids.length === 0) return new Map();
  // Whoever asked may have left out numbers, which a client does not.
  const all = came.map((frame) => withStream(frame, 2 * ids.indexOf(frame.stream) + 1));
  const asked = ids.map((id) => requests[(id - 1) / 2] ?? UNKNOWN);
  const answers = await decoded(all, asked);
  return new Map(ids.flatMap((id, at) => (answers[at] === undefined ? [] : [[id, answers[at]]])));
}

function withStream(frame: Frame, stream: number): Frame {
  const bytes = Buffer.from(frame.bytes);
  bytes.writeUInt32BE(stream, 5);
  return { ...frame, stream, bytes };
}

/** The answers on the streams 1, 3, 5 …, in their order. */
async function decoded(
  all: readonly Frame[],
  requests: readonly Asked[],
): Promise<(WireAnswer | undefined)[]> {
  const last = 2 * requests.length - 1;
  const opened = Promise.withResolvers<void>();
  let sent = Buffer.alloc(0);
  const socket = new Duplex({
    read: () => undefined,
    write(chunk: Buffer, _encoding, done) {
      sent = Buffer.concat([sent, chunk]);
      const opening = framesOf(sent.subarray(frames.PREFACE.length));
      if (opening.some(({ stream }) => stream === last)) opened.resolve();
      done();
    },
  });
  const settings = { initialWindowSize: 2 ** 31 - 1, maxConcurrentStreams: 2_000 };
  const session = http2.connect("http://localhost", { createConnection: () => socket, settings });
  const fault = Promise.withResolvers<never>();
  fault.promise.catch(() => undefined);
  const onFault = (error: Error & { code?: string }) => {
    if (error.code === "ERR_HTTP2_ERROR") fault.reject(new Error(`no HTTP/2: ${error.message}`));
  };
  session.on("error", onFault);
  await new Promise((resolve) => session.once("connect", resolve));
  socket.push(frames.frame(frames.FRAME.settings, 0, 0, Buffer.from("000300000fff", "hex")));
  const answers = new Map<number, WireAnswer>();
  const ends: Promise<unknown>[] = [];
  const closings: Promise<unknown>[] = [];
  for (const [index, { method, isEndless }] of requests.entries()) {
    const stream = 2 * index + 1;
    const request = session.request({ ":method": method, ":path": "/" }, { endStream: true });
    request.on("error", onFault);
    const end = readStream(request, answers, stream, isEndless);
    closings.push(end);
    if (isOver(all, stream)) ends.push(end);
    // Of an answer without an end, what came of it is read all the same.
    else if (all.some((one) => one.stream === stream && one.type === frames.FRAME.headers)) {
      const event = hasBegun(all, stream) ? "data" : "response";
      ends.push(new Promise((resolve) => request.once(event, resolve)));
    }
  }
  await opened.promise;
  for (const { bytes } of all) socket.push(bytes);
  try {
    const late = sleep(DECODING_TIMEOUT_MS, "late", { ref: false });
    const how = await Promise.race([fault.promise, Promise.all(ends), late]);
    if (how === "late") throw new Error("no HTTP/2: a client waits for more");
  } finally {
    session.destroy();
  }
  await Promise.all(closings);
  return requests.map((_, index) => answers.get(2 * index + 1));
}

function readStream(
  stream: http2.ClientHttp2Stream,
  answers: Map<number, WireAnswer>,
  id: number,
  isEndless: boolean,
): Promise<void> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let headers: Record<string, string> = {};
    let trailers: Record<string, string> = {};
    stream.on("response", (fields) => {
      headers = flat(fields);
    });
    stream.on("trailers", (fields) => {
      trailers = flat(fields);
    });
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.once("close", () => {
      const { ":status": status, ...rest } = headers;
      if (status !== undefined) {
        const isWhole = stream.readableEnded || isEndless;
        answers.set(id, {
          status: isWhole ? Number(status) : BROKEN_OFF,
          headers: rest,
          body: Buffer.concat(chunks),
          trailers,
        });
      }
      resolve();
    });
  });
}

function flat(fields: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]));
}
