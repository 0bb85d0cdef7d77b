/**
 * A certificate that is renewed while a server is in use: nobody is cut off, and who connects next
 * gets the new one; and a pair of files that is no good leaves the earlier one in force.
 */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import http2 from "node:http2";
import https from "node:https";
import { join } from "node:path";
import tls from "node:tls";
import { describe, expect, onTestFinished, test } from "vitest";
import { restJson } from "../faults/support/senders.ts";
import { eventually } from "../support/eventually.ts";
import { fileDatabase } from "../support/serveFile.ts";
import { startTestServer, type TestServer, testHeaders } from "../support/server.ts";
import { validSignal } from "../support/signals.ts";
import { temporaryDirectory } from "../support/temporaryDirectory.ts";
import { makePair, serialNumber, type TestPair } from "./support/certificates.ts";
import { scrape } from "./support/scrape.ts";
import { tlsFiles } from "./support/tlsFiles.ts";
import { framed } from "./support/wire.ts";

const HEALTH = "/api/v1/health";
const WATCH = "/grpc.health.v1.Health/Watch";
const REST_PATH = "/api/v1/signals";
/** They send all the time. */
const CONNECTIONS = 8;
const DAY_MS = 86_400_000;
/** From its place in the files to its place in handshakes. */
const RENEWED_WITHIN_MS = 10_000;
const REFUSED = "the new TLS certificate is not taken: the earlier one stays in force";

const database = fileDatabase();

type Files = Readonly<Record<"TLS_CERT_FILE" | "TLS_KEY_FILE", string>>;

async function start(files: Files): Promise<TestServer> {
  const server = await startTestServer(database.url, { ...files, OPS_PORT: "0" });
  onTestFinished(() => server.close());
  return server;
}

/** Starts a server with a new pair. */
async function startWith(pair: TestPair) {
  const files = await tlsFiles(pair);
  return { files, server: await start(files) };
}

/** A connection of its own. It is closed when the test ends. */
async function connect(
  { port }: TestServer,
  options: tls.ConnectionOptions = {},
): Promise<tls.TLSSocket> {
  const socket = tls.connect({ port, rejectUnauthorized: false, ...options });
  socket.on("error", () => undefined);
  onTestFinished(() => void socket.destroy());
  await once(socket, "secureConnect");
  return socket;
}

/** The serial number of the certificate that a new connection gets. */
async function servedTo(server: TestServer): Promise<string> {
  const socket = await connect(server);
  const { serialNumber } = socket.getPeerCertificate();
  socket.destroy();
  return serialNumber;
}

function untilServed(server: TestServer, pair: TestPair): Promise<void> {
  return eventually(
    "new connections get the new certificate",
    async () => (await servedTo(server)) === serialNumber(pair),
    RENEWED_WITHIN_MS,
  );
}

/** Replaces both files, each whole and at once, as certbot does. */
async function replace({ TLS_CERT_FILE, TLS_KEY_FILE }: Files, { cert, key }: TestPair) {
  for (const [file, content] of [
    [TLS_KEY_FILE, key],
    [TLS_CERT_FILE, cert],
  ] as const) {
    await writeFile(`${file}.new`, content);
    await rename(`${file}.new`, file);
  }
}

function refusals({ logLines }: TestServer): unknown[] {
  return logLines.filter(({ msg }) => msg === REFUSED).map(({ faults }) => faults);
}

describe("a renewed certificate", () => {
  test("is served to new connections, while those that are in use go on", async () => {
    const { files, server } = await startWith(makePair());
    const http1 = sendOn(CONNECTIONS, server);
    const session = await openHttp2(server);
    const watch = await openWatch(session);
    const next = makePair({ kind: "rsa" });
    await http1.untilStored(100);
    await replace(files, next);
    await untilServed(server, next);
    await http1.untilStored(100);

    expect(http1.connectionsEver).toBe(CONNECTIONS);
    expect(http1.failures).toEqual([]);
    expect(await getBy(session)).toBe(200);
    expect(watch.isOpen()).toBe(true);
    expect(session.closed || session.destroyed).toBe(false);
    expect((session.socket as tls.TLSSocket).getPeerCertificate().serialNumber).not.toBe(
      serialNumber(next),
    );
    expect(refusals(server)).toEqual([]);
    const inForce = server.logLines.filter(({ msg }) => msg === "TLS certificate is in force");
    expect(inForce.at(-1)).toMatchObject({ serial_number: serialNumber(next) });
    expect(inForce).toHaveLength(2);
  });

  test("is found behind symbolic links, as Kubernetes replaces a volume", async () => {
    const directory = await temporaryDirectory();
    const volume = async (name: string, { cert, key }: TestPair) => {
      await mkdir(join(directory, name));
      await writeFile(join(directory, name, "tls.crt"), cert);
      await writeFile(join(directory, name, "tls.key"), key);
      await symlink(name, join(directory, "..data.new"));
      await rename(join(directory, "..data.new"), join(directory, "..data"));
    };
    await volume("..1", makePair());
    for (const name of ["tls.crt", "tls.key"]) {
      await symlink(join("..data", name), join(directory, name));
    }
    const server = await start({
      TLS_CERT_FILE: join(directory, "tls.crt"),
      TLS_KEY_FILE: join(directory, "tls.key"),
    });
    const next = makePair();
    await volume("..2", next);
    await rm(join(directory, "..1"), { recursive: true });
    await untilServed(server, next);
    expect(refusals(server)).toEqual([]);
  });

  test.each(["TLSv1.2", "TLSv1.3"] as const)(
    "is what a client gets that resumes its session, over %s",
    async (maxVersion) => {
      const { files, server } = await startWith(makePair());
      const session = await sessionOf(await connect(server, { maxVersion }));
      const resumed = await connect(server, { maxVersion, session });
      expect(resumed.isSessionReused()).toBe(true);
      const next = makePair();
      await replace(files, next);
      await untilServed(server, next);
      const anew = await connect(server, { maxVersion, session });
      expect(anew.isSessionReused()).toBe(false);
      expect(anew.getPeerCertificate().serialNumber).toBe(serialNumber(next));
    },
  );

  test("moves the end that the metric tells", async () => {
    const until = new Date("2099-01-01T00:00:00Z");
    const { files, server } = await startWith(makePair({ until }));
    const name = "countersign_tls_certificate_expiry_timestamp_seconds";
    expect((await scrape(server.opsUrl)).sum(name)).toBe(until.getTime() / 1_000);
    const later = new Date("2099-03-01T00:00:00Z");
    await replace(files, makePair({ until: later }));
    await eventually("the metric tells the new end", async () => {
      return (await scrape(server.opsUrl)).sum(name) === later.getTime() / 1_000;
    });
  });
});

