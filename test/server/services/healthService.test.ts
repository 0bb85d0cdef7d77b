/**
 * What load balancers and orchestrators ask: alive, ready, which version; over REST and
 * by the standard gRPC service, with a client that is not ours.
 */
import http2 from "node:http2";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type ClientReadableStream,
  credentials,
  loadPackageDefinition,
  type ServiceClientConstructor,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { cachedReadiness } from "../../../src/server/ops/readiness.ts";
import { eventually } from "../../support/eventually.ts";
import { type FaultyProxy, startProxy } from "../../support/proxy.ts";
import { fileDatabase } from "../../support/serveFile.ts";
import { startTestServer, type TestServer } from "../../support/server.ts";
import { startRouter } from "../support/routerServer.ts";
import { connectError, framed, grpcError, http2Post } from "../support/wire.ts";

const CHECK = "/grpc.health.v1.Health/Check";
const WATCH = "/grpc.health.v1.Health/Watch";

const definition = loadSync(
  join(fileURLToPath(new URL("../../../proto", import.meta.url)), "grpc/health/v1/health.proto"),
  { enums: String },
);
const HealthClient = (
  loadPackageDefinition(definition) as unknown as {
    readonly grpc: {
      readonly health: { readonly v1: { readonly Health: ServiceClientConstructor } };
    };
  }
).grpc.health.v1.Health;

const database = fileDatabase();
let proxy: FaultyProxy;
let server: TestServer;

beforeAll(async () => {
  proxy = await startProxy(database.url);
  server = await startTestServer(proxy.url);
});

afterAll(async () => {
  await server.close();
  await proxy.close();
});

function client(url = server.url) {
  const made = new HealthClient(new URL(url).host, credentials.createInsecure());
  onTestFinished(() => made.close());
  return made;
}

function check(service: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const done = (error: ServiceError | null, answer?: { readonly status: string }) =>
      answer === undefined ? reject(error) : resolve(answer.status);
    client().makeUnaryRequest(
      CHECK,
      HealthClient.service.Check?.requestSerialize as (value: object) => Buffer,
      HealthClient.service.Check?.responseDeserialize as (bytes: Buffer) => { status: string },
      { service },
      done,
    );
  });
}

/** A watch, and what it has told so far. */
function watch(service: string, url?: string) {
  const stream = client(url).watch?.({ service }) as ClientReadableStream<{ status: string }>;
  const seen: string[] = [];
  let error: ServiceError | undefined;
  stream.on("data", (answer) => seen.push(answer.status));
  stream.on("error", (ended: ServiceError) => {
    error = ended;
  });
  return { stream, seen, error: () => error };
}

describe("the gRPC service", () => {
  test.each(["", "signals.v1.IngestService"])("knows %j", async (service) => {
    expect(await check(service)).toBe("SERVING");
  });

  test.each(["nothing", "signals.v1", "__proto__"])("does not know %j", async (service) => {
    await expect(check(service)).rejects.toMatchObject({ code: status.NOT_FOUND });
    const { stream, seen } = watch(service);
    await expect.poll(() => seen).toEqual(["SERVICE_UNKNOWN"]);
    stream.cancel();
  });

  test("tells its watchers when the database goes away and comes back", async () => {
    const { stream, seen } = watch("");
    await expect.poll(() => seen).toEqual(["SERVING"]);
    proxy.refuse();
    await eventually("NOT_SERVING", () => seen.at(-1) === "NOT_SERVING");
    expect(await check("")).toBe("NOT_SERVING");
    expect((await fetch(`${server.url}/api/v1/ready`)).status).toBe(503);
    expect((await fetch(`${server.url}/api/v1/health`)).status).toBe(200);
    await proxy.heal();
    await eventually("SERVING", () => seen.at(-1) === "SERVING");
    expect(seen).toEqual(["SERVING", "NOT_SERVING", "SERVING"]);
    stream.cancel();
  });

  test("tells its watchers in time when the database stalls", async () => {
    const { stream, seen } = watch("signals.v1.IngestService");
    await expect.poll(() => seen).toEqual(["SERVING"]);
    proxy.stall();
    await eventually("NOT_SERVING", () => seen.at(-1) === "NOT_SERVING");
    await proxy.heal();
    await eventually("SERVING", () => seen.at(-1) === "SERVING");
    stream.cancel();
  });

  test("ends its watches when the server closes, so that watchers go elsewhere", async () => {
    const closing = await startTestServer(database.url);
    const { seen, error } = watch("", closing.url);
    await expect.poll(() => seen).toEqual(["SERVING"]);
    const startMs = performance.now();
    await closing.close();
    // Watches that go on would be cut after ten seconds.
    expect(performance.now() - startMs).toBeLessThan(9_000);
    await expect.poll(error).toMatchObject({ code: status.UNAVAILABLE });
  });

  test("forgets a watcher that is gone", async () => {
    const { stream, seen } = watch("");
    await expect.poll(() => seen).toEqual(["SERVING"]);
    const aborted = () =>
      server.logLines.filter(
        ({ path, msg }) => path === "/grpc.health.v1.Health/Watch" && msg === "request aborted",
      ).length;
    const before = aborted();
    stream.cancel();
    await eventually("the line of its request", () => aborted() === before + 1);
  });

  test("takes Connect and gRPC-Web, too", async () => {
    const json = await fetch(server.url + CHECK, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"service":"signals.v1.IngestService"}',
    });
    expect(await json.json()).toEqual({ status: "SERVING" });
    const web = await fetch(server.url + CHECK, {
      method: "POST",
      headers: { "content-type": "application/grpc-web+proto" },
      body: framed(Buffer.alloc(0)),
    });
    const bytes = Buffer.from(await web.arrayBuffer());
    expect(bytes.subarray(0, 7).toString("hex")).toBe("00000000020801");
  });

  test.each([
    ["broken protobuf", "application/proto", Buffer.from("ffffff", "hex"), 400, "MALFORMED_BODY"],
    ["an unknown field", "application/proto", Buffer.from("1001", "hex"), 400, "MALFORMED_BODY"],
    ["broken JSON", "application/json", Buffer.from("{"), 400, "MALFORMED_BODY"],
    ["an unknown name", "application/json", Buffer.from('{"servic":""}'), 400, "MALFORMED_BODY"],
    ["5,000 bytes", "application/json", Buffer.alloc(5_000, "{"), 413, "BODY_TOO_LARGE"],
  ])("calls %s the caller's fault", async (_, contentType, body, httpStatus, reason) => {
    const answer = await http2Post(server.url, CHECK, { "content-type": contentType }, body);
    expect(answer.httpStatus).toBe(httpStatus);
    expect(connectError(answer.body).reason).toBe(reason);
    const type = contentType.replace("application/", "application/grpc+");
    const overGrpc = await http2Post(server.url, CHECK, { "content-type": type }, framed(body));
    expect(grpcError(overGrpc.headers)?.reason).toBe(reason);
  });
});

