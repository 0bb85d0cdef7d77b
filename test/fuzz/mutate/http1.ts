/**
 * HTTP/1.1 by the byte: whole requests, and what readers of HTTP/1.1 have been fooled with
 * (RFC 9112, section 11; "HTTP request smuggling").
 */
import { type HeaderLines, rawRequest } from "../../attacks/support/rawHttp1.ts";
import type { Dice } from "../dice.ts";
import type { FuzzRequest } from "../request.ts";
import { mutateBytes, splice } from "./bytes.ts";

/** A request in its parts, as they stand on the wire. */
interface Parts {
  startLine: string;
  lines: (readonly [string, string])[];
  body: Buffer;
}

/** A whole request. Its body is announced by its length, or comes in chunks. */
export function http1Bytes(request: FuzzRequest, dice: Dice): Buffer {
  return written(partsOf(request, dice));
}

/**
 * A request with something wrong in it.
 *
 * @param hidden a request that would be served by itself, and that here stands in the body of
 *   another one, or that nobody can say where it begins: it must not be served.
 */
export function spoiltHttp1(request: FuzzRequest, hidden: FuzzRequest, dice: Dice): Buffer {
  const parts = partsOf(request, dice);
  if (dice.chance(0.35)) {
    let bytes = written(parts);
    dice.times(3, () => {
      bytes = mutateBytes(bytes, dice);
    });
    return bytes;
  }
  if (dice.chance(0.3)) {
    smuggle(parts, written(partsOf(hidden, dice)), dice);
    return written(parts);
  }
  let bytes: Buffer | undefined;
  dice.times(2, () => {
    bytes = dice.pick(MUTATIONS)(parts, dice) ?? bytes;
  });
  return bytes ?? written(parts);
}

function partsOf({ method, path, fields, body }: FuzzRequest, dice: Dice): Parts {
  const isChunked = dice.chance(0.2) && method === "POST";
  const framing = ["content-length", `${body.length}`] as const;
  return {
    startLine: `${method} ${path} HTTP/1.1`,
    lines: [
      [
        "host",
        dice.chance(0.03) ? dice.pick(HOSTS) : dice.pick(["localhost", "127.0.0.1:8080", "[::1]"]),
      ],
      ...(method === "POST" ? [isChunked ? CHUNKED : framing] : []),
      ...fields,
    ],
    body: isChunked ? chunked(body, dice) : body,
  };
}

const HOST = ["host", "localhost"] as const;
const CHUNKED = ["transfer-encoding", "chunked"] as const;

function written({ startLine, lines, body }: Parts): Buffer {
  return rawRequest(startLine, lines as HeaderLines, body);
}

function chunked(body: Buffer, dice: Dice): Buffer {
  const cut = dice.upTo(body.length);
  const chunks = [body.subarray(0, cut), body.subarray(cut)].filter((chunk) => chunk.length > 0);
  return Buffer.concat([...chunks.map((chunk) => chunkOf(chunk)), Buffer.from("0\r\n\r\n")]);
}

function chunkOf(chunk: Buffer, size = chunk.length.toString(16)): Buffer {
  return Buffer.concat([Buffer.from(`${size}\r\n`), chunk, Buffer.from("\r\n")]);
}

