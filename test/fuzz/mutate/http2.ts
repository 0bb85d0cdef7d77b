/**
 * HTTP/2 by the frame: whole requests, and frames that no client sends (RFC 9113; RFC 7541).
 */
import * as frames from "../../attacks/support/http2Frames.ts";
import type { Dice } from "../dice.ts";
import type { FuzzRequest } from "../request.ts";
import { mutateBytes } from "./bytes.ts";

const PRIORITY = 2;
const PUSH_PROMISE = 5;
const WINDOW_UPDATE = 8;
const CONTINUATION = 9;
const END_HEADERS = 0x4;
const PADDED = 0x8;
const WITH_PRIORITY = 0x20;
const FRAME_MAX_BYTES = 16_384;

/** A connection's start: as much room for answers as there can be, so that all come. */
function opening(): Buffer[] {
  const settings = Buffer.alloc(6);
  settings.writeUInt16BE(4, 0);
  settings.writeUInt32BE(0x7fff_ffff, 2);
  return [
    frames.PREFACE,
    frames.frame(frames.FRAME.settings, 0, 0, settings),
    frames.frame(WINDOW_UPDATE, 0, 0, numberOf(0x7fff_0000)),
  ];
}

/** Whole requests, each on a stream of its own: 1, 3, 5 … */
export function http2Bytes(requests: readonly FuzzRequest[], dice: Dice): Buffer {
  const streams = requests.map((request, index) => framesOf(request, 2 * index + 1, dice));
  return Buffer.concat([...opening(), ...interleaved(streams, dice)]);
}

/** The same with something wrong in it. */
export function spoiltHttp2(requests: readonly FuzzRequest[], dice: Dice): Buffer {
  const streams = requests.map((request, index) => framesOf(request, 2 * index + 1, dice, true));
  const sent = [...opening(), ...interleaved(streams, dice)];
  if (dice.chance(0.25)) {
    let bytes: Buffer = Buffer.concat(sent.slice(1));
    dice.times(4, () => {
      bytes = mutateBytes(bytes, dice);
    });
    return Buffer.concat([frames.PREFACE, bytes]);
  }
  dice.times(2, () => {
    // The preface stays: without it, it is no HTTP/2.
    const at = 1 + dice.upTo(sent.length - 1);
    const [frame] = sent.splice(at, 1);
    sent.splice(at, 0, ...dice.pick(MUTATIONS)(frame ?? Buffer.alloc(0), dice));
  });
  return Buffer.concat(sent);
}

function framesOf(request: FuzzRequest, stream: number, dice: Dice, isSpoilt = false): Buffer[] {
  const { method, path, body } = request;
  const fields = [
    [":method", method],
    [":scheme", "http"],
    [
      ":authority",
      dice.pick(isSpoilt && dice.chance(0.2) ? AUTHORITIES : ["localhost", "127.0.0.1:8080"]),
    ],
    [":path", path],
    // Blanks around a value make a request malformed (RFC 9113, section 8.2.1).
    ...request.fields.map(([name, value]) => [name, value.trim()] as const),
    ...(dice.chance(0.3) && body.length > 0
      ? ([["content-length", `${body.length}`]] as const)
      : []),
  ] as const;
  if (body.length === 0 && dice.chance(0.7))
    return [frames.headers(stream, fields, frames.END_STREAM)];
  const cut = dice.chance(0.3) ? dice.upTo(body.length) : body.length;
  const pieces = [body.subarray(0, cut), body.subarray(cut)].flatMap(inFrames);
  return [
    ...splitHeaders(frames.headers(stream, fields), dice),
    ...pieces.map((piece) => frames.data(stream, piece)),
    frames.data(stream, Buffer.alloc(0), frames.END_STREAM),
  ];
}

function inFrames(bytes: Buffer): Buffer[] {
  const count = Math.ceil(bytes.length / FRAME_MAX_BYTES);
  return Array.from({ length: count }, (_, index) =>
    bytes.subarray(index * FRAME_MAX_BYTES, (index + 1) * FRAME_MAX_BYTES),
  );
}

/** A header block, sometimes in several frames, which then stand together. */
function splitHeaders(headers: Buffer, dice: Dice): Buffer[] {
  const [flags, stream, block] = [
    headers.readUInt8(4),
    headers.readUInt32BE(5),
    headers.subarray(9),
  ];
  if (block.length <= FRAME_MAX_BYTES && dice.chance(0.8)) return [headers];
  const cut = Math.min(FRAME_MAX_BYTES, dice.upTo(block.length));
  const first = frames.frame(
    frames.FRAME.headers,
    flags & ~END_HEADERS,
    stream,
    block.subarray(0, cut),
  );
  const rest = frames.frame(CONTINUATION, END_HEADERS, stream, block.subarray(cut));
  return [Buffer.concat([first, rest])];
}