test("a key that does not belong to the certificate leaves the earlier pair in force, until it does", async () => {
  const pair = makePair();
  const { files, server } = await startWith(pair);
  const next = makePair();
  await writeFile(files.TLS_CERT_FILE, next.cert);
  await eventually("the fault is told", () => refusals(server).length > 0);
  expect(await servedTo(server)).toBe(serialNumber(pair));
  expect(refusals(server)).toEqual([
    [expect.stringContaining(`TLS_KEY_FILE ${files.TLS_KEY_FILE} is not the key of`)],
  ]);
  await writeFile(files.TLS_KEY_FILE, next.key);
  await untilServed(server, next);
  expect(refusals(server)).toHaveLength(1);
  const written = JSON.stringify(server.logLines);
  for (const { key } of [pair, next]) expect(written).not.toContain(key.split("\n")[1]);
});

test("a certificate that has expired is served, and told of at the start", async () => {
  const from = new Date(Date.now() - 90 * DAY_MS);
  const pair = makePair({ from, until: new Date(Date.now() - DAY_MS) });
  const { server } = await startWith(pair);
  expect(await servedTo(server)).toBe(serialNumber(pair));
  expect(server.logLines).toContainEqual(
    expect.objectContaining({
      level: 50,
      msg: "the TLS certificate has expired: clients refuse it",
    }),
  );
});

test("without TLS there is no metric of a certificate", async () => {
  const server = await startTestServer(database.url, { OPS_PORT: "0" });
  onTestFinished(() => server.close());
  expect((await scrape(server.opsUrl)).text).not.toContain("_tls_");
});

/** Sends signals one after the other on connections that are kept, until the test ends. */
function sendOn(connectionCount: number, { url }: TestServer) {
  const agent = new https.Agent({
    keepAlive: true,
    maxSockets: connectionCount,
    rejectUnauthorized: false,
  });
  const sockets = new Set<unknown>();
  const failures: unknown[] = [];
  let stored = 0;
  let isEnded = false;
  const sendNext = () => {
    if (isEnded) return;
    const body = Buffer.from(restJson(randomUUID(), validSignal()));
    const headers = { "content-type": "application/json", ...testHeaders(REST_PATH, body) };
    const request = https.request(url + REST_PATH, { agent, method: "POST", headers });
    request.once("socket", (socket) => sockets.add(socket));
    request.once("error", (error) => failures.push(error));
    request.once("response", (response) => {
      if (response.statusCode === 201) stored += 1;
      else failures.push(response.statusCode);
      response.resume().once("end", sendNext);
    });
    request.end(body);
  };
  for (let i = 0; i < connectionCount; i++) sendNext();
  onTestFinished(() => {
    isEnded = true;
    agent.destroy();
  });
  return {
    failures,
    get connectionsEver() {
      return sockets.size;
    },
    /** So many more. */
    untilStored(count: number) {
      const enough = stored + count;
      return eventually(`${count} more signals are stored`, () => stored >= enough);
    },
  };
}

async function openHttp2({ url }: TestServer): Promise<http2.ClientHttp2Session> {
  const session = http2.connect(url, { rejectUnauthorized: false });
  onTestFinished(() => session.destroy());
  await once(session, "connect");
  return session;
}

/** A stream of the health service that has told its first state. */
async function openWatch(session: http2.ClientHttp2Session) {
  const headers = { "content-type": "application/grpc", te: "trailers" };
  const stream = session.request({ ":method": "POST", ":path": WATCH, ...headers });
  stream.on("error", () => undefined);
  stream.end(framed(new Uint8Array()));
  await once(stream, "data");
  return { isOpen: () => !stream.closed && !stream.readableEnded };
}

async function getBy(session: http2.ClientHttp2Session): Promise<unknown> {
  const stream = session.request({ ":path": HEALTH });
  const [headers] = await once(stream, "response");
  stream.resume();
  return headers[":status"];
}

/** What the server gave this connection to resume it. Over TLS 1.3 it comes after the handshake. */
async function sessionOf(socket: tls.TLSSocket): Promise<Buffer> {
  const session = once(socket, "session");
  if (socket.getProtocol() === "TLSv1.2") return socket.getSession() as Buffer;
  socket.write(`GET ${HEALTH} HTTP/1.1\r\nhost: localhost\r\n\r\n`);
  return (await session)[0];
}
