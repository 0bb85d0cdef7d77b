/**
 * Whatever bytes arrive, the server answers or hangs up, and goes on serving everybody
 * else. One process takes all of this, several attacks at a time where they mostly wait.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import http2 from "node:http2";
import net from "node:net";
import { join } from "node:path";
import tls from "node:tls";
import { promisify } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import { StructSchema } from "@bufbuild/protobuf/wkt";
import postgres from "postgres";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import {
  bodies,
  connectError,
  framed,
  grpcError,
  http2Post,
  INGEST_BATCH_PATH,
  INGEST_PATH,
  REST_PATH,
} from "../server/support/wire.ts";
import { fileDatabase } from "../support/serveFile.ts";
import {
  type ServerProcess,
  spawnServer,
  TEST_SECRET,
  testHeaders,
  testServerEnv,
} from "../support/server.ts";
import { nested } from "../support/signals.ts";
import { temporaryDirectory } from "../support/temporaryDirectory.ts";
import * as frames from "./support/http2Frames.ts";
import { exchange, type HeaderLines, rawPost, rawRequest } from "./support/rawHttp1.ts";

/** How much more memory the server may hold at the end, in KiB. */
const GROWTH_MAX_KIB = 400 * 1024;
const HEALTH = "/api/v1/health";

const database = fileDatabase();
let server: ServerProcess;
let stderr = "";
let rssAtStartKib = 0;

beforeAll(async () => {
  server = await spawnServer(testServerEnv(database.url));
  server.child.stderr?.on("data", (chunk: Buffer) => {
    stderr += chunk.toString("utf8");
  });
  rssAtStartKib = await rssKib();
});

afterAll(() => server.stop());

afterEach(async () => {
  expect(server.child.exitCode).toBeNull();
  expect(server.child.signalCode).toBeNull();
  const health = await exchange(server.port, [get(HEALTH)]);
  expect(health.status).toBe(200);
});

async function rssKib(): Promise<number> {
  const { stdout } = await promisify(execFile)("ps", ["-o", "rss=", "-p", `${server.child.pid}`]);
  return Number(stdout);
}

function get(path: string, headers: HeaderLines = [["host", "localhost"]]): Buffer {
  return rawRequest(`GET ${path} HTTP/1.1`, headers);
}

/** A signed POST of JSON. What it asks for, if it can be read at all, is to store nothing. */
function signedPost(path: string, body: Uint8Array, headers: HeaderLines = []): Buffer {
  const type = ["content-type", "application/json"] as const;
  return rawPost(path, [type, ...Object.entries(testHeaders(path, body)), ...headers], body);
}

const validated = bodies({ validateOnly: true }, { validate_only: true });

describe.concurrent("a request with a host that is none is refused", () => {
  test.each([
    "[",
    "]",
    "[]",
    "[::1",
    "a b",
    "x:99999",
    "x:",
    "x:y",
    "",
    "a/b",
    "a@b",
    "a,b",
    "a?b",
    "a#b",
    "%",
    "%00",
    "http://a",
    "1.2.3.4.5",
    "\xff\xfe",
    "a".repeat(300),
  ])("%j", async (host) => {
    for (const path of [HEALTH, INGEST_PATH, "/grpc.health.v1.Health/Check"]) {
      const method = path === HEALTH ? "GET" : "POST";
      const headers: HeaderLines = [
        ["host", host],
        ["content-type", "application/json"],
        ["content-length", "0"],
      ];
      const answer = await exchange(server.port, [
        rawRequest(`${method} ${path} HTTP/1.1`, headers),
      ]);
      expect(answer.status).toBe(400);
      expect(answer.headers["x-request-id"]).toBeDefined();
    }
  });

  test("none at all", async () => {
    const answer = await exchange(server.port, [get(HEALTH, [])]);
    expect(answer.status).toBe(400);
    expect(answer.headers["x-request-id"]).toBeDefined();
  });

  test("two of them, even if they are the same", async () => {
    for (const second of ["localhost", "elsewhere", ""]) {
      const headers: HeaderLines = [
        ["host", "localhost"],
        ["Host", second],
      ];
      const answer = await exchange(server.port, [get(HEALTH, headers)]);
      expect(answer.status).toBe(400);
    }
  });

  test("and in HTTP/2 as :authority", async () => {
    for (const authority of ["[", "a b", "x:99999", "", "a@b"]) {
      const bytes = [
        frames.opening(),
        frames.headers(1, frames.post(INGEST_PATH, authority), frames.END_STREAM),
        frames.headers(3, frames.post("/api/v1/signals", authority), frames.END_STREAM),
      ];
      await exchange(server.port, [Buffer.concat(bytes)], "closed", 100);
    }
    const withoutAuthority = frames.post(INGEST_PATH).filter(([name]) => name !== ":authority");
    for (const host of [[], [["host", "["]], [["host", ""]]] as const) {
      const fields = [...withoutAuthority, ...host] as const;
      const bytes = [frames.opening(), frames.headers(1, fields, frames.END_STREAM)];
      await exchange(server.port, [Buffer.concat(bytes)], "closed", 100);
    }
  });
});