/** The frames of several streams, those of each in their order, and opened one after the other. */
function interleaved(streams: readonly Buffer[][], dice: Dice): Buffer[] {
  const all: Buffer[] = [];
  const open: Buffer[][] = [];
  for (const [headers = Buffer.alloc(0), ...rest] of streams) {
    all.push(headers);
    open.push(rest);
  }
  for (let left = open.filter(hasMore); left.length > 0; left = left.filter(hasMore)) {
    all.push(dice.pick(left).shift() ?? Buffer.alloc(0));
  }
  return all;
}

function hasMore({ length }: readonly Buffer[]): boolean {
  return length > 0;
}

/** What is sent in a frame's place. */
type Mutation = (frame: Buffer, dice: Dice) => readonly Buffer[];

const AUTHORITIES = ["", "[", "x:99999", "a@b", "evil.example", "localhost:", "127.1", "a_b"];
const STREAMS = [0, 1, 2, 3, 5, 99, 0x7fff_ffff, 0x8000_0001];
const CODES = [0, 1, 2, 3, 5, 7, 8, 11, 13, 0xff, 0xffff_ffff];

const MUTATIONS: readonly Mutation[] = [
  () => [],
  (frame) => [frame, frame],
  (frame, dice) => [mutateBytes(frame, dice)],
  // Each part of a frame's head by itself: length, type, flags, stream.
  (frame, dice) => [
    withHead(frame, (head) => head.writeUIntBE(dice.pick([0, 1, 8, 16_385, 0xff_ffff]), 0, 3)),
  ],
  (frame, dice) => [withHead(frame, (head) => head.writeUInt8(dice.upTo(12), 3))],
  (frame, dice) => [withHead(frame, (head) => head.writeUInt8(dice.upTo(255), 4))],
  (frame, dice) => [withHead(frame, (head) => head.writeUInt32BE(dice.pick(STREAMS), 5))],
  (frame, dice) => [frame, frames.reset(dice.pick(STREAMS) & 0x7fff_ffff, dice.pick(CODES))],
  (frame, dice) => [
    frame,
    frames.frame(
      WINDOW_UPDATE,
      0,
      dice.pick(STREAMS),
      numberOf(dice.pick([0, 1, 0x7fff_ffff, 0x8000_0000])),
    ),
  ],
  (frame, dice) => [frame, frames.frame(frames.FRAME.settings, 0, 0, oddSettings(dice))],
  (frame, dice) => [
    frame,
    frames.frame(frames.FRAME.settings, 1, 0, Buffer.alloc(dice.pick([0, 6]))),
  ],
  (frame, dice) => [
    frame,
    frames.frame(frames.FRAME.ping, dice.upTo(1), 0, Buffer.alloc(dice.pick([8, 8, 7, 0]))),
  ],
  (frame, dice) => [
    frame,
    frames.frame(
      frames.FRAME.goaway,
      0,
      0,
      Buffer.concat([
        numberOf(dice.pick(STREAMS)),
        numberOf(dice.pick(CODES)),
        dice.bytes(dice.upTo(8)),
      ]),
    ),
  ],
  (frame, dice) => [
    frame,
    frames.frame(
      PRIORITY,
      0,
      dice.pick(STREAMS),
      Buffer.concat([numberOf(dice.pick(STREAMS)), dice.bytes(1)]),
    ),
  ],
  (frame, dice) => [
    frame,
    frames.frame(
      PUSH_PROMISE,
      END_HEADERS,
      dice.pick(STREAMS),
      Buffer.concat([numberOf(2), hpackGarbage(dice)]),
    ),
  ],
  (frame, dice) => [
    frame,
    frames.frame(
      dice.pick([10, 12, 16, 0x20, 0xff]),
      dice.upTo(255),
      dice.pick(STREAMS),
      dice.bytes(dice.upTo(20)),
    ),
  ],
  (frame, dice) => [
    frame,
    frames.data(dice.pick(STREAMS), dice.bytes(dice.upTo(20)), dice.upTo(1)),
  ],
  (frame, dice) => [frame, padded(dice)],
  (frame, dice) => [
    frame,
    frames.frame(
      frames.FRAME.headers,
      END_HEADERS | dice.upTo(1),
      dice.pick([1, 3, 5, 7]),
      hpackGarbage(dice),
    ),
  ],
  (frame, dice) => [frame, frames.headers(dice.pick([1, 3, 5, 7]), oddHeaders(dice), dice.upTo(1))],
  (frame, dice) => [frame, ...continuations(dice)],
  (frame, dice) => Array.from({ length: dice.pick([10, 150]) }, () => frame),
];

