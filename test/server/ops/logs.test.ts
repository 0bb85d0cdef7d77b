/**
 * The log: one line a request, with what an operator needs to find it, and nothing that
 * a stranger could write between the lines.
 */
import net from "node:net";
import { pino } from "pino";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { StoreUnavailableError } from "../../../src/ingest/index.ts";
import { createLog } from "../../../src/server/ops/log.ts";
import {
  data,
  END_STREAM,
  headers,
  NO_ERROR,
  opening,
  post,
  reset,
} from "../../attacks/support/http2Frames.ts";
import { exchange, type HeaderLines, rawPost, rawRequest } from "../../attacks/support/rawHttp1.ts";
import { eventually } from "../../support/eventually.ts";
import { serveFile } from "../../support/serveFile.ts";
import { TEST_PRODUCER_ID, testHeaders } from "../../support/server.ts";
import { restBody } from "../../support/signals.ts";
import { expectNoLeak } from "../support/secrecy.ts";
import {
  bodies,
  http2Post,
  INGEST_BATCH_PATH,
  INGEST_PATH,
  PROTOCOLS,
  REST_PATH,
  send,
} from "../support/wire.ts";

const served = serveFile();
let seen = 0;

afterAll(() => {
  const { server, database } = served;
  for (const line of server.logLines) expectNoLeak(JSON.stringify(line), database.url);
});

beforeEach(() => {
  seen = served.server.logLines.length;
});

/** The lines since the test began, once there are so many; a moment later there are no more. */
async function newLines(count: number): Promise<readonly Record<string, unknown>[]> {
  await eventually(`${count} lines`, () => served.server.logLines.length - seen >= count);
  // Another request after it would have its line after all others.
  await fetch(`${served.server.url}/api/v1/version`);
  await eventually("the next line", () => served.server.logLines.length - seen >= count + 1);
  const lines = served.server.logLines.slice(seen);
  expect(lines).toHaveLength(count + 1);
  return lines.slice(0, count);
}

const LOG_NAMES = { gRPC: "grpc", "gRPC-Web": "grpc-web", REST: "rest" } as const;