describe.concurrent("a request target", () => {
  test.each([
    ["in absolute form that is no URL", "GET http://[ HTTP/1.1", 400],
    ["in absolute form without a host", "GET http:///api/v1/health HTTP/1.1", 400],
    ["in absolute form with a user", "GET http://a@localhost/api/v1/health HTTP/1.1", 400],
    ["in absolute form without a path", "GET http://localhost HTTP/1.1", 404],
    ["in absolute form of another scheme", "GET ftp://localhost/api/v1/health HTTP/1.1", 404],
    ["of https in clear text", "GET https://localhost/api/v1/health HTTP/1.1", 421],
    ["of an asterisk", "OPTIONS * HTTP/1.1", 404],
    ["with two slashes", "GET //api/v1/health HTTP/1.1", 404],
    ["with dots", "GET /api/../api/v1/health HTTP/1.1", 404],
    ["with a percent sign", "GET /api/v1/%68ealth HTTP/1.1", 404],
    ["with a broken escape", "GET /%E0%A4%A HTTP/1.1", 404],
    ["of another case", "GET /API/v1/health HTTP/1.1", 404],
    ["with a slash at the end", "GET /api/v1/health/ HTTP/1.1", 404],
    ["that an object has by itself", "GET __proto__ HTTP/1.1", 400],
    ["with bytes beyond ASCII", "GET /\xff\xfe HTTP/1.1", 400],
    ["with a fragment", "GET /api/v1/health#x HTTP/1.1", 404],
    ["of 20,000 characters", `GET /${"a".repeat(20_000)} HTTP/1.1`, 431],
  ])("%s is not served", async (_, startLine, status) => {
    const answer = await exchange(server.port, [rawRequest(startLine, [["host", "localhost"]])]);
    expect(answer.status).toBe(status);
    expect(answer.headers["x-request-id"]).toBeDefined();
  });

  test.each([
    ["GET", INGEST_PATH, 405, "POST"],
    ["PUT", INGEST_PATH, 405, "POST"],
    ["OPTIONS", INGEST_PATH, 405, "POST"],
    ["HEAD", INGEST_PATH, 405, "POST"],
    ["DELETE", REST_PATH, 405, "POST"],
    ["OPTIONS", REST_PATH, 405, "POST"],
    ["POST", HEALTH, 405, "GET, HEAD"],
    ["PATCH", HEALTH, 405, "GET, HEAD"],
    ["GET", "/", 404, undefined],
    ["POST", "/signals.v1.IngestService/Nothing", 404, undefined],
    ["POST", "/signals.v1.NoService/Ingest", 404, undefined],
    ["HEAD", HEALTH, 200, undefined],
  ])("%s %s gets %d", async (method, path, status, allow) => {
    const answer = await exchange(server.port, [
      rawRequest(`${method} ${path} HTTP/1.1`, [["host", "localhost"]]),
      // A HEAD has no body to wait for.
      get(HEALTH),
    ]);
    expect(answer.status).toBe(status);
    expect(answer.headers.allow).toBe(allow);
  });
});

describe("a connection that wants to be something else", () => {
  test("a tunnel is not opened", async () => {
    const connect = rawRequest("CONNECT localhost:80 HTTP/1.1", [["host", "localhost"]]);
    const answer = await exchange(server.port, [connect], "closed");
    expect(answer).toMatchObject({ isClosed: true, text: "" });
    const fields = [
      [":method", "CONNECT"],
      [":authority", "localhost:80"],
    ] as const;
    await exchange(
      server.port,
      [Buffer.concat([frames.opening(), frames.headers(1, fields)])],
      "closed",
      100,
    );
  });

  test.each(["h2c", "websocket", "TLS/1.0"])(
    "an upgrade to %s is passed over, and the request served",
    async (protocol) => {
      const answer = await exchange(server.port, [
        get(HEALTH, [
          ["host", "localhost"],
          ["connection", "Upgrade, HTTP2-Settings"],
          ["upgrade", protocol],
          ["http2-settings", "AAMAAABkAAQAAP__"],
          ["sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="],
          ["sec-websocket-version", "13"],
        ]),
      ]);
      expect(answer.status).toBe(200);
    },
  );

  test("an expectation other than 100-continue is passed over", async () => {
    const headers: HeaderLines = [
      ["host", "localhost"],
      ["expect", "a-miracle"],
    ];
    expect((await exchange(server.port, [get(HEALTH, headers)])).status).toBe(200);
  });

  test("a caller that expects 100-continue is told to go on", async () => {
    const body = validated.rest;
    const bytes = signedPost(REST_PATH, body, [["expect", "100-continue"]]);
    const cut = bytes.length - body.length;
    const pieces = [bytes.subarray(0, cut), bytes.subarray(cut)];
    const answer = await exchange(server.port, pieces, "closed", 300);
    expect(answer.text).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /);
  });

  test("TLS on the clear-text port is turned away", async () => {
    const socket = tls.connect({ port: server.port, rejectUnauthorized: false });
    const [error] = await once(socket, "error");
    expect(error).toBeInstanceOf(Error);
  });
});

