/**
 * Several processes on one port: they share the work, are replaced when they die, end
 * together, and their numbers add up.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import { isAlive } from "../../../src/store/embedded/process.ts";
import { run } from "../../cli/support/run.ts";
import { TEST_CERTIFICATE } from "../../client/support/certificate.ts";
import {
  findPostmaster,
  makeTestDataDir,
  processTree,
  removeTestDataDir,
} from "../../faults/support/embedded.ts";
import { postSigned, restJson } from "../../faults/support/senders.ts";
import { eventually } from "../../support/eventually.ts";
import { holdInserts } from "../../support/postgres.ts";
import { fileDatabase } from "../../support/serveFile.ts";
import {
  type ServerProcess,
  spawnServer,
  TEST_MASTER_KEY,
  TEST_SECRET,
  testServerEnv,
} from "../../support/server.ts";
import { validSignal } from "../../support/signals.ts";
import { makePair, serialNumber } from "../support/certificates.ts";
import { scrape, scrapeAfter } from "../support/scrape.ts";
import { tlsFiles } from "../support/tlsFiles.ts";

const WORKERS = 2;
/** So many connections all go to one of two workers once in 2^39 times. */
const CONNECTIONS = 40;
const REST_PATH = "/api/v1/signals";
const MAIN = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url));

const database = fileDatabase();

async function startServer(
  overrides: Readonly<Record<string, string | undefined>> = {},
  options: Parameters<typeof spawnServer>[1] = {},
): Promise<ServerProcess> {
  const env = testServerEnv(database.url, {
    WORKERS: String(WORKERS),
    OPS_PORT: "0",
    DATABASE_POOL_SIZE: "4",
    ...overrides,
  });
  const server = await spawnServer(env, options);
  onTestFinished(async () => {
    await server.stop("SIGKILL");
  });
  return server;
}

/** The process ids of all workers that there ever were, in the order in which they could serve. */
function workerPids(server: ServerProcess): number[] {
  const lines = server.logLines().filter(({ msg }) => msg === "worker is ready");
  return lines.map(({ worker_pid: pid }) => Number(pid));
}

/** The process ids that requests were answered by. */
function answeringPids(server: ServerProcess): Set<unknown> {
  const lines = server.logLines().filter(({ path }) => path === REST_PATH);
  return new Set(lines.map(({ pid }) => pid));
}

function sendSignal(server: ServerProcess, key: string = randomUUID(), instrument = "GOLD") {
  const body = Buffer.from(restJson(key, { ...validSignal(), instrument }));
  return postSigned(server.url, REST_PATH, body);
}

/** Sends so many signals, each over a connection of its own. @returns their HTTP statuses. */
async function sendSignals(server: ServerProcess, count: number, key?: string) {
  const answers = await Promise.all(Array.from({ length: count }, () => sendSignal(server, key)));
  return answers.map(({ status }) => status);
}

/** Connections that go to all workers, and stay. */
function keptConnections({ url }: ServerProcess) {
  const agent = new https.Agent({
    keepAlive: true,
    maxSockets: CONNECTIONS,
    maxFreeSockets: CONNECTIONS,
    rejectUnauthorized: false,
  });
  onTestFinished(() => agent.destroy());
  const sockets = new Set<unknown>();
  async function askOne(): Promise<void> {
    const request = https.get(`${url}/api/v1/health`, { agent });
    request.once("socket", (socket) => sockets.add(socket));
    const [response] = await once(request, "response");
    expect(response.statusCode).toBe(200);
    await once(response.resume(), "end");
  }
  return {
    /** One request on each of them at the same time. */
    ask: () => Promise.all(Array.from({ length: CONNECTIONS }, askOne)),
    /** How many there have been. */
    countEver: () => sockets.size,
  };
}

async function connectTls({ port }: ServerProcess): Promise<tls.TLSSocket> {
  const socket = tls.connect({ port, rejectUnauthorized: false });
  onTestFinished(() => void socket.destroy());
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  return socket;
}