function withHead(frame: Buffer, change: (head: Buffer) => void): Buffer {
  if (frame.length < 9) return frame;
  const changed = Buffer.from(frame);
  change(changed);
  return changed;
}

function numberOf(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function oddSettings(dice: Dice): Buffer {
  const entries = Array.from({ length: 1 + dice.upTo(dice.pick([2, 50])) }, () => {
    const id = Buffer.from([0, dice.upTo(10)]);
    return Buffer.concat([
      id,
      numberOf(dice.pick([0, 1, 2, 4_096, 16_383, 16_384, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])),
    ]);
  });
  return Buffer.concat([...entries, Buffer.alloc(dice.pick([0, 0, 0, 3]))]);
}

function padded(dice: Dice): Buffer {
  const payload = Buffer.concat([
    Buffer.from([dice.pick([0, 1, 5, 255])]),
    dice.bytes(dice.upTo(10)),
  ]);
  const type = dice.pick([frames.FRAME.data, frames.FRAME.headers]);
  return frames.frame(
    type,
    PADDED | dice.pick([0, 1, END_HEADERS, WITH_PRIORITY]),
    dice.pick([1, 3]),
    payload,
  );
}

/** What a decoder of HPACK stumbles over (RFC 7541, sections 5, 6 and 7). */
function hpackGarbage(dice: Dice): Buffer {
  return Buffer.from(
    dice.pick([
      // Index 0, an index that is not there, and integers beyond all bounds.
      ...["80", "ff80808080808080808001", "ffffffffffffffffffffff", "bf", "7f9fffffff0f"],
      // Sizes of the dynamic table, too great, and twice.
      ...["3fe1ffffff0f", "2020", "823fe11f"],
      // Strings that are longer than the block, and Huffman code that is none, or its end.
      ...["007fffffffff0f", "000161", "0081ff", "0084ffffffff", "400183ffffff0161"],
      // The pseudo-fields by their index: POST, http, /, an empty authority; and again.
      ...["83868441008386844100", "838684", "8386"],
      dice.bytes(dice.upTo(60)).toString("hex"),
    ]),
    "hex",
  );
}

function oddHeaders(dice: Dice): readonly (readonly [string, string])[] {
  const fields = frames.post(dice.pick(["/api/v1/signals", "/signals.v1.IngestService/Ingest"]));
  const odd = dice.pick([
    ...[
      ["X-Upper", "x"],
      ["", "x"],
      ["a b", "x"],
      ["x", "a\r\nb"],
      ["x", "a\0b"],
      [":unknown", "x"],
    ],
    ...[
      ["connection", "close"],
      ["transfer-encoding", "chunked"],
      ["upgrade", "h2c"],
      ["te", "gzip"],
    ],
    ...[
      ["host", "["],
      ["content-length", "-1"],
      ["content-length", "5, 5"],
      ["cookie", "a; b"],
    ],
    ...[
      [":path", ""],
      [":path", "*"],
      [":method", "CONNECT"],
      [":protocol", "websocket"],
      [":scheme", "ftp"],
    ],
    ...[
      [":authority", "a@b"],
      [":status", "200"],
      ["x", "y".repeat(20_000)],
    ],
  ]) as [string, string];
  return dice.pick([
    [...fields, odd],
    [odd, ...fields],
    [...fields.filter(([name]) => name !== odd[0]), odd],
    fields.slice(dice.upTo(3)),
    [...fields, ...Array.from({ length: 120 }, (_, at) => [`x${at}`, "y"] as const)],
  ]);
}

/** A header block in so many pieces that it is a flood, but a bounded one. */
function continuations(dice: Dice): Buffer[] {
  const stream = dice.pick([1, 3, 5, 7]);
  const count = dice.pick([1, 20, 200]);
  const start = frames.frame(frames.FRAME.headers, 0, stream, Buffer.from("8386", "hex"));
  const piece = Buffer.concat([Buffer.from([0, 1, 0x78, 1]), dice.bytes(1)]);
  const pieces = Array.from({ length: count }, () => frames.frame(CONTINUATION, 0, stream, piece));
  return [start, ...pieces, frames.frame(CONTINUATION, dice.pick([0, END_HEADERS]), stream)];
}
