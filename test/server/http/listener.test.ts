/**
 * One port for HTTP/1.1 and HTTP/2, in clear text and over TLS, that ends without losing
 * what is under way.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import net from "node:net";
import tls from "node:tls";
import { fromBinary } from "@bufbuild/protobuf";
import { describe, expect, onTestFinished, test } from "vitest";
import { IngestResponseSchema } from "../../../gen/signals/v1/ingest_service_pb.ts";
import type { Ingest } from "../../../src/ingest/index.ts";
import { exchange, rawPost, rawRequest } from "../../attacks/support/rawHttp1.ts";
import { allOf } from "../../support/allOf.ts";
import { fileDatabase } from "../../support/serveFile.ts";
import {
  startTestServer,
  type TestServer,
  testHeaders,
  testServerEnv,
} from "../../support/server.ts";
import { startRouter } from "../support/routerServer.ts";
import { tlsFiles } from "../support/tlsFiles.ts";
import {
  bodies,
  framed,
  http2Post,
  INGEST_PATH,
  PROTOCOLS,
  REST_PATH,
  send,
} from "../support/wire.ts";

const HEALTH = "/api/v1/health";

const database = fileDatabase();

/** The status and the HTTP version of a GET by Node's client. */
function getBy(
  client: typeof http | typeof https,
  url: string,
  options: https.RequestOptions = {},
): Promise<{ readonly status: number | undefined; readonly version: string }> {
  return new Promise((resolve, reject) => {
    const request = client.get(url, { rejectUnauthorized: false, ...options }, (response) => {
      response.resume();
      response.once("end", () =>
        resolve({ status: response.statusCode, version: response.httpVersion }),
      );
    });
    request.once("error", reject);
  });
}

describe("a port in clear text", () => {
  test("serves every protocol, HTTP/1.1 and HTTP/2 side by side", async () => {
    const server = await startTestServer(database.url);
    onTestFinished(() => server.close());
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => PROTOCOLS)
        .flat()
        .map((protocol) => send(server.url, protocol, bodies())),
    );
    for (const { error } of answers) expect(error).toBeUndefined();
    expect(await getBy(http, server.url + HEALTH)).toEqual({ status: 200, version: "1.1" });
  });

  test("keeps an HTTP/1.1 connection for the next request", async () => {
    const server = await startTestServer(database.url);
    onTestFinished(() => server.close());
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    const ports = new Set<number | undefined>();
    agent.on("free", (socket: net.Socket) => ports.add(socket.localPort));
    for (let sent = 0; sent < 5; sent++) await getBy(http, server.url + HEALTH, { agent });
    expect(ports.size).toBe(1);
  });

  test("that is taken is an error at the start, and nothing is left behind", async () => {
    const taken = net.createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    onTestFinished(() => void taken.close());
    const PORT = String((taken.address() as net.AddressInfo).port);
    await expect(startTestServer(database.url, { PORT })).rejects.toThrow("EADDRINUSE");
  });
});

describe("a port with TLS", () => {
  async function startTls(): Promise<TestServer> {
    const server = await startTestServer(database.url, await tlsFiles());
    onTestFinished(() => server.close());
    return server;
  }

  test("serves HTTP/1.1 and HTTP/2, as the client chooses by ALPN", async () => {
    const { url } = await startTls();
    expect(url).toMatch(/^https:/);
    expect(await getBy(https, url + HEALTH)).toEqual({ status: 200, version: "1.1" });
    const { binary } = bodies();
    const headers = { "content-type": "application/grpc", te: "trailers" };
    const signed = { ...headers, ...testHeaders(INGEST_PATH, binary) };
    const answer = await http2Post(url, INGEST_PATH, signed, framed(binary));
    expect(answer.headers["grpc-status"]).toBe("0");
    expect(fromBinary(IngestResponseSchema, answer.body.subarray(5)).signalId).not.toBe("");
  });

  test("serves HTTP/1.1 to a client without ALPN, and no protocol that it does not know", async () => {
    const { port } = await startTls();
    const plain = tls.connect({ port, rejectUnauthorized: false });
    plain.write(rawRequest(`GET ${HEALTH} HTTP/1.1`, [["host", "localhost"]]));
    const [answer] = await once(plain, "data");
    plain.destroy();
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 200 /);
    const foreign = tls.connect({ port, rejectUnauthorized: false, ALPNProtocols: ["spdy/3"] });
    const [error] = await once(foreign, "error");
    expect(error).toBeInstanceOf(Error);
  });

  test("hangs up on clear text and garbage, and goes on", async () => {
    const { port, url } = await startTls();
    for (const bytes of [rawRequest(`GET ${HEALTH} HTTP/1.1`, []), Buffer.alloc(500, 0x16)]) {
      const answer = await exchange(port, [bytes], "closed", 2_000);
      expect(answer.isClosed).toBe(true);
      expect(answer.status).toBeUndefined();
    }
    expect(await getBy(https, url + HEALTH)).toMatchObject({ status: 200 });
  });

  test("closes with idle connections of both kinds at once", async () => {
    const { port, url, close } = await startTls();
    const session = http2.connect(url, { rejectUnauthorized: false });
    session.on("error", () => undefined);
    await once(session, "connect");
    const silent = tls.connect({ port, rejectUnauthorized: false });
    silent.on("error", () => undefined);
    await once(silent, "secureConnect");
    const startMs = performance.now();
    await close();
    // Connections that stay would be cut after ten seconds.
    expect(performance.now() - startMs).toBeLessThan(9_000);
  });

  test("does not start without its files, and says which one is missing", async () => {
    const missing = { TLS_CERT_FILE: "/nowhere/cert.pem", TLS_KEY_FILE: "/nowhere/key.pem" };
    await expect(startTestServer(database.url, missing)).rejects.toThrow("/nowhere/");
  });
});