describe("a request has exactly one line", () => {
  test.each(PROTOCOLS)("with all facts of a signal that was stored over %s", async (protocol) => {
    const answer = await send(served.server.url, protocol, bodies());
    const [line] = await newLines(1);
    expect(line).toEqual({
      level: 30,
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      service: "countersign",
      hostname: expect.any(String),
      pid: process.pid,
      request_id: answer.headers["x-request-id"],
      protocol: LOG_NAMES[protocol as keyof typeof LOG_NAMES] ?? "connect",
      http_version: protocol === "gRPC" ? "2.0" : "1.1",
      method: "POST",
      path: protocol === "REST" ? REST_PATH : INGEST_PATH,
      http_status: answer.httpStatus,
      producer_id: TEST_PRODUCER_ID,
      signal_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      stored: 1,
      duplicates: 0,
      refused: 0,
      duration_ms: expect.any(Number),
      msg: "request",
    });
  });

  test.each(PROTOCOLS)("with the reason of one that was refused over %s", async (protocol) => {
    await send(served.server.url, protocol, bodies(), { signing: { producerId: "nobody" } });
    const [line] = await newLines(1);
    expect(line).toMatchObject({ level: 30, reason: "UNAUTHENTICATED", msg: "request" });
    // Who it claimed to be is not proven.
    expect(line).not.toHaveProperty("producer_id");
    expect(line).not.toHaveProperty("stored");
  });

  test("with the count of one that REST alone refuses", async () => {
    await send(served.server.url, "REST", bodies({}, { validate_only: "yes" }));
    const [line] = await newLines(1);
    expect(line).toMatchObject({ reason: "INVALID_SIGNAL", stored: 0, refused: 1 });
  });

  test("with the producer of one whose clock is wrong", async () => {
    await send(served.server.url, "REST", bodies(), {
      signing: { timestamp: "2025-10-25T14:30:45Z" },
    });
    const [line] = await newLines(1);
    expect(line).toMatchObject({ reason: "CLOCK_SKEW", producer_id: TEST_PRODUCER_ID });
  });

  test("with the counts of a batch", async () => {
    const request = (instrument: string, key: string) =>
      `{"signal":{"instrument":"${instrument}","side":"SIDE_BUY","entryPrice":1,"signalTime":"2025-10-25T14:30:45Z"},"idempotencyKey":"${key}"}`;
    const items = [
      request("GOLD", "a"),
      request("GOLD", "b"),
      request("GOLD", "a"),
      request("?", "c"),
    ];
    const body = Buffer.from(`{"requests":[${items.join(",")}]}`);
    const headers = { "content-type": "application/json", ...testHeaders(INGEST_BATCH_PATH, body) };
    await http2Post(served.server.url, INGEST_BATCH_PATH, headers, body);
    const [line] = await newLines(1);
    expect(line).toMatchObject({ stored: 2, duplicates: 1, refused: 1, http_status: 200 });
    expect(line).not.toHaveProperty("signal_id");
  });

  test("if its path is unknown, its method wrong, or its host none", async () => {
    for (const [method, path, host] of [
      ["GET", "/nothing", "a"],
      ["PUT", REST_PATH, "a"],
      ["GET", "/api/v1/health", "["],
    ] as const) {
      await exchange(served.server.port, [
        rawRequest(`${method} ${path} HTTP/1.1`, [["host", host]]),
      ]);
    }
    const lines = await newLines(3);
    expect(lines.map(({ http_status }) => http_status)).toEqual([404, 405, 400]);
    expect(lines.every(({ protocol }) => protocol === "http")).toBe(true);
  });

  test("if its caller left, over HTTP/1.1", async () => {
    const bytes = rawPost(REST_PATH, [["content-type", "application/json"]], Buffer.alloc(100));
    const socket = net.connect(served.server.port, "127.0.0.1");
    await new Promise((resolve) => socket.write(bytes.subarray(0, -50), resolve));
    await expect.poll(() => served.server.logLines.length).toBe(seen);
    socket.resetAndDestroy();
    const [line] = await newLines(1);
    expect(line).toMatchObject({ path: REST_PATH, msg: "request aborted" });
    expect(line).not.toHaveProperty("http_status");
  });

  test("if its caller left, over HTTP/2", async () => {
    const fields = [...post(REST_PATH), ["content-type", "application/json"]] as const;
    const start = [opening(), headers(1, fields), data(1, Buffer.from("{}"))];
    const pieces = [Buffer.concat(start), reset(1, NO_ERROR)];
    await exchange(served.server.port, pieces, "closed", 100);
    const [line] = await newLines(1);
    expect(line).toMatchObject({ path: REST_PATH, msg: "request aborted" });
    expect(line).not.toHaveProperty("http_status");
  });

  test("for each of several on one connection", async () => {
    const get = rawRequest("GET /api/v1/health HTTP/1.1", [["host", "a"]]);
    await exchange(served.server.port, [Buffer.concat([get, get, get])], "closed", 200);
    const ids = (await newLines(3)).map(({ request_id }) => request_id);
    expect(new Set(ids).size).toBe(3);
  });
});

describe("the id of a request", () => {
  async function idFor(given: HeaderLines): Promise<string | undefined> {
    const fields: HeaderLines = [["host", "a"], ...given];
    const answer = await exchange(served.server.port, [
      rawRequest("GET /api/v1/health HTTP/1.1", fields),
    ]);
    const [line] = await newLines(1);
    expect(line?.request_id).toBe(answer.headers["x-request-id"]);
    seen = served.server.logLines.length;
    return answer.headers["x-request-id"];
  }

  test.each(["a", "trace-1.2_3", "A".repeat(128)])("is the caller's, %s", async (id) => {
    expect(await idFor([["x-request-id", id]])).toBe(id);
  });

  test.each([
    ["none", []],
    ["an empty one", [["x-request-id", ""]]],
    ["one that is too long", [["x-request-id", "a".repeat(129)]]],
    ["one with a blank", [["x-request-id", "a b"]]],
    ["one with a quote", [["x-request-id", 'a"b']]],
    ["one with markup", [["x-request-id", "<script>"]]],
    ["one with an escape", [["x-request-id", "\x1b[31m"]]],
    ["one beyond ASCII", [["x-request-id", "\xfc"]]],
    [
      "two of them",
      [
        ["x-request-id", "a"],
        ["x-request-id", "b"],
      ],
    ],
  ] as [string, HeaderLines][])("is the server's own for %s", async (_, given) => {
    const answer = await exchange(served.server.port, [
      rawRequest("GET /api/v1/health HTTP/1.1", [["host", "a"], ...given]),
    ]);
    // A control character is no header at all.
    expect(answer.headers["x-request-id"]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}$/);
  });
});