/** The serial numbers of the certificates that new connections get, from all workers. */
async function servedSerialNumbers(server: ServerProcess): Promise<string[]> {
  const sockets = await Promise.all(Array.from({ length: CONNECTIONS }, () => connectTls(server)));
  const numbers = sockets.map((socket) => socket.getPeerCertificate().serialNumber);
  for (const socket of sockets) socket.destroy();
  return [...new Set(numbers)];
}

async function untilGone(pids: readonly number[]): Promise<void> {
  await eventually(`${pids.join(" and ")} are gone`, async () => {
    const alive = await Promise.all(pids.map(isAlive));
    return !alive.includes(true);
  });
}

async function untilReplaced(server: ServerProcess, workersEver: number): Promise<void> {
  await eventually(`${workersEver} workers were started`, () => {
    return workerPids(server).length >= workersEver;
  });
}

describe("workers", () => {
  test("share the connections of one port, and each logs its requests", async () => {
    const server = await startServer();
    expect(await sendSignals(server, CONNECTIONS)).toEqual(Array(CONNECTIONS).fill(201));
    const pids = workerPids(server);
    expect(new Set(pids).size).toBe(WORKERS);
    expect(pids).not.toContain(server.child.pid);
    await eventually("all requests are logged", () => {
      return server.logLines().filter(({ path }) => path === REST_PATH).length === CONNECTIONS;
    });
    expect(answeringPids(server)).toEqual(new Set(pids));
  });

  test("have the configuration neither in their environment nor in their command line", async () => {
    const server = await startServer({ NODE_OPTIONS: "--max-semi-space-size=9" });
    for (const pid of workerPids(server)) {
      const environment = await readFile(`/proc/${pid}/environ`, "utf8");
      const told = environment + (await readFile(`/proc/${pid}/cmdline`, "utf8"));
      for (const secret of [TEST_MASTER_KEY, TEST_SECRET, database.url]) {
        expect(told).not.toContain(secret);
      }
      // What is for Node.js itself reaches them.
      expect(environment).toContain("--max-semi-space-size=9");
    }
    expect(await sendSignals(server, 4)).toEqual(Array(4).fill(201));
  });

  test("speak TLS", async () => {
    const server = await startServer(await tlsFiles());
    expect(server.url).toMatch(/^https:/);
    for (let i = 0; i < 4; i++) {
      const agent = new https.Agent({ ca: TEST_CERTIFICATE });
      const [response] = await once(https.get(`${server.url}/api/v1/ready`, { agent }), "response");
      expect(response.statusCode).toBe(200);
      response.resume();
      agent.destroy();
    }
  });

  test("serve a renewed certificate, each of them, and so does one that comes later", async () => {
    const files = await tlsFiles(makePair());
    const server = await startServer(files);
    const kept = keptConnections(server);
    await kept.ask();
    const next = makePair({ until: new Date("2099-01-01T00:00:00Z") });
    await writeFile(files.TLS_CERT_FILE, next.cert);
    await writeFile(files.TLS_KEY_FILE, next.key);
    await eventually("all new connections get the new certificate", async () => {
      return (await servedSerialNumbers(server)).join() === serialNumber(next);
    });
    await kept.ask();
    expect(kept.countEver()).toBe(CONNECTIONS);
    // It is one certificate, however many serve it.
    const expiry = "countersign_tls_certificate_expiry_timestamp_seconds";
    const { sum } = await scrape(server.opsUrl);
    expect(sum(expiry)).toBe(Date.parse("2099-01-01T00:00:00Z") / 1_000);

    await writeFile(files.TLS_CERT_FILE, "broken");
    const refusals = () => server.logLines().filter(({ faults }) => faults !== undefined);
    await eventually("the fault is told", () => refusals().length > 0);
    for (const pid of workerPids(server)) process.kill(pid, "SIGKILL");
    await untilReplaced(server, 2 * WORKERS);
    expect(await servedSerialNumbers(server)).toEqual([serialNumber(next)]);
    expect(refusals()).toEqual([
      expect.objectContaining({
        level: 50,
        faults: [expect.stringContaining(`TLS_CERT_FILE ${files.TLS_CERT_FILE} holds no`)],
      }),
    ]);
  });

  test("that die are replaced and logged, and nobody is left without an answer", async () => {
    const server = await startServer();
    const [victim] = workerPids(server) as [number];
    process.kill(victim, "SIGKILL");
    // Whatever a caller meets meanwhile, it learns so at once and not by its own timeout.
    const startMs = performance.now();
    await Promise.allSettled(Array.from({ length: CONNECTIONS }, () => sendSignal(server)));
    expect(performance.now() - startMs).toBeLessThan(5_000);

    await untilReplaced(server, WORKERS + 1);
    expect(server.logLines()).toContainEqual(
      expect.objectContaining({ level: 50, worker_pid: victim, signal: "SIGKILL" }),
    );
    expect(await sendSignals(server, CONNECTIONS)).toEqual(Array(CONNECTIONS).fill(201));
    const { sum } = await scrape(server.opsUrl);
    expect(sum("countersign_workers")).toBe(WORKERS);
    expect(sum("countersign_worker_ends_total")).toBe(1);
    expect(await server.stop()).toBe(0);
  });

  test("that all die at once come back at the same port", async () => {
    const server = await startServer();
    const readiness = async () => (await fetch(`${server.opsUrl}/api/v1/ready`)).status;
    for (const pid of workerPids(server)) process.kill(pid, "SIGKILL");
    await eventually("it is not ready", async () => (await readiness()) === 503);
    expect((await scrape(server.opsUrl)).sum("countersign_workers")).toBe(0);
    await untilReplaced(server, 2 * WORKERS);
    expect(await sendSignals(server, 4)).toEqual(Array(4).fill(201));
    expect(await readiness()).toBe(200);
  });

  test("are waited for longer and longer if they die one after the other", async () => {
    const server = await startServer();
    for (let ends = 1; ends <= 3; ends++) {
      const pids = workerPids(server);
      process.kill(pids.at(-1) as number, "SIGKILL");
      await untilReplaced(server, WORKERS + ends);
    }
    const ends = server.logLines().filter((line) => "replaced_in_ms" in line);
    const delays = ends.map(({ replaced_in_ms: delay }) => Number(delay));
    expect(delays).toHaveLength(3);
    for (const [index, leastMs] of [100, 200, 400].entries()) {
      expect(delays[index]).toBeGreaterThanOrEqual(leastMs);
      expect(delays[index]).toBeLessThanOrEqual(1.25 * leastMs);
    }
  });

  test("are not started beside a server that has the port already, though it would share", async () => {
    const server = await startServer();
    const env = testServerEnv(database.url, { WORKERS: "2", PORT: String(server.port) });
    const { code, stderr } = await run(["serve"], { env });
    expect(code).toBe(1);
    expect(stderr).toContain(`Port ${server.port} on 127.0.0.1 is in use.`);
    expect(await sendSignals(server, 4)).toEqual(Array(4).fill(201));
  });

  test("of two servers that start at once never share a port", async () => {
    const former = await startServer();
    const PORT = String(former.port);
    await former.stop();
    const starts = await Promise.allSettled(
      [1, 2].map(() => startServer({ PORT, OPS_PORT: "off" })),
    );
    const failures = starts.filter((start) => start.status === "rejected");
    expect(failures).toHaveLength(1);
    expect(String(failures[0]?.reason)).toContain(`Port ${PORT} on 127.0.0.1 is in use.`);
  });

  test("are not started if the operations port cannot be had", async () => {
    const server = await startServer();
    const OPS_PORT = new URL(String(server.opsUrl)).port;
    const env = testServerEnv(database.url, { WORKERS: "2", OPS_PORT });
    const { code, stdout, stderr } = await run(["serve"], { env });
    expect(code).toBe(1);
    expect(stderr).toContain(`Port ${OPS_PORT} on 127.0.0.1 is in use.`);
    expect(stdout).not.toContain("worker is ready");
  });

  test("that cannot start stop the start, with the reason", async () => {
    // An address of nobody (RFC 5737), which only a worker tries to listen on.
    const nobodys = { HOST: "192.0.2.1", ALLOW_CLEARTEXT: "true" };
    const env = testServerEnv(database.url, { WORKERS: "2", ...nobodys });
    const { code, stderr } = await run(["serve"], { env });
    expect(code).toBe(1);
    expect(stderr).toContain("HOST 192.0.2.1 is not an address of this machine");
  });

  test("that need more connections than the database takes are warned of", async () => {
    const server = await startServer({ WORKERS: "3", DATABASE_POOL_SIZE: "100" });
    expect(server.logLines()).toContainEqual(
      expect.objectContaining({ level: 40, connections_max: 304 }),
    );
    const modest = await startServer();
    expect(modest.logLines().filter(({ level }) => level === 40)).toEqual([]);
  });
});

