/**
 * What HTTP lets callers write in several ways is served whichever way they write it, over
 * raw sockets, since client libraries write it in one.
 */
import { createHash, createHmac } from "node:crypto";
import https from "node:https";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  exchange,
  type HeaderLines,
  type RawAnswer,
  rawRequest,
} from "../../attacks/support/rawHttp1.ts";
import { TEST_CERTIFICATE } from "../../client/support/certificate.ts";
import { serveFile } from "../../support/serveFile.ts";
import {
  startTestServer,
  TEST_SECRET,
  type TestServer,
  testHeaders,
  UNSIGNED,
} from "../../support/server.ts";
import { restBody } from "../../support/signals.ts";
import { tlsFiles } from "../support/tlsFiles.ts";
import { bodies, framed, INGEST_PATH, REST_PATH } from "../support/wire.ts";

const HEALTH = "/api/v1/health";
const CHECK = "/grpc.health.v1.Health/Check";
const LOCAL: HeaderLines = [["host", "localhost"]];

/** Asks for signatures. */
const served = serveFile({ OPS_PORT: "0" });
const { database } = served;
/** Asks for none, so that it must be asked under a name of this machine. */
let open: TestServer;

beforeAll(async () => {
  open = await startTestServer(database.url, UNSIGNED);
});

afterAll(() => open.close());

/** Posts a signal by REST; `target` stands in the request line as it is. */
function postSignal(
  port: number,
  target: string,
  {
    headers = LOCAL,
    version = "1.1",
    contentType = "application/json",
    sign = (body: Buffer) => testHeaders(REST_PATH, body),
  } = {},
): Promise<RawAnswer> {
  const body = Buffer.from(restBody());
  const fields: HeaderLines = [
    ...headers,
    ["content-type", contentType],
    ["content-length", `${body.length}`],
    ...Object.entries(sign(body)),
  ];
  return exchange(port, [rawRequest(`POST ${target} HTTP/${version}`, fields, body)]);
}

function opsPort(): number {
  return Number(new URL(served.server.opsUrl ?? "").port);
}

describe("a request over HTTP/1.0 that names no host", () => {
  test.each([
    [`GET ${HEALTH} HTTP/1.0`, 200],
    ["GET /api/v1/ready HTTP/1.0", 200],
    [`HEAD ${HEALTH} HTTP/1.0`, 200],
    ["GET /nothing HTTP/1.0", 404],
    [`GET ${HEALTH} HTTP/1.1`, 400],
  ])("%s gets %d, whether the host is checked or not", async (startLine, status) => {
    for (const port of [served.server.port, open.port, opsPort()]) {
      const request = rawRequest(startLine, [["connection", "close"]]);
      expect((await exchange(port, [request], "closed")).status).toBe(status);
    }
  });

  test("reads metrics", async () => {
    const answer = await exchange(opsPort(), [rawRequest("GET /metrics HTTP/1.0", [])], "closed");
    expect(answer.status).toBe(200);
  });

  test("still may name one, which is then checked", async () => {
    const get = (host: string) =>
      exchange(open.port, [rawRequest(`GET ${HEALTH} HTTP/1.0`, [["host", host]])], "closed");
    expect((await get("localhost")).status).toBe(200);
    expect((await get("evil.example")).status).toBe(400);
    expect((await get("")).status).toBe(400);
    expect((await get("[")).status).toBe(400);
  });

  test("stores a signal that is signed, and none where nobody signs", async () => {
    const options = { version: "1.0", headers: [] };
    expect((await postSignal(served.server.port, REST_PATH, options)).status).toBe(201);
    const rows = await served.sql`SELECT 1 FROM signals`;
    expect((await postSignal(open.port, REST_PATH, options)).status).toBe(400);
    expect(await served.sql`SELECT 1 FROM signals`).toHaveLength(rows.length);
  });

  test.each([
    ["application/json", "{}", "SERVING"],
    ["application/grpc-web+proto", framed(Buffer.alloc(0)).toString("latin1"), "grpc-status: 0"],
  ])("calls the gRPC health service as %s", async (contentType, body, expected) => {
    const fields: HeaderLines = [
      ["content-type", contentType],
      ["content-length", `${body.length}`],
    ];
    const request = rawRequest(`POST ${CHECK} HTTP/1.0`, fields, Buffer.from(body, "latin1"));
    const answer = await exchange(served.server.port, [request], "closed");
    expect(answer.status).toBe(200);
    expect(answer.text).toContain(expected);
  });
});