describe("what comes from outside", () => {
  test("leaves out the query string, in which callers put secrets", async () => {
    await fetch(`${served.server.url}/api/v1/health?token=hunter2-hunter2`);
    await fetch(`${served.server.url}/hunter3?token=hunter2-hunter2`);
    const lines = await newLines(2);
    expect(lines.map(({ path }) => path)).toEqual(["/api/v1/health", "/hunter3"]);
    expect(JSON.stringify(lines)).not.toContain("hunter2");
  });

  test("is cut, and cannot break out of its line", async () => {
    const path = `/${'%0a"}{'.repeat(1_000)}`;
    await exchange(served.server.port, [rawRequest(`GET ${path} HTTP/1.1`, [["host", "a"]])]);
    const [line] = await newLines(1);
    expect(line?.path).toBe(path.slice(0, 200));
  });

  test("cannot steer the terminal on which somebody reads the JSON", async () => {
    const path = "/\u009b2J\u202e\u{e0041}é";
    const lines: string[] = [];
    const log = createLog(
      { logLevel: "info", hostname: "h" },
      { write: (text) => lines.push(text) },
    );
    log.info({ path }, path);
    expect(lines[0]).not.toMatch(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    expect(JSON.parse(lines[0] as string)).toMatchObject({ path, msg: path });
  });

  test("is cut also where it is the method, which HTTP/2 lets be of any length", async () => {
    const fields = [[":method", "M".repeat(12_000)], ...post("/nothing").slice(1)] as const;
    const bytes = Buffer.concat([opening(), headers(1, fields, END_STREAM)]);
    await exchange(served.server.port, [bytes], "closed", 300);
    const [line] = await newLines(1);
    expect(line?.method).toBe("M".repeat(20));
  });

  test("is not in it: neither a signal nor a header", async () => {
    const planted = "planted-text-that-no-log-may-show";
    const body = Buffer.from(restBody({ comment: planted, [planted]: 1, instrument: planted }));
    const fields: HeaderLines = [
      ["content-type", "application/json"],
      ["authorization", `Bearer ${planted}`],
      ["cookie", planted],
      ["user-agent", planted],
      ["x-idempotency-key", planted],
      ...Object.entries(testHeaders(REST_PATH, body)),
    ];
    const answer = await exchange(served.server.port, [rawPost(REST_PATH, fields, body)]);
    expect(answer.status).toBe(422);
    expect(JSON.stringify(await newLines(1))).not.toContain(planted);
  });
});

describe("an error in the log", () => {
  test("is its name, message, code and causes, without a stack", () => {
    const lines: string[] = [];
    const log = createLog(
      { logLevel: "info", hostname: "h" },
      { write: (line) => lines.push(line) },
    );
    const cause = Object.assign(new TypeError("inner"), { code: "ECONNREFUSED" });
    log.error({ err: new StoreUnavailableError("outer", { cause }) }, "the store failed");
    expect(JSON.parse(lines[0] as string).err).toEqual({
      name: "StoreUnavailableError",
      message: "outer",
      cause: { name: "TypeError", message: "inner", code: "ECONNREFUSED" },
    });
    log.error({ err: "thrown text" }, "x");
    expect(JSON.parse(lines[1] as string).err).toEqual({ name: "string", message: "thrown text" });
  });

  test("that causes itself is told to an end", () => {
    const lines: string[] = [];
    const log = createLog(
      { logLevel: "info", hostname: "h" },
      { write: (line) => lines.push(line) },
    );
    const error = new Error("round");
    error.cause = error;
    log.error({ err: error }, "x");
    expect(lines[0]?.match(/round/g)).toHaveLength(6);
  });

  test("and a level that is not asked for is not written", () => {
    const lines: string[] = [];
    const log = createLog(
      { logLevel: "warn", hostname: "h" },
      { write: (line) => lines.push(line) },
    );
    log.info("x");
    log.warn("y");
    expect(lines).toHaveLength(1);
    expect(pino.levels.labels[JSON.parse(lines[0] as string).level]).toBe("warn");
  });
});