describe("the numbers of several workers", () => {
  const REPEATS = 12;

  test("add up to what was sent", async () => {
    const server = await startServer();
    await sendSignals(server, CONNECTIONS);
    await sendSignals(server, REPEATS, randomUUID());
    const refusals = Array.from({ length: REPEATS }, () => sendSignal(server, "a-key", "gold"));
    await Promise.all(refusals);
    const sent = CONNECTIONS + 2 * REPEATS;
    const { sum } = await scrapeAfter(server, sent);

    // All of this says nothing if one worker did all of it.
    expect(answeringPids(server).size).toBe(WORKERS);
    expect(sum("countersign_requests_total")).toBe(sent);
    expect(sum("countersign_requests_total", { outcome: "ok" })).toBe(CONNECTIONS + REPEATS);
    expect(sum("countersign_requests_total", { outcome: "INVALID_SIGNAL" })).toBe(REPEATS);
    expect(sum("countersign_request_duration_seconds_count")).toBe(sent);
    expect(sum("countersign_request_duration_seconds_bucket", { le: "+Inf" })).toBe(sent);
    expect(sum("countersign_signals_total", { outcome: "stored" })).toBe(CONNECTIONS + 1);
    expect(sum("countersign_signals_total", { outcome: "duplicate" })).toBe(REPEATS - 1);
    expect(sum("countersign_batch_signals_sum")).toBe(CONNECTIONS + REPEATS);
    expect(sum("countersign_workers")).toBe(WORKERS);
  });

  test("do not fall when a worker dies, and grow on with the next", async () => {
    const server = await startServer();
    await sendSignals(server, CONNECTIONS);
    const before = await scrapeAfter(server, CONNECTIONS);
    for (const pid of workerPids(server)) {
      process.kill(pid, "SIGKILL");
      const { sum } = await scrape(server.opsUrl);
      expect(sum("countersign_requests_total")).toBe(CONNECTIONS);
    }
    await untilReplaced(server, 2 * WORKERS);
    await sendSignals(server, REPEATS);
    const { sum } = await scrapeAfter(server, CONNECTIONS + REPEATS);
    expect(sum("countersign_requests_total")).toBe(CONNECTIONS + REPEATS);
    expect(sum("countersign_request_duration_seconds_sum")).toBeGreaterThan(
      before.sum("countersign_request_duration_seconds_sum"),
    );
    // What is now is not what was: a worker that is gone takes no memory.
    const memory = "process_resident_memory_bytes";
    expect(sum(memory)).toBeLessThan(1.5 * before.sum(memory));
  });

  test("can be had while a worker does not answer", async () => {
    const server = await startServer();
    await sendSignals(server, CONNECTIONS);
    await scrapeAfter(server, CONNECTIONS);
    const [stuck] = workerPids(server) as [number];
    process.kill(stuck, "SIGSTOP");
    const { sum } = await scrape(server.opsUrl);
    expect(sum("countersign_requests_total")).toBe(CONNECTIONS);
    process.kill(stuck, "SIGCONT");
  });
});