describe("a target in absolute form", () => {
  test.each([
    ["http://localhost", LOCAL],
    ["HTTP://LocalHost:1", LOCAL],
    ["http://127.0.0.1:8080", LOCAL],
    ["http://[::1]:8080", LOCAL],
    ["http://localhost", [["host", "another.example"]] as HeaderLines],
  ])("%s is served, whatever host stands in the header", async (origin, headers) => {
    for (const port of [served.server.port, open.port, opsPort()]) {
      const request = rawRequest(`GET ${origin}${HEALTH} HTTP/1.1`, headers);
      expect((await exchange(port, [request])).status).toBe(200);
    }
  });

  test("names the host that is checked", async () => {
    const request = rawRequest(`GET http://evil.example${HEALTH} HTTP/1.1`, LOCAL);
    expect((await exchange(served.server.port, [request])).status).toBe(200);
    expect((await exchange(open.port, [request])).status).toBe(400);
    expect((await exchange(opsPort(), [request])).status).toBe(400);
  });

  test.each([
    ["none", []],
    ["two", [...LOCAL, ...LOCAL]],
    ["one that is none", [["host", "["]]],
  ] as readonly (readonly [string, HeaderLines])[])(
    "still wants one host in the header of HTTP/1.1: %s",
    async (_, headers) => {
      const request = rawRequest(`GET http://localhost${HEALTH} HTTP/1.1`, headers);
      expect((await exchange(served.server.port, [request])).status).toBe(400);
    },
  );

  test("needs none in HTTP/1.0", async () => {
    const get = (host: string) =>
      exchange(open.port, [rawRequest(`GET http://${host}${HEALTH} HTTP/1.0`, [])], "closed");
    expect((await get("localhost")).status).toBe(200);
    expect((await get("evil.example")).status).toBe(400);
  });

  test("is signed by its path, which is what the log shows", async () => {
    const target = `http://signals.example.com${REST_PATH}`;
    expect((await postSignal(served.server.port, target)).status).toBe(201);
    expect(served.server.logLines.at(-1)).toMatchObject({ path: REST_PATH, http_status: 201 });
    expect((await postSignal(served.server.port, target, { sign: signWholeTarget })).status).toBe(
      401,
    );

    function signWholeTarget(body: Buffer): Record<string, string> {
      const headers = testHeaders(REST_PATH, body);
      const text = [
        "METHOD:POST",
        `ENDPOINT:${target}`,
        `TIMESTAMP:${headers["x-timestamp"]}`,
        `PRODUCER_ID:${headers["x-producer-id"]}`,
        `BODY_SHA256:${createHash("sha256").update(body).digest("base64")}`,
      ].join("\n");
      const signature = createHmac("sha256", TEST_SECRET).update(text).digest("base64");
      return { ...headers, "x-signature": signature };
    }
  });

  test.each(["?", "?a=b"])("takes no query %s where requests are signed", async (query) => {
    const target = `http://localhost${REST_PATH}${query}`;
    const answer = await postSignal(served.server.port, target);
    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.body).reason).toBe("MALFORMED_BODY");
  });

  test.each(["/x/..", "//", "/%2e", "/."])("is compared as it stands: %s", async (prefix) => {
    const answer = await postSignal(served.server.port, `http://localhost${prefix}${REST_PATH}`);
    expect(answer.status).toBe(404);
  });

  test.each([
    ["application/json", bodies({ validateOnly: true }).json],
    ["application/grpc-web+proto", bodies({ validateOnly: true }).binary],
  ])("is served over RPC as %s, too", async (contentType, message) => {
    const body = contentType === "application/json" ? message : framed(message);
    const fields: HeaderLines = [
      ["content-type", contentType],
      ["content-length", `${body.length}`],
      ...Object.entries(testHeaders(INGEST_PATH, message)),
    ];
    for (const [version, hosts] of [
      ["1.1", [["host", "another.example"]]],
      ["1.0", []],
    ] as readonly (readonly [string, HeaderLines])[]) {
      const startLine = `POST http://localhost${INGEST_PATH} HTTP/${version}`;
      const answer = await exchange(served.server.port, [
        rawRequest(startLine, [...hosts, ...fields], body),
      ]);
      expect(answer.status).toBe(200);
      expect(answer.text).toContain("Nothing was stored.");
    }
  });
});

test("over TLS, a target in absolute form is one of https", async () => {
  const secure = await startTestServer(database.url, await tlsFiles());
  try {
    const get = (target: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        const options = { port: secure.port, path: target, ca: TEST_CERTIFICATE };
        const request = https.get({ ...options, host: "localhost" }, (response) => {
          response.resume();
          resolve(response.statusCode);
        });
        request.on("error", reject);
      });
    expect(await get(`https://localhost${HEALTH}`)).toBe(200);
    expect(await get(`http://localhost${HEALTH}`)).toBe(421);
  } finally {
    await secure.close();
  }
});

test.each([
  "application/json;",
  "application/json ;",
  "application/json; ; charset=utf-8;",
  'APPLICATION/JSON;\tcharset="UTF-8"',
])("the media type %j is JSON over REST", async (contentType) => {
  expect((await postSignal(served.server.port, REST_PATH, { contentType })).status).toBe(201);
});

test.each([
  ";application/json",
  "application/json; charset",
  "application/json; charset=latin1",
  'application/json; charset="utf-8',
  "application/json; q=1;",
  "application/;json",
])("the media type %j is not", async (contentType) => {
  expect((await postSignal(served.server.port, REST_PATH, { contentType })).status).toBe(415);
});
