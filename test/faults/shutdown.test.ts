/**
 * Ending a server: what is under way is finished and acknowledged, nothing that is merely
 * open holds it up, and nothing of it stays behind.
 */
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import postgres from "postgres";
import { describe, type TestContext, test } from "vitest";
import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../../gen/grpc/health/v1/health_pb.ts";
import { isAlive } from "../../src/store/embedded/process.ts";
import { eventually } from "../support/eventually.ts";
import { holdInserts } from "../support/postgres.ts";
import { type ServerProcess, spawnServer, testServerEnv } from "../support/server.ts";
import { findPostmaster, postmasterOf } from "./support/embedded.ts";
import { brokenPromises, readRows, sortedKeys, sortedRowKeys } from "./support/ledger.ts";
import { type Cleanup, ownDatabase, ownDataDir, ownSenders } from "./support/parts.ts";
import type { Sender } from "./support/senders.ts";
import { sendOneEach, streamSignals } from "./support/stream.ts";

/** How long a server that has little to finish may take to end, on a machine that is busy. */
const PROMPT_MS = 4_000;
/** The server gives requests 10 s, and its database 5 s more. */
const GRACE_MS = 16_000;
/** By when every sender's request has reached the server, after the first one has. */
const ARRIVAL_MS = 1_000;
const TEST_TIMEOUT_MS = 60_000;

/** A server process on a database of its own. */
async function startServer(cleanup: Cleanup) {
  const database = await ownDatabase(cleanup);
  const server = await spawnServer(testServerEnv(database.url));
  cleanup.onTestFinished(() => endAnyhow(server));
  return { server, databaseUrl: database.url };
}

async function endAnyhow(server: ServerProcess): Promise<void> {
  await server.stop("SIGKILL");
}

/** Asks a server to end. @returns its exit code, and how long it took. */
async function end(server: ServerProcess, signal: NodeJS.Signals = "SIGTERM") {
  const startedMs = performance.now();
  const exitCode = await server.stop(signal);
  return { exitCode, afterMs: performance.now() - startedMs };
}

/** Resolves when an insert waits for the lock, and what came after it queues behind. */
async function untilHeld(databaseUrl: string): Promise<void> {
  const sql = postgres(databaseUrl, { max: 1 });
  const isHeld = async () => {
    const [row] = await sql<{ waiting: number }[]>`
      SELECT count(*)::integer AS waiting FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock'
    `;
    return (row?.waiting ?? 0) > 0;
  };
  await eventually("an insert is held", isHeld).finally(() => sql.end());
  // Those that queue in the server cannot be seen from here.
  await sleep(ARRIVAL_MS);
}

/** A server whose every sender waits for the acknowledgement of one signal. */
async function startHeld(cleanup: Cleanup) {
  const { server, databaseUrl } = await startServer(cleanup);
  const senders = ownSenders(server.url, cleanup);
  const release = await holdInserts(databaseUrl, cleanup);
  const { sent, outcomes } = sendOneEach(senders);
  await untilHeld(databaseUrl);
  return { server, databaseUrl, senders, release, sent, outcomes };
}

const OPTIONS = { concurrent: true, timeout: TEST_TIMEOUT_MS };

describe("a server that is told to end", OPTIONS, () => {
  test("acknowledges all that it stores, under load, and exits with 0", async ({
    onTestFinished,
    expect,
  }) => {
    const { server, databaseUrl } = await startServer({ onTestFinished });
    const senders = ownSenders(server.url, { onTestFinished });
    const stream = streamSignals(senders, { lanesPerSender: 4 });
    await stream.begun(150);

    const { exitCode, afterMs } = await end(server);
    await stream.stop();
    expect(exitCode).toBe(0);
    expect(afterMs).toBeLessThan(PROMPT_MS);
    expect(stream.refusals).toEqual([]);

    const rows = await readRows(databaseUrl);
    const acknowledged = stream.sent.filter(({ acknowledgedId }) => acknowledgedId !== undefined);
    expect(brokenPromises(acknowledged, rows)).toEqual([]);
    expect(sortedRowKeys(rows)).toEqual(sortedKeys(acknowledged));
  });

  test("finishes the requests under way, and takes no new connection meanwhile", async ({
    onTestFinished,
    expect,
  }) => {
    const { server, databaseUrl, senders, release, sent, outcomes } = await startHeld({
      onTestFinished,
    });

    const ended = end(server);
    await sleep(300);
    const late = ownSenders(server.url, { onTestFinished });
    const refused = await sendOneEach(late).outcomes;
    expect(refused.map(({ kind }) => kind)).toEqual(late.map(() => "unanswered"));
    await release();
    expect((await outcomes).map(({ kind }) => kind)).toEqual(senders.map(() => "acknowledged"));
    expect(await ended).toMatchObject({ exitCode: 0 });
    expect(brokenPromises(sent, await readRows(databaseUrl))).toEqual([]);
  });

  test("ends within its grace period although its database stalls", async ({
    onTestFinished,
    expect,
  }) => {
    const { server, senders, outcomes } = await startHeld({ onTestFinished });

    const { exitCode, afterMs } = await end(server);
    expect(exitCode).toBe(0);
    expect(afterMs).toBeLessThan(GRACE_MS);
    expect(await outcomes).toEqual(
      senders.map(() => ({ kind: "refused", reason: "STORE_UNAVAILABLE" })),
    );
  });

  test("ends at once when it is told a second time", async ({ onTestFinished, expect }) => {
    const { server, senders, outcomes } = await startHeld({ onTestFinished });

    server.child.kill("SIGTERM");
    await sleep(300);
    expect(server.child.exitCode).toBeNull();
    const { exitCode, afterMs } = await end(server);
    expect(exitCode).toBe(1);
    expect(afterMs).toBeLessThan(1_000);
    expect((await outcomes).map(({ kind }) => kind)).toEqual(senders.map(() => "unanswered"));
  });

  for (const [what, open] of Object.entries({
    "a connection that has not said anything yet": openSilently,
    "an idle HTTP/1.1 connection": keepAlive,
    "an idle HTTP/2 connection": openSession,
    "an open Watch of its health": watchHealth,
  })) {
    test(`is not held up by ${what}`, async ({ onTestFinished, expect }) => {
      const { server } = await startServer({ onTestFinished });
      await open(server, { onTestFinished });
      const { exitCode, afterMs } = await end(server);
      expect(exitCode).toBe(0);
      expect(afterMs).toBeLessThan(PROMPT_MS);
    });
  }

  test("stops its embedded PostgreSQL, which keeps what was acknowledged", async ({
    onTestFinished,
    expect,
  }) => {
    await expectCleanEnd(async (server) => end(server), { onTestFinished, expect });
  });

  test("by Ctrl-C, which goes to the whole process group, stops as cleanly", async ({
    onTestFinished,
    expect,
  }) => {
    await expectCleanEnd(
      async ({ child }) => {
        const startedMs = performance.now();
        const exit = once(child, "exit");
        process.kill(-(child.pid as number), "SIGINT");
        const [exitCode] = await exit;
        return { exitCode, afterMs: performance.now() - startedMs };
      },
      { onTestFinished, expect },
    );
  });
});