describe("the end", () => {
  // As from a service manager, and from Ctrl-C at a terminal.
  test.each(["SIGTERM", "SIGINT"] as const)(
    "by %s to all processes waits for what every worker has under way, and is a success",
    async (signal) => {
      const server = await startServer({}, { hasOwnGroup: true });
      const release = await holdInserts(database.url);
      const statuses = sendSignals(server, CONNECTIONS);
      await sleep(500);
      const exit = once(server.child, "exit");
      process.kill(-(server.child.pid as number), signal);
      await sleep(300);
      await release();
      expect(await statuses).toEqual(Array(CONNECTIONS).fill(201));
      expect((await exit)[0]).toBe(0);
      expect(answeringPids(server).size).toBe(WORKERS);
      expect(server.logLines().at(-1)).toMatchObject({ msg: "closed" });
      await untilGone(workerPids(server));
    },
  );

  test("is no success if a worker dies meanwhile, but the others finish", async () => {
    const server = await startServer();
    const release = await holdInserts(database.url);
    const answers = Array.from({ length: CONNECTIONS }, () => sendSignal(server));
    const outcomes = Promise.allSettled(answers);
    await sleep(500);
    const exitCode = server.stop("SIGTERM");
    await sleep(300);
    const [victim, survivor] = workerPids(server) as [number, number];
    process.kill(victim, "SIGKILL");
    await untilGone([victim]);
    await sleep(300);
    await release();
    const stored = (await outcomes).filter(({ status }) => status === "fulfilled");
    expect(await exitCode).toBe(1);
    expect(stored.length).toBeGreaterThan(0);
    expect(answeringPids(server)).toEqual(new Set([survivor]));
  });

  test("comes at once when it is asked for a second time", async () => {
    const server = await startServer({}, { hasOwnGroup: true });
    const release = await holdInserts(database.url);
    const sent = Promise.allSettled(Array.from({ length: 4 }, () => sendSignal(server)));
    await sleep(500);
    process.kill(-(server.child.pid as number), "SIGINT");
    await sleep(300);
    expect(server.child.exitCode).toBeNull();
    const startMs = performance.now();
    const exit = once(server.child, "exit");
    process.kill(-(server.child.pid as number), "SIGINT");
    expect((await exit)[0]).toBe(1);
    await untilGone(workerPids(server));
    expect(performance.now() - startMs).toBeLessThan(2_000);
    await release();
    await sent;
  });

  test("is a success though it comes before a worker that is replaced can listen to it", async () => {
    const server = await startServer();
    const [victim] = workerPids(server) as [number];
    process.kill(victim, "SIGKILL");
    await untilGone([victim]);
    let newcomer: number | undefined;
    await eventually("its replacement is started", async () => {
      const [, ...workers] = await processTree(server.child.pid as number);
      newcomer = workers.find((pid) => !workerPids(server).includes(pid));
      return newcomer !== undefined;
    });
    const exitCode = server.stop("SIGTERM");
    process.kill(newcomer as number, "SIGTERM");
    expect(await exitCode).toBe(0);
  });

  test("is a success though it comes to all processes while they start", async () => {
    const env = testServerEnv(database.url, { WORKERS: String(WORKERS) });
    const child = spawn(process.execPath, [MAIN, "serve"], {
      env: { PATH: process.env.PATH, ...env },
      stdio: "ignore",
      detached: true,
    });
    const exit = once(child, "exit");
    const tree = () => processTree(child.pid as number);
    await eventually("a worker is started", async () => (await tree()).length > 1);
    const pids = await tree();
    process.kill(-(child.pid as number), "SIGTERM");
    expect((await exit)[0]).toBe(0);
    await untilGone(pids);
  });

  test("of the first process by kill -9 is that of its workers, and the port is free", async () => {
    const server = await startServer();
    await server.stop("SIGKILL");
    await untilGone(workerPids(server));
    const next = await startServer({ PORT: String(server.port) });
    expect(await sendSignals(next, 4)).toEqual(Array(4).fill(201));
  });

  test("stops the embedded database, also by Ctrl-C to the whole process group", async () => {
    const dataDir = await makeTestDataDir();
    onTestFinished(() => removeTestDataDir(dataDir));
    const env = { DATABASE_URL: undefined, COUNTERSIGN_MASTER_KEY: undefined, DATA_DIR: dataDir };
    const server = await startServer(env, { hasOwnGroup: true });
    expect(await sendSignals(server, CONNECTIONS)).toEqual(Array(CONNECTIONS).fill(201));
    const postmaster = (await findPostmaster(dataDir)) as number;
    const exit = once(server.child, "exit");
    process.kill(-(server.child.pid as number), "SIGINT");
    expect((await exit)[0]).toBe(0);
    await untilGone([...workerPids(server), postmaster]);
  });
});