/** A domain that answers when it is told to. */
function heldIngest() {
  const held = Promise.withResolvers<void>();
  let count = 0;
  const ingest: Ingest = async (submissions, { receiveTime }) => {
    const all = await allOf(submissions);
    count += all.length;
    await held.promise;
    return all.map(() => ({ kind: "valid", status: "received", receiveTime }));
  };
  return { ingest, release: held.resolve, arrived: () => count };
}

describe("a port that closes", () => {
  test("answers what is under way in every protocol, and takes nothing new", async () => {
    const { ingest, release, arrived } = heldIngest();
    const server = await startRouter(ingest);
    const underWay = PROTOCOLS.map((protocol) => send(server.url, protocol, bodies()));
    const raw = exchange(
      server.port,
      [rawPost(REST_PATH, [["content-type", "application/json"]], bodies().rest)],
      "closed",
    );
    await expect.poll(arrived).toBe(PROTOCOLS.length + 1);
    const closing = server.close();
    await expect(exchange(server.port, [Buffer.from("x")], "closed")).resolves.toMatchObject({
      text: "",
    });
    release();
    for (const answer of await Promise.all(underWay)) expect(answer.error).toBeUndefined();
    // The caller is told not to use the connection again, and it ends.
    expect(await raw).toMatchObject({ status: 200, isClosed: true });
    expect((await raw).headers.connection).toBe("close");
    await closing;
    expect(server.logLines.filter(({ msg }) => msg === "request")).toHaveLength(
      underWay.length + 1,
    );
  });

  test("cuts at once connections that are idle, silent, or have but begun to speak", async () => {
    const server = await startRouter(heldIngest().ingest, { closeGraceMs: 3_600_000 });
    const starts = [
      "",
      "P",
      "PRI * HTTP/2.0\r\n",
      "GET / HT",
      `GET ${HEALTH} HTTP/1.1\r\nhost: a\r\n\r\n`,
    ];
    const ends = starts.map(async (start) => {
      const socket = net.connect(server.port, "127.0.0.1");
      socket.on("error", () => undefined);
      socket.resume();
      await once(socket, "connect");
      socket.write(start);
      return once(socket, "close");
    });
    const session = http2.connect(server.url);
    await once(session, "connect");
    // A request that is answered shows that the bytes above have arrived, too.
    await exchange(server.port, [rawRequest(`GET ${HEALTH} HTTP/1.1`, [["host", "a"]])]);
    await server.close();
    await Promise.all(ends);
  });

  test("cuts what is still under way when its time is over", async () => {
    const { ingest, arrived } = heldIngest();
    const server = await startRouter(ingest);
    const requests = (["REST", "gRPC"] as const).map((protocol) =>
      send(server.url, protocol, bodies()).then(
        () => "answered",
        () => "cut",
      ),
    );
    await expect.poll(arrived).toBe(2);
    const startMs = performance.now();
    await server.close();
    const tookMs = performance.now() - startMs;
    expect(tookMs).toBeGreaterThan(900);
    expect(await Promise.all(requests)).not.toContain("answered");
  });
});

test("a server that is closed leaves nothing that keeps its process alive", async () => {
  const script = `
    import { serverConfigFromEnv, startServer } from "./src/server/index.ts";
    const server = await startServer(serverConfigFromEnv());
    await fetch(server.url + "/api/v1/ready");
    await fetch(server.url + "/grpc.health.v1.Health/Check", {
      method: "POST", body: "{}", headers: { "content-type": "application/json" },
    });
    await server.close();
    await server.close();
  `;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    cwd: new URL("../../../", import.meta.url),
    env: { PATH: process.env.PATH, ...testServerEnv(database.url) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let closedMs = 0;
  child.stdout.on("data", (chunk: Buffer) => {
    if (chunk.includes('"closed"')) closedMs = performance.now();
  });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString("utf8");
  });
  const [code] = await once(child, "close");
  expect(stderr).toBe("");
  expect(code).toBe(0);
  // What is left by then are the idle connections of the script's own fetch.
  expect(performance.now() - closedMs).toBeLessThan(20_000);
});