/** Puts one request where a careless reader finds it. */
function smuggle(parts: Parts, hidden: Buffer, dice: Dice): void {
  const withoutFraming = parts.lines.filter(
    ([name]) => name !== "content-length" && name !== "transfer-encoding",
  );
  const frame = (...lines: (readonly [string, string])[]) => [...withoutFraming, ...lines];
  const end = Buffer.from("0\r\n\r\n");
  const length = (bytes: Uint8Array) => ["content-length", `${bytes.length}`] as const;
  dice.pick([
    function lengthAndChunks() {
      parts.body = Buffer.concat([end, hidden]);
      parts.lines = dice.chance(0.5)
        ? frame(length(dice.pick([parts.body, end])), CHUNKED)
        : frame(CHUNKED, length(dice.pick([parts.body, end])));
    },
    function twoLengths() {
      const [one, other] = [length(parts.body), length(Buffer.concat([parts.body, hidden]))];
      parts.lines = dice.chance(0.5) ? frame(one, other) : frame(other, one);
      parts.body = Buffer.concat([parts.body, hidden]);
    },
    function oddCoding() {
      const coding = dice.pick([
        ...["xchunked", "chunked, identity", "identity", "chunked;q=1", "\vchunked", "chunked\0"],
        ...["gzip", "chunked gzip", '"chunked"', "CHUNKED, x", ",", ""],
      ]);
      parts.lines = frame(["transfer-encoding", coding], length(end));
      parts.body = Buffer.concat([end, hidden]);
    },
    function oddName() {
      const name = dice.pick([
        "transfer-encoding ",
        " transfer-encoding",
        "transfer_encoding",
        "x: y\r\ntransfer-encoding",
      ]);
      const body = Buffer.concat([end, hidden]);
      parts.lines = frame(length(body), [name, "chunked"]);
      parts.body = body;
    },
    function bodyOfReading() {
      parts.startLine = `${dice.pick(["GET", "HEAD", "OPTIONS", "DELETE"])} /api/v1/health HTTP/1.1`;
      parts.lines = frame(length(hidden));
      parts.body = hidden;
    },
    function oddLength() {
      const value = dice.pick([
        "0x10",
        "+5",
        "5 5",
        "5,5",
        "-1",
        "1e1",
        "",
        "00",
        "18446744073709551616",
      ]);
      parts.lines = frame(["content-length", value]);
      parts.body = Buffer.concat([parts.body.subarray(0, 5), hidden]);
    },
  ])();
}

/** @returns the bytes, if they can no more be told as parts. */
type Mutation = (parts: Parts, dice: Dice) => Buffer | undefined;

function onParts(change: (parts: Parts, dice: Dice) => void): Mutation {
  return (parts, dice) => {
    change(parts, dice);
    return undefined;
  };
}

const METHODS = [
  "GET",
  "HEAD",
  "PUT",
  "OPTIONS",
  "TRACE",
  "CONNECT",
  "PRI",
  "post",
  "P OST",
  "",
  "PO\0ST",
  "X".repeat(99),
];
const VERSIONS = [
  "HTTP/1.0",
  "HTTP/1.2",
  "HTTP/2.0",
  "HTTP/0.9",
  "HTTP/1.1 ",
  "http/1.1",
  "HTTP/1.1\r\n\t",
  "",
];
const TARGETS = [
  ...[
    "*",
    "/",
    "//",
    "",
    "http://localhost",
    "http://[/",
    "http://a@b/",
    "https://localhost/errors",
    "/%",
    "/%00",
  ],
  ...[
    "/..",
    "/\0",
    "/\xff",
    "/#",
    "/?",
    "x",
    "localhost:80",
    `/${"a".repeat(17_000)}`,
    "/api/v1/signals/ingest?a=b",
  ],
];
const HOSTS = [
  "",
  "[",
  "a b",
  "x:99999",
  "a@b",
  "evil.example",
  "localhost:",
  "127.1",
  "a".repeat(300),
  "localhost, a",
  "\xff",
];
const LINES: HeaderLines = [
  ["", "x"],
  [" ", "x"],
  ["a b", "x"],
  ["x", "a\0b"],
  ["x", "a\rb"],
  ["x", "a\nb"],
  ["x", "a\r\n b"],
  ["x-request-id", "a\r\nset-cookie: a=b"],
  ["x", "\x7f\x80\xff"],
  ["x".repeat(17_000), ""],
  ["connection", "close"],
  ["connection", "x-signature, content-length, transfer-encoding"],
  ["connection", "upgrade, http2-settings"],
  ["upgrade", "h2c"],
  ["http2-settings", "AAMAAABkAAQAAP__"],
  ["expect", "100-continue"],
  ["trailer", "x-signature"],
  ["te", "trailers, chunked"],
  ["content-length", "0"],
  ["transfer-encoding", "chunked"],
  ["keep-alive", "timeout=0, max=0"],
];