test("REST tells that the server is alive, ready, and which version it is", async () => {
  const get = async (path: string) => {
    const response = await fetch(`${server.url}/api/v1/${path}`);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/json");
    return response.json();
  };
  expect(await get("health")).toEqual({ status: "ok" });
  expect(await get("ready")).toEqual({ status: "ready" });
  expect(await get("version")).toEqual({ name: "countersign", version: expect.any(String) });
  expect(await get("health?verbose=1")).toEqual({ status: "ok" });
});

test("no more than 256 watch at once, all on one poller, and one more displaces the oldest", async () => {
  let asked = 0;
  const crowded = await startRouter(() => Promise.reject(new Error("nothing is ingested here")), {
    async isReady() {
      asked += 1;
      return true;
    },
  });
  onTestFinished(() => crowded.close());
  // Eight on each.
  const sessions = Array.from({ length: 33 }, () => http2.connect(crowded.url));
  onTestFinished(() => {
    for (const session of sessions) session.destroy();
  });
  let watching = 0;
  const open = (index: number) => {
    const session = sessions[index % sessions.length] as http2.ClientHttp2Session;
    const headers = { "content-type": "application/grpc", te: "trailers" };
    const stream = session.request({ ":method": "POST", ":path": WATCH, ...headers });
    stream.on("error", () => undefined);
    stream.once("data", () => {
      watching += 1;
    });
    stream.end(framed(Buffer.alloc(0)));
    return stream;
  };
  const streams = Array.from({ length: 256 }, (_, index) => open(index));
  await eventually("256 watches", () => watching === 256);

  const askedBefore = asked;
  await eventually("three looks", () => asked >= askedBefore + 3);
  expect(asked).toBeLessThan(askedBefore + 10);

  const ends: unknown[] = [];
  for (const stream of streams) {
    stream.on("trailers", (trailers) => ends.push(trailers["grpc-status"]));
  }
  streams[0]?.close(http2.constants.NGHTTP2_CANCEL);
  await eventually("the line of the first", () => crowded.logLines.length === 1);
  open(32);
  await eventually("one in its place", () => watching === 257);
  expect(ends).toEqual([]);
  open(31);
  await eventually("one more", () => watching === 258);
  const UNAVAILABLE = "14";
  await eventually("an end", () => ends.length > 0);
  expect(ends).toEqual([UNAVAILABLE]);
});

test("a flood of questions asks the database once a second", async () => {
  let nowMs = 0;
  let asked = 0;
  const isReady = cachedReadiness(
    async () => {
      asked += 1;
      return true;
    },
    () => nowMs,
  );
  await Promise.all(Array.from({ length: 1_000 }, isReady));
  expect(asked).toBe(1);
  nowMs = 1_000;
  await isReady();
  expect(asked).toBe(1);
  nowMs = 1_001;
  await isReady();
  expect(asked).toBe(2);
});