describe.concurrent("the preface of HTTP/2", () => {
  test("may come byte by byte", async () => {
    const pieces = [...frames.opening()].map((byte) => Buffer.from([byte]));
    const answer = await exchange(server.port, pieces, "closed", 300);
    // What the server sends first is its settings.
    expect(answer.text.charCodeAt(3)).toBe(frames.FRAME.settings);
  });

  test.each([
    "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nXX",
    "PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n",
    "PRI * HTTP/1.1\r\nHost: a\r\n\r\n",
    "PRI ",
    "P",
  ])("is not taken for one in %j", async (start) => {
    const answer = await exchange(server.port, [Buffer.from(start)], "closed", 300);
    if (!answer.isClosed) expect(start.length).toBeLessThan(5);
    else expect(answer.status).toBe(400);
  });

  test("that is cut off is the end of the connection", async () => {
    for (const start of ["", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"]) {
      const socket = net.connect({ port: server.port, allowHalfOpen: true });
      socket.end(start);
      socket.resume();
      await once(socket, "end");
      socket.destroy();
    }
  });
});

describe.concurrent("requests in any cut", () => {
  test("twenty in one piece get twenty answers", async () => {
    const pipelined = Buffer.concat(Array.from({ length: 20 }, () => get(HEALTH)));
    const answer = await exchange(server.port, [pipelined], "closed", 300);
    expect(answer.text.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(20);
  });

  test("two bodies in one piece each keep their own", async () => {
    const one = signedPost(REST_PATH, validated.rest);
    const answer = await exchange(server.port, [Buffer.concat([one, one])], "closed", 300);
    expect(answer.text.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
  });

  test("one byte at a time is one request", async () => {
    const pieces = [...signedPost(REST_PATH, validated.rest)].map((byte) => Buffer.from([byte]));
    const answer = await exchange(server.port, pieces);
    expect(answer.status).toBe(200);
  });

  test("a body in a thousand chunks is one body", async () => {
    const body = validated.rest;
    const headers: HeaderLines = [
      ["host", "localhost"],
      ["content-type", "application/json"],
      ["transfer-encoding", "chunked"],
      ...Object.entries(testHeaders(REST_PATH, body)),
    ];
    const chunks = [...body].map((byte) => `1\r\n${String.fromCharCode(byte)}\r\n`);
    const bytes = Buffer.from(`${chunks.join("")}0\r\n\r\n`, "latin1");
    const start = rawRequest(`POST ${REST_PATH} HTTP/1.1`, headers);
    const answer = await exchange(server.port, [start, bytes]);
    expect(answer.status).toBe(200);
  });
});

describe.concurrent("bytes that are no request", () => {
  test.each([
    ["zeros", Buffer.alloc(1_000)],
    ["ones", Buffer.alloc(1_000, 0xff)],
    ["line feeds", Buffer.alloc(1_000, "\n")],
    ["a ClientHello", Buffer.from("16030100a5010000a10303", "hex")],
    ["SSH", Buffer.from("SSH-2.0-x\r\n")],
    ["PostgreSQL", Buffer.from("0000000804d2162f", "hex")],
    ["a request line without end", Buffer.alloc(20_000, "A")],
    ["HTTP/9.9", Buffer.from("GET / HTTP/9.9\r\nHost: a\r\n\r\n")],
    ["HTTP/0.9", Buffer.from("GET /\r\n\r\n")],
    ["a bare carriage return", Buffer.from("GET / HTTP/1.1\rHost: a\r\r")],
    ["a NUL in a header", Buffer.from("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n")],
    ["a header without a name", Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n")],
    ["a blank before the colon", Buffer.from("GET / HTTP/1.1\r\nHost : a\r\n\r\n")],
    ["a folded header", Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n")],
    ["one header of 20,000 bytes", get("/", [["x", "y".repeat(20_000)]])],
    [
      "10,000 headers",
      get(
        "/",
        Array.from({ length: 10_000 }, (_, i) => [`x${i}`, "y"]),
      ),
    ],
    [
      "150 headers",
      get(
        "/",
        Array.from({ length: 150 }, (_, i) => [`x${i}`, "y"]),
      ),
    ],
  ])("%s are told so, if they end", async (_, bytes) => {
    const answer = await exchange(server.port, [bytes], "closed", 2_500);
    expect([400, 404, 431, undefined]).toContain(answer.status);
    if (answer.status !== undefined && answer.status !== 404) {
      expect(answer.isClosed).toBe(true);
      expect(answer.headers["x-request-id"]).toBeDefined();
    }
  });

  test("are cut off from a caller that does not hang up by itself", async () => {
    const socket = net.connect({ port: server.port, allowHalfOpen: true });
    socket.write("garbage\r\n\r\n");
    socket.resume();
    await once(socket, "end");
    // The other half is closed, too, which only a write can tell.
    const beat = setInterval(() => socket.write("x"), 50);
    await once(socket, "error");
    clearInterval(beat);
  });
});

describe.concurrent("a body that is framed wrongly", () => {
  const head = `POST ${REST_PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n`;
  const chunked = `${head}transfer-encoding: chunked\r\n\r\n`;

  test.each([
    ["a chunk size that is none", `${chunked}ZZ\r\nabc\r\n`],
    ["a negative chunk size", `${chunked}-1\r\nabc\r\n`],
    ["a chunk size beyond 64 bits", `${chunked}FFFFFFFFFFFFFFFFFF\r\nabc\r\n`],
    ["a chunk longer than its size", `${chunked}1\r\nabc\r\n0\r\n\r\n`],
    ["both framings", `${head}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`],
    ["two lengths", `${head}content-length: 3\r\ncontent-length: 4\r\n\r\nabcd`],
    ["a negative length", `${head}content-length: -1\r\n\r\n`],
    ["a length in another notation", `${head}content-length: 0x10\r\n\r\n${"a".repeat(16)}`],
    ["a length beyond 64 bits", `${head}content-length: 99999999999999999999\r\n\r\nabc`],
    ["an unknown coding", `${head}transfer-encoding: xchunked\r\n\r\nabc`],
    ["a coding after chunked", `${head}transfer-encoding: chunked, identity\r\n\r\nabc`],
  ])("%s is refused, and the connection ends", async (_, text) => {
    const answer = await exchange(server.port, [Buffer.from(text)], "closed");
    expect(answer.status).toBe(400);
    expect(answer.isClosed).toBe(true);
  });

  test("an endless chunk extension is cut off", async () => {
    const text = `${chunked}1;${"x".repeat(100_000)}`;
    const answer = await exchange(server.port, [Buffer.from(text)], "closed");
    expect([400, 413]).toContain(answer.status);
    expect(answer.isClosed).toBe(true);
  });

  test("one shorter than its length waits for the rest, and is gone with its caller", async () => {
    const bytes = Buffer.from(`${head}content-length: 10\r\n\r\nabc`);
    const answer = await exchange(server.port, [bytes], "closed", 200);
    expect(answer).toMatchObject({ isClosed: false, text: "" });
  });

  test("garbage after a whole request does not cost the answer to the request", async () => {
    const bytes = Buffer.concat([signedPost(REST_PATH, validated.rest), Buffer.alloc(4)]);
    const answer = await exchange(server.port, [bytes], "closed");
    expect(answer).toMatchObject({ status: 200, isClosed: true });
    expect(answer.headers.connection).toBe("close");
    expect(answer.text.match(/HTTP\/1\.1 \d+/g)).toHaveLength(1);
  });
});

describe("a message, well signed, that is", () => {
  const json = (text: string) => Buffer.from(text);
  const brackets = (count: number) => "[".repeat(count) + "]".repeat(count);
  const withPayload = (payload: string) =>
    json(
      `{"validateOnly":true,"signal":{"instrument":"GOLD","side":"SIDE_BUY","entryPrice":1,` +
        `"signalTime":"2025-10-25T14:30:45Z","payload":${payload}}}`,
    );
  const restWith = (members: string) =>
    json(
      `{"validate_only":true,"instrument":"GOLD","side":"buy","entry_price":1,` +
        `"time":"2025-10-25T14:30:45Z",${members}}`,
    );

  test.each([
    ["30,000 brackets deep", INGEST_PATH, withPayload(`{"a":${brackets(30_000)}}`), 400],
    [
      "30,000 brackets deep in a batch",
      INGEST_BATCH_PATH,
      json(`{"requests":${brackets(30_000)}}`),
      400,
    ],
    // Beyond its size, an item is rejected unread, and the call is answered.
    [
      "an item 100,000 brackets deep",
      INGEST_BATCH_PATH,
      json(`{"requests":${brackets(100_000)}}`),
      200,
    ],
    ["100,000 objects deep", INGEST_BATCH_PATH, json('{"a":'.repeat(100_000)), 400],
    ["30,000 brackets deep in REST", REST_PATH, restWith(`"payload":${brackets(30_000)}`), 422],
    [
      "30,000 brackets deep where nobody looks",
      REST_PATH,
      restWith(`"x":${brackets(30_000)}`),
      200,
    ],
    ["polluting prototypes", INGEST_PATH, json('{"__proto__":{"signal":{}}}'), 400],
    ["polluting prototypes in REST", REST_PATH, restWith('"__proto__":{"stop_loss":2}'), 200],
    ["a payload named as prototypes are", INGEST_PATH, withPayload('{"__proto__":{"a":1}}'), 200],
    [
      "a payload named as messages are",
      INGEST_PATH,
      withPayload('{"$typeName":"x","$unknown":[1]}'),
      200,
    ],
    [
      "a payload with a toJSON",
      REST_PATH,
      restWith('"payload":{"toJSON":"x","constructor":1}'),
      200,
    ],
    ["a huge number", INGEST_PATH, withPayload('{"a":1e100000}'), 400],
    ["a huge number in REST", REST_PATH, restWith('"confidence":1e100000'), 422],
    ["a huge price as text", INGEST_PATH, json('{"signal":{"entryPrice":"1e100000"}}'), 400],
    ["a NUL", REST_PATH, restWith('"comment":"a\\u0000b"'), 422],
    ["a NUL in the payload", REST_PATH, restWith('"payload":{"\\u0000":1}'), 422],
    ["an unpaired surrogate", REST_PATH, restWith('"comment":"\\ud800"'), 422],
    ["an unpaired surrogate in the payload", INGEST_PATH, withPayload('{"a":"\\udc00"}'), 400],
    ["a name twice", REST_PATH, restWith('"stop_loss":0.5,"stop_loss":0.1'), 400],
    ["after a byte order mark", REST_PATH, json(`\ufeff${restWith('"comment":""')}`), 400],
    ["an array", REST_PATH, json("[]"), 400],
    ["a raw NUL", REST_PATH, restWith('"comment":"\0"'), 400],
    [
      "a surrogate in UTF-8",
      REST_PATH,
      Buffer.concat([json('{"comment":"'), Buffer.from("eda080227d", "hex")]),
      400,
    ],
    ["a batch of nulls", INGEST_BATCH_PATH, json('{"requests":[null,null]}'), 400],
    ["a batch of 1,001", INGEST_BATCH_PATH, json(`{"requests":[${"{},".repeat(1_000)}{}]}`), 400],
  ])("%s gets its answer", async (_, path, body, status) => {
    const answer = await exchange(server.port, [signedPost(path, body)]);
    expect(answer.status).toBe(status);
  });

  test("an object with ten thousand names gets its answer", async () => {
    const names = Array.from({ length: 5_000 }, (_, i) => `"n${i}":${i}`).join(",");
    const answer = await exchange(server.port, [signedPost(REST_PATH, restWith(names))]);
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body).message.length).toBeLessThan(3_000);
  });

  const postBinary = (message: Uint8Array) => {
    const headers = { "content-type": "application/proto", ...testHeaders(INGEST_PATH, message) };
    return http2Post(server.url, INGEST_PATH, headers, message);
  };

  test.each([
    ["a group without end", Buffer.from("0b", "hex")],
    ["groups 20,000 deep", Buffer.alloc(20_000, 0x0b)],
  ])("in binary, %s gets its answer", async (_, message) => {
    expect((await postBinary(message)).httpStatus).toBe(400);
  });

  test("in binary, a Struct thousands of levels deep gets its answer", async () => {
    // Each level wraps the last: Struct{fields: {"": Value{struct_value: …}}}.
    let payload = Buffer.from(toBinary(StructSchema, create(StructSchema)));
    const wrap = (tag: number, bytes: Buffer) => Buffer.concat([varints(tag, bytes.length), bytes]);
    while (payload.length < 20_000) payload = wrap(0x0a, wrap(0x12, wrap(0x2a, payload)));
    const message = wrap(0x0a, wrap(0x6a, payload));
    expect((await postBinary(message)).httpStatus).toBe(400);
  });

  test("in binary, a payload one level too deep gets a violation", async () => {
    const { binary } = bodies({ signal: { instrument: "GOLD", payload: nested(17) } });
    const answer = await postBinary(binary);
    const fields = connectError(answer.body).violations.map(({ field }) => field);
    expect(fields).toContain("signal.payload");
  });
});

function varints(...values: readonly number[]): Buffer {
  const bytes: number[] = [];
  for (const value of values) {
    let rest = value;
    while (rest >= 128) {
      bytes.push((rest % 128) + 128);
      rest = Math.floor(rest / 128);
    }
    bytes.push(rest);
  }
  return Buffer.from(bytes);
}

describe("a body over the limit", () => {
  const fiveMegabytes = Buffer.alloc(5_000_000, "{");

  test("gets 413, and curl sees it", async () => {
    const directory = await temporaryDirectory();
    const file = join(directory, "body");
    await writeFile(file, fiveMegabytes);
    for (const version of ["--http1.1", "--http2-prior-knowledge"]) {
      for (const path of [REST_PATH, INGEST_PATH, INGEST_BATCH_PATH]) {
        const { stdout } = await promisify(execFile)("curl", [
          ...[version, "--silent", "--show-error", "--noproxy", "*", "--max-time", "20"],
          ...["--header", "content-type: application/json", "--data-binary", `@${file}`],
          ...["--write-out", "\n%{http_code}", server.url + path],
        ]);
        expect(stdout).toContain("BODY_TOO_LARGE");
        expect(stdout.endsWith("\n413")).toBe(true);
      }
    }
  });

  test("gets 413 where its length is not announced", async () => {
    const headers: HeaderLines = [
      ["host", "localhost"],
      ["content-type", "application/json"],
      ["transfer-encoding", "chunked"],
    ];
    const chunk = Buffer.concat([
      Buffer.from("10000\r\n"),
      Buffer.alloc(65_536),
      Buffer.from("\r\n"),
    ]);
    const start = rawRequest(`POST ${REST_PATH} HTTP/1.1`, headers);
    const answer = await exchange(server.port, [start, chunk, chunk]);
    expect(answer.status).toBe(413);
    const overHttp2 = await http2Post(
      server.url,
      REST_PATH,
      { "content-type": "application/json" },
      Buffer.alloc(70_000),
    );
    expect(overHttp2.httpStatus).toBe(413);
  });

  test("gets 413 also if its sender reads nothing before it has sent all", async () => {
    const socket = net.connect(server.port, "127.0.0.1");
    const bytes = rawPost(REST_PATH, [["content-type", "application/json"]], fiveMegabytes);
    await new Promise((resolve) => socket.write(bytes, resolve));
    const [answer] = await once(socket, "data");
    socket.destroy();
    expect(answer.toString("latin1")).toMatch(/^HTTP\/1\.1 413 /);
  });

  test("does not take the connection from the request that follows it", async () => {
    const large = rawPost(REST_PATH, [["content-type", "application/json"]], Buffer.alloc(70_000));
    const answer = await exchange(
      server.port,
      [Buffer.concat([large, get(HEALTH)])],
      "closed",
      300,
    );
    expect(answer.text.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 413", "HTTP/1.1 200"]);
  });

  test("that goes on after its answer is cut off", async () => {
    const socket = net.connect(server.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.resume();
    const start = `POST ${REST_PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n`;
    socket.write(start);
    const drip = setInterval(() => socket.write("x"), 50);
    await once(socket, "close");
    clearInterval(drip);
  });

  test("that goes on after its answer is cut off over HTTP/2, too", async () => {
    const session = http2.connect(server.url);
    onTestFinished(() => session.destroy());
    for (const contentType of ["application/json", "application/grpc"]) {
      const path = contentType === "application/grpc" ? INGEST_PATH : REST_PATH;
      const stream = session.request({
        ":method": "POST",
        ":path": path,
        "content-type": contentType,
      });
      stream.on("error", () => undefined);
      stream.resume();
      const drip = setInterval(() => stream.writable && stream.write(Buffer.alloc(4_000)), 20);
      const [headers] = await once(stream, "response");
      expect(headers[":status"]).toBe(contentType === "application/grpc" ? 200 : 413);
      await once(stream, "close");
      clearInterval(drip);
    }
  });
});

describe.concurrent("HTTP/2 frames that no client sends", () => {
  const request = (stream: number) =>
    frames.headers(stream, [...frames.post(REST_PATH), ["content-type", "application/json"]]);

  test.each([
    ["headers on stream 0", [frames.headers(0, frames.post("/"))]],
    ["headers on an even stream", [frames.headers(2, frames.post("/"))]],
    ["data on a stream that is not open", [frames.data(5, Buffer.alloc(10))]],
    [
      "a frame larger than allowed",
      [frames.frame(frames.FRAME.data, 0, 1, Buffer.alloc(0), 0xff_ffff)],
    ],
    ["a frame of no known type", [frames.frame(0xfe, 0xff, 7, Buffer.alloc(100))]],
    ["a ping that is too short", [frames.frame(frames.FRAME.ping, 0, 0, Buffer.alloc(3))]],
    ["settings of half an entry", [frames.frame(frames.FRAME.settings, 0, 0, Buffer.alloc(5))]],
    ["a window of nothing more", [frames.frame(8, 0, 0, Buffer.alloc(4))]],
    ["a window beyond its limit", [frames.frame(8, 0, 0, Buffer.from("7fffffff", "hex"))]],
    ["a goodbye", [frames.frame(frames.FRAME.goaway, 0, 0, Buffer.alloc(8))]],
    ["no method", [frames.headers(1, frames.post("/").slice(1), frames.END_STREAM)]],
    ["no path", [frames.headers(1, frames.post("/").slice(0, 3), frames.END_STREAM)]],
    ["an empty path", [frames.headers(1, frames.post(""), frames.END_STREAM)]],
    ["a path without a slash", [frames.headers(1, frames.post("x"), frames.END_STREAM)]],
    [
      "an upper-case name",
      [frames.headers(1, [...frames.post("/"), ["X-A", "b"]], frames.END_STREAM)],
    ],
    [
      "a connection header",
      [frames.headers(1, [...frames.post("/"), ["connection", "x"]], frames.END_STREAM)],
    ],
    [
      "a header block that is none",
      [frames.frame(frames.FRAME.headers, 4, 1, Buffer.alloc(50, 0xff))],
    ],
    [
      "headers of 100 KB",
      [
        frames.headers(1, [...frames.post("/"), ["x", "y".repeat(15_000)]]),
        ...Array.from({ length: 7 }, () => frames.frame(9, 0, 1, Buffer.alloc(15_000))),
      ],
    ],
    ["a continuation of nothing", [frames.frame(9, 4, 1, Buffer.alloc(10))]],
    [
      "a length that its body has not",
      [
        frames.headers(1, [
          ...frames.post(REST_PATH),
          ["content-type", "application/json"],
          ["content-length", "5"],
        ]),
        frames.data(1, Buffer.alloc(9), frames.END_STREAM),
      ],
    ],
    ["trailers with a path", [request(1), frames.headers(1, frames.post("/"), frames.END_STREAM)]],
    [
      "data after the end",
      [
        request(1),
        frames.data(1, Buffer.alloc(1), frames.END_STREAM),
        frames.data(1, Buffer.alloc(1)),
      ],
    ],
    ["a reset of a stream that never was", [frames.reset(9, frames.CANCEL)]],
    [
      "1,000 pings",
      Array.from({ length: 1_000 }, () => frames.frame(frames.FRAME.ping, 0, 0, Buffer.alloc(8))),
    ],
    [
      "1,000 settings",
      Array.from({ length: 1_000 }, () => frames.frame(frames.FRAME.settings, 0, 0)),
    ],
    [
      "1,000 empty data frames",
      [request(1), ...Array.from({ length: 1_000 }, () => frames.data(1, Buffer.alloc(0)))],
    ],
  ])("%s", async (_, sent) => {
    await exchange(server.port, [Buffer.concat([frames.opening(), ...sent])], "closed", 150);
  });

  test("500 streams that are opened and reset at once", async () => {
    const sent = Array.from({ length: 500 }, (_, index) => {
      const stream = 2 * index + 1;
      return Buffer.concat([request(stream), frames.reset(stream, frames.CANCEL)]);
    });
    await exchange(server.port, [Buffer.concat([frames.opening(), ...sent])], "closed", 500);
  });

  test("1,000 streams on one connection, of which a hundred may be open at a time", async () => {
    const sent = Array.from({ length: 1_000 }, (_, index) => request(2 * index + 1));
    await exchange(server.port, [Buffer.concat([frames.opening(), ...sent])], "closed", 300);
  });

  test.each([
    ["without an error", frames.NO_ERROR],
    ["as cancelled", frames.CANCEL],
  ])("a stream that is reset in the middle of its body, %s", async (_, code) => {
    const pieces = [
      Buffer.concat([frames.opening(), request(1), frames.data(1, Buffer.from("{}"))]),
      Buffer.concat([frames.reset(1, code), request(3)]),
    ];
    await exchange(server.port, pieces, "closed", 150);
  });
});

describe("a caller that takes its time", () => {
  test("with its body is told that its own deadline passed", async () => {
    const headers: HeaderLines = [
      ["content-type", "application/json"],
      ["connect-timeout-ms", "300"],
    ];
    const bytes = rawPost(INGEST_PATH, headers, Buffer.alloc(100));
    const answer = await exchange(server.port, [bytes.subarray(0, -50)]);
    expect(answer.status).toBe(504);
    expect(connectError(Buffer.from(answer.body)).reason).toBe("DEADLINE_EXCEEDED");
  });

  test("and never ends its stream is told so, too", async () => {
    const session = http2.connect(server.url);
    onTestFinished(() => session.destroy());
    const stream = session.request({
      ":method": "POST",
      ":path": INGEST_PATH,
      "content-type": "application/grpc",
      "grpc-timeout": "300m",
      te: "trailers",
    });
    stream.write(framed(validated.binary));
    stream.resume();
    const [trailers] = await once(stream, "trailers");
    expect(grpcError(trailers)?.reason).toBe("DEADLINE_EXCEEDED");
  });

  test.concurrent.each([
    ["and says nothing", "", undefined],
    ["with its preface", "PRI * HTTP/2.0\r\n", undefined],
    ["with its request line", "GET /api/", 408],
    ["with its headers", `GET ${HEALTH} HTTP/1.1\r\nhost: a\r\nx: y`, 408],
  ])("%s is hung up on", async (_, start, status) => {
    const answer = await exchange(server.port, [Buffer.from(start)], "closed", 14_000);
    expect(answer.isClosed).toBe(true);
    expect(answer.status).toBe(status);
  });

  test.concurrent("and says goodbye, but never ends its watch, is hung up on", async () => {
    const grpc = ["content-type", "application/grpc"] as const;
    const bytes = [
      frames.opening(),
      frames.headers(1, [...frames.post("/grpc.health.v1.Health/Watch"), grpc]),
      frames.data(1, Buffer.alloc(5), frames.END_STREAM),
      frames.frame(frames.FRAME.goaway, 0, 0, Buffer.alloc(8)),
      // After a goodbye, Node.js reads nothing more once a frame is wrong, and tells nobody.
      frames.frame(frames.FRAME.ping, 0, 0, Buffer.alloc(3)),
    ];
    const answer = await exchange(server.port, [Buffer.concat(bytes)], "closed", 14_000);
    expect(answer.isClosed).toBe(true);
  });
});

describe("callers that go away", () => {
  test("in the middle of anything, a hundred times over", async () => {
    const request = signedPost(REST_PATH, validated.rest);
    await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const socket = net.connect(server.port, "127.0.0.1");
        socket.on("error", () => undefined);
        const cut = Math.floor((request.length * (index + 1)) / 100);
        await new Promise((resolve) => socket.write(request.subarray(0, cut), resolve));
        if (index % 2 === 0) socket.resetAndDestroy();
        else socket.destroy();
      }),
    );
  });

  test("with one half only get the answer that is on its way, or none", async () => {
    const socket = net.connect({ port: server.port, allowHalfOpen: true });
    socket.end(get(HEALTH));
    socket.resume();
    await once(socket, "end");
    socket.destroy();
  });

  test("never, 300 at a time, do not keep others out", async () => {
    const idle = await Promise.all(
      Array.from({ length: 300 }, async () => {
        const socket = net.connect(server.port, "127.0.0.1");
        socket.on("error", () => undefined);
        await once(socket, "connect");
        return socket;
      }),
    );
    const answer = await exchange(server.port, [get(HEALTH)]);
    expect(answer.status).toBe(200);
    for (const socket of idle) socket.destroy();
  });
});

test("after all of this the process has stored nothing, said nothing on stderr, and is not bloated", async () => {
  const sql = postgres(database.url, { max: 1 });
  onTestFinished(() => sql.end());
  const rows = await sql`SELECT 1 FROM signals UNION ALL SELECT 1 FROM request_signatures`;
  expect(rows).toHaveLength(0);
  expect(stderr).not.toMatch(/unhandled|uncaught|warning|error/i);
  expect(stderr).not.toContain(TEST_SECRET);
  expect((await rssKib()) - rssAtStartKib).toBeLessThan(GROWTH_MAX_KIB);
});

test("and still takes a signal, and ends when it is told to", async () => {
  const answer = await exchange(server.port, [signedPost(REST_PATH, bodies().rest)]);
  expect(answer.status).toBe(201);
  expect(await server.stop()).toBe(0);
  server = await spawnServer(testServerEnv(database.url));
});