/** Ends a server on an embedded database under load, and looks at what is left. */
async function expectCleanEnd(
  endIt: (server: ServerProcess) => ReturnType<typeof end>,
  { onTestFinished, expect }: Pick<TestContext, "onTestFinished" | "expect">,
): Promise<void> {
  const dataDir = await ownDataDir({ onTestFinished });
  const env = testServerEnv("", { DATABASE_URL: undefined, DATA_DIR: dataDir });
  const server = await spawnServer(env, { hasOwnGroup: true });
  onTestFinished(() => endAnyhow(server));
  const postmaster = await postmasterOf(dataDir);
  const senders = ownSenders(server.url, { onTestFinished });
  const stream = streamSignals(senders, { lanesPerSender: 2 });
  await stream.begun(50);

  const { exitCode, afterMs } = await endIt(server);
  await stream.stop();
  expect(exitCode).toBe(0);
  expect(afterMs).toBeLessThan(GRACE_MS);
  expect(await isAlive(postmaster)).toBe(false);
  expect(await findPostmaster(dataDir)).toBeUndefined();
  expect(stream.refusals).toEqual([]);

  const again = await spawnServer(env);
  onTestFinished(() => endAnyhow(again));
  const retries = ownSenders(again.url, { onTestFinished });
  // Asked for again, what was acknowledged is known, under the same id.
  for (const [index, { key, signal, acknowledgedId }] of stream.sent.entries()) {
    const outcome = await (retries[index % retries.length] as Sender).send(key, signal);
    expect(outcome).toMatchObject(
      acknowledgedId === undefined
        ? { kind: "acknowledged", duplicate: false }
        : { kind: "acknowledged", duplicate: true, signalId: acknowledgedId },
    );
  }
  await again.stop();
}

async function openSilently({ port }: ServerProcess, { onTestFinished }: Cleanup): Promise<void> {
  const socket = net.connect(port, "127.0.0.1");
  onTestFinished(() => {
    socket.destroy();
  });
  socket.on("error", () => undefined);
  await once(socket, "connect");
  // The server has to know it too.
  await sleep(100);
}

async function keepAlive({ url }: ServerProcess, { onTestFinished }: Cleanup): Promise<void> {
  const agent = new http.Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  const request = http.get(`${url}/api/v1/health`, { agent });
  const [response] = await once(request, "response");
  await once(response.resume(), "end");
}

async function openSession({ url }: ServerProcess, { onTestFinished }: Cleanup): Promise<void> {
  const session = http2.connect(url);
  onTestFinished(() => session.destroy());
  session.on("error", () => undefined);
  const stream = session.request({ ":path": "/api/v1/health" });
  await once(stream.resume(), "end");
}

async function watchHealth({ url }: ServerProcess, { onTestFinished }: Cleanup): Promise<void> {
  const sessionManager = new Http2SessionManager(url);
  onTestFinished(() => sessionManager.abort());
  const health = createClient(Health, createGrpcTransport({ baseUrl: url, sessionManager }));
  const answers = health.watch({})[Symbol.asyncIterator]();
  const first = await answers.next();
  if (first.value?.status !== ServingStatus.SERVING) throw new Error("The server is not serving.");
  // Goes on listening, as a watcher does, until the server ends the stream.
  answers.next().catch(() => undefined);
}