const MUTATIONS: readonly Mutation[] = [
  onParts((parts, dice) => {
    const [method, target, version] = parts.startLine.split(" ");
    parts.startLine = dice.pick([
      `${dice.pick(METHODS)} ${target} ${version}`,
      `${method} ${dice.pick(TARGETS)} ${version}`,
      `${method} ${target} ${dice.pick(VERSIONS)}`,
      `${method}  ${target} ${version}`,
      `\r\n${parts.startLine}`,
    ]);
  }),
  onParts((parts, dice) => {
    parts.lines.splice(dice.upTo(parts.lines.length), 0, dice.pick(LINES));
  }),
  onParts((parts, dice) => {
    parts.lines[0] = ["host", dice.pick(HOSTS)];
  }),
  onParts((parts, dice) => {
    // Any field twice, also those that prove who asks.
    const [name, value] = dice.pick([...parts.lines, HOST]);
    const again = dice.pick([value, "x", "", value.toUpperCase()]);
    parts.lines.splice(dice.upTo(parts.lines.length), 0, [
      dice.pick([name, name.toUpperCase()]),
      again,
    ]);
  }),
  onParts((parts, dice) => {
    parts.lines.splice(dice.upTo(parts.lines.length - 1), 1);
  }),
  onParts((parts, dice) => {
    const many = Array.from(
      { length: dice.pick([90, 101, 1_500]) },
      (_, at) => [`x${at}`, "y"] as const,
    );
    parts.lines.push(...many);
  }),
  onParts((parts, dice) => {
    parts.lines = [
      ...parts.lines.filter(([name]) => name !== "content-length" && name !== "transfer-encoding"),
      CHUNKED,
    ];
    parts.body = oddChunks(parts.body, dice);
  }),
  (parts, dice) => {
    const bytes = written(parts);
    const lineEnds = [...bytes.toString("latin1").matchAll(/\r\n/g)].map(({ index }) => index);
    const end = dice.pick(["\n", "\r", "\r\r\n", "\n\r", " \r\n ", "\0\r\n"]);
    return splice(bytes, dice.pick(lineEnds.slice(0, 20)), 2, Buffer.from(end));
  },
  (parts, dice) => {
    const bytes = written(parts);
    return bytes.subarray(0, dice.upTo(bytes.length));
  },
];

function oddChunks(body: Buffer, dice: Dice): Buffer {
  const { length } = body;
  const end = Buffer.from("0\r\n\r\n");
  return dice.pick([
    () => Buffer.concat([chunkOf(body, `${length.toString(16)};a="b"`), end]),
    () => Buffer.concat([chunkOf(body, `${length.toString(16)};${"a".repeat(20_000)}`), end]),
    () => Buffer.concat([chunkOf(body, `000${length.toString(16).toUpperCase()}`), end]),
    () =>
      Buffer.concat([
        chunkOf(body, dice.pick(["", "g", "-1", "0x5", "fffffffffffffffff", "5 "])),
        end,
      ]),
    () => Buffer.concat([chunkOf(body, (length + dice.pick([-1, 1, 9])).toString(16)), end]),
    () =>
      Buffer.concat([
        chunkOf(body),
        Buffer.from("0\r\nx-signature: x\r\ncontent-length: 5\r\n\r\n"),
      ]),
    () => Buffer.concat([chunkOf(body), Buffer.from(`0\r\n${"x: y\r\n".repeat(3_000)}\r\n`)]),
    () => chunkOf(body),
    () => Buffer.concat([...body.subarray(0, 500)].map((byte) => chunkOf(Buffer.from([byte])))),
  ])();
}
