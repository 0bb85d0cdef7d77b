/**
 * Promise 6, nothing hangs: while the database stalls or is away, every request is answered
 * in time and the server says that it is not ready; when the database is back, service
 * resumes by itself, and what was in doubt can be sent again and ends on disk once.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, type expect, test } from "vitest";
import { startEmbeddedPostgres } from "../../src/store/index.ts";
import { eventually } from "../support/eventually.ts";
import { runOnServer, silentLog } from "../support/postgres.ts";
import type { FaultyProxy } from "../support/proxy.ts";
import { spawnServer, type TestServer, testServerEnv } from "../support/server.ts";
import { restFields } from "../support/signals.ts";
import { postmasterOf, processTree, signalIfThere, waitUntilGone } from "./support/embedded.ts";
import {
  brokenPromises,
  nextSent,
  readRows,
  type Sent,
  sortedKeys,
  sortedRowKeys,
  unacknowledged,
} from "./support/ledger.ts";
import {
  type Cleanup,
  ownDatabase,
  ownDataDir,
  ownProxy,
  ownSenders,
  ownServer,
} from "./support/parts.ts";
import { getJson, postSigned, type Sender, untilReady } from "./support/senders.ts";
import { attempt, deliver, streamSignals } from "./support/stream.ts";

/** The server waits 5 s for its store; the rest is for a machine that is busy. */
const ANSWER_WITHIN_MS = 8_000;
/** A caller's own deadline, well below the server's. */
const CALLER_TIMEOUT_MS = 700;
/** How soon the server must notice a fault by itself, and that it is over. */
const NOTICE_WITHIN_MS = 6_000;
const TEST_TIMEOUT_MS = 60_000;

/** A database that can be made to fail. */
interface FragileDatabase {
  readonly serverUrl: string;
  /** Where tests look, past the fault. */
  readonly directUrl: string;
  strike(): Promise<void>;
  heal(): Promise<void>;
}

/** A database of its own, and a proxy before it. */
async function proxiedDatabase(cleanup: Cleanup) {
  const database = await ownDatabase(cleanup);
  return { database, proxy: await ownProxy(database.url, cleanup) };
}

/** A database behind a proxy that fails as it is told. */
function behindProxy(strike: (proxy: FaultyProxy) => void) {
  return async (cleanup: Cleanup): Promise<FragileDatabase> => {
    const { database, proxy } = await proxiedDatabase(cleanup);
    return {
      serverUrl: proxy.url,
      directUrl: database.url,
      strike: async () => strike(proxy),
      heal: () => proxy.heal(),
    };
  };
}

/** A PostgreSQL of its own. */
async function ownPostgres(cleanup: Cleanup) {
  const dataDir = await ownDataDir(cleanup);
  const { url } = await startAgain(dataDir, cleanup);
  return { dataDir, url };
}

/** Starts, or finds, the PostgreSQL of a DATA_DIR. */
async function startAgain(dataDir: string, { onTestFinished }: Cleanup) {
  const embedded = await startEmbeddedPostgres({ dataDir, log: silentLog });
  onTestFinished(() => embedded.close());
  return embedded;
}

/** A PostgreSQL whose processes are all stopped in the middle of whatever they do. */
async function stoppedProcesses(cleanup: Cleanup): Promise<FragileDatabase> {
  const { dataDir, url } = await ownPostgres(cleanup);
  let stopped: readonly number[] = [];
  const heal = async () => {
    for (const pid of stopped) signalIfThere(pid, "SIGCONT");
    stopped = [];
  };
  // A test that fails leaves it stopped, and then it could not be closed.
  cleanup.onTestFinished(heal);
  return {
    serverUrl: url,
    directUrl: url,
    async strike() {
      stopped = await processTree(await postmasterOf(dataDir));
      for (const pid of stopped) signalIfThere(pid, "SIGSTOP");
    },
    heal,
  };
}

/** What a caller is told whose own deadline came first. */
const OUT_OF_TIME = { status: 504, reason: "DEADLINE_EXCEEDED" };

const STALLS = [
  {
    fault: "whose processes are all stopped",
    open: stoppedProcesses,
    refused: [OUT_OF_TIME],
  },
  {
    fault: "that no byte reaches",
    open: behindProxy((proxy) => proxy.stall()),
    refused: [OUT_OF_TIME],
  },
  {
    fault: "whose answers are lost",
    open: behindProxy((proxy) => proxy.loseAnswers()),
    refused: [OUT_OF_TIME],
  },
  {
    fault: "that refuses connections",
    open: behindProxy((proxy) => proxy.refuse()),
    // Nothing has to be waited for, unless another batch is just finding that out.
    refused: [{ status: 503, reason: "STORE_UNAVAILABLE" }, OUT_OF_TIME],
  },
] as const;

describe("a database", { concurrent: true, timeout: TEST_TIMEOUT_MS }, () => {
  for (const { fault, open, refused } of STALLS) {
    test(`${fault} costs no request its answer, and no signal`, async ({
      onTestFinished,
      expect,
    }) => {
      const database = await open({ onTestFinished });
      const server = await ownServer(database.serverUrl, {}, { onTestFinished });
      const senders = ownSenders(server.url, { onTestFinished });
      const before = senders.map(() => nextSent());
      await deliver(before, senders);
      await untilReady(server, true, 2 * NOTICE_WITHIN_MS);

      await database.strike();
      const inDoubt = senders.map(() => nextSent());
      const [answers, readyMs, ...impatient] = await Promise.all([
        sendEach(inDoubt, senders),
        untilReady(server, false, 2 * NOTICE_WITHIN_MS),
        // Several, and at different moments: a deadline must not be missed by a hair either.
        ...Array.from({ length: 8 }, async (_, index) => {
          await sleep(index * 10);
          return sendWithDeadline(server, nextSent());
        }),
      ]);

      for (const { outcome, afterMs } of answers) {
        expect(outcome).toEqual({ kind: "refused", reason: "STORE_UNAVAILABLE" });
        expect(afterMs).toBeLessThan(ANSWER_WITHIN_MS);
      }
      expect(readyMs).toBeLessThan(NOTICE_WITHIN_MS);
      expect(await healthStatus(server)).toBe("NOT_SERVING");
      // The process itself is well, and must not be restarted for its database's sake.
      expect((await getJson(`${server.url}/api/v1/health`)).status).toBe(200);
      for (const { status, reason, afterMs } of impatient) {
        expect(refused).toContainEqual({ status, reason });
        expect(afterMs).toBeLessThan(CALLER_TIMEOUT_MS + 2_000);
      }

      await database.heal();
      expect(await untilReady(server, true, 2 * NOTICE_WITHIN_MS)).toBeLessThan(NOTICE_WITHIN_MS);
      expect(await healthStatus(server)).toBe("SERVING");
      const after = senders.map(() => nextSent());
      const late = await sendEach(after, senders);
      expect(late.map(({ outcome }) => outcome.kind)).toEqual(senders.map(() => "acknowledged"));

      inDoubt.push(...impatient.map(({ sent }) => sent));
      await deliver(inDoubt, senders);
      await expectStoredOnce([...before, ...inDoubt, ...after], database.directUrl, expect);
    });
  }

  test("that forgot its connections is reached by new ones, without anybody's help", async ({
    onTestFinished,
    expect,
  }) => {
    const { database, proxy } = await proxiedDatabase({ onTestFinished });
    // With one connection, every statement is on the one that is dead.
    const server = await ownServer(proxy.url, { DATABASE_POOL_SIZE: "1" }, { onTestFinished });
    const senders = ownSenders(server.url, { onTestFinished });

    const sent = senders.map(() => nextSent());
    await deliver(sent, senders);
    proxy.abandon();
    const inDoubt = senders.map(() => nextSent());
    const answers = await sendEach(inDoubt, senders);
    // Those that came first were on the dead connection; later ones may find the new one.
    expect(answers.map(({ outcome }) => outcome)).toContainEqual({
      kind: "refused",
      reason: "STORE_UNAVAILABLE",
    });
    for (const { outcome, afterMs } of answers) {
      expect(outcome.kind).not.toBe("unanswered");
      expect(afterMs).toBeLessThan(ANSWER_WITHIN_MS);
    }
    const retried = await sendEach(inDoubt, senders);
    expect(retried.map(({ outcome }) => outcome.kind)).toEqual(senders.map(() => "acknowledged"));
    await expectStoredOnce([...sent, ...inDoubt], database.url, expect);
  });

  test("that breaks connections at any moment of their opening does not end the server", async ({
    onTestFinished,
    expect,
  }) => {
    const { database, proxy } = await proxiedDatabase({ onTestFinished });
    const server = await spawnServer(testServerEnv(proxy.url));
    onTestFinished(async () => {
      await server.stop();
    });
    const senders = ownSenders(server.url, { onTestFinished });

    // An opening and a first statement take the client fewer messages than this.
    const sent = Array.from({ length: 10 }, () => nextSent());
    for (const [messages, item] of sent.entries()) {
      proxy.breakAfter(messages);
      const [answer] = await sendEach([item], senders);
      expect(answer?.outcome.kind, `after ${messages} messages`).not.toBe("unanswered");
      await proxy.heal();
    }
    expect(server.child.exitCode).toBeNull();
    await deliver(unacknowledged(sent), senders);
    await expectStoredOnce(sent, database.url, expect);
  });

  test("that ends its sessions, crashes, or is restarted under load loses no signal", async ({
    onTestFinished,
    expect,
  }) => {
    const { dataDir, url } = await ownPostgres({ onTestFinished });
    const proxy = await ownProxy(url, { onTestFinished });
    const server = await ownServer(proxy.url, {}, { onTestFinished });
    const senders = ownSenders(server.url, { onTestFinished });
    // Rests between sends, since those that are refused are answered at once.
    const stream = streamSignals(senders, { lanesPerSender: 2, pauseMs: 5 });
    onTestFinished(() => stream.stop());

    const disasters = [
      async () =>
        runOnServer(
          url,
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'countersign'",
        ),
      async () => proxy.reset(),
      async () => {
        // PostgreSQL then ends all other sessions too, and recovers.
        const [, ...children] = await processTree(await postmasterOf(dataDir));
        signalIfThere(children.at(-1) as number, "SIGKILL");
      },
      async () => {
        const postmaster = await postmasterOf(dataDir);
        // The fast shutdown of PostgreSQL (documentation, section 18.5).
        process.kill(postmaster, "SIGINT");
        await waitUntilGone(postmaster);
        proxy.retarget((await startAgain(dataDir, { onTestFinished })).url);
      },
    ];
    for (const strike of disasters) {
      await stream.begun(stream.sent.length + 50);
      await strike();
      await untilReady(server, true, 2 * NOTICE_WITHIN_MS);
      const acknowledged = countAcknowledged(stream.sent);
      await eventually(
        "twenty signals more are acknowledged",
        () => countAcknowledged(stream.sent) >= acknowledged + 20,
        NOTICE_WITHIN_MS,
      );
    }
    await stream.stop();
    expect(new Set(stream.refusals)).toEqual(new Set(["STORE_UNAVAILABLE"]));

    const { url: directUrl } = await startAgain(dataDir, { onTestFinished });
    expect(brokenPromises(stream.sent, await readRows(directUrl))).toEqual([]);
    await deliver(unacknowledged(stream.sent), senders);
    await expectStoredOnce(stream.sent, directUrl, expect);
  });

  test("that stalls when the server starts ends the start in time, with the cause", async ({
    onTestFinished,
    expect,
  }) => {
    const { proxy } = await proxiedDatabase({ onTestFinished });
    proxy.stall();
    const startedMs = performance.now();
    const start = spawnServer(testServerEnv(proxy.url));
    await expect(start).rejects.toThrow(/countersign: The database/);
    expect(performance.now() - startedMs).toBeLessThan(20_000);
  });
});

/** Sends each by its own sender, all at once, and measures how long the answers take. */
function sendEach(sent: readonly Sent[], senders: readonly Sender[]) {
  return Promise.all(
    sent.map(async (item, index) => {
      const startedMs = performance.now();
      const outcome = await attempt(item, senders[index] as Sender);
      return { outcome, afterMs: performance.now() - startedMs };
    }),
  );
}

/** Sends over Connect with a deadline in the header only: this side waits on, to see the server keep it. */
async function sendWithDeadline(server: TestServer, sent: Sent) {
  const { key, signal } = sent;
  const fields = { ...restFields(signal), side: "SIDE_BUY" };
  const body = Buffer.from(JSON.stringify({ signal: fields, idempotencyKey: key }));
  const startedMs = performance.now();
  const { status, json } = await postSigned(server.url, "/signals.v1.IngestService/Ingest", body, {
    headers: { "connect-timeout-ms": String(CALLER_TIMEOUT_MS) },
  });
  const afterMs = performance.now() - startedMs;
  return { sent, status, reason: reasonOf(json), afterMs };
}

/** The reason in the details of a Connect error. */
function reasonOf(json: Readonly<Record<string, unknown>>): unknown {
  const details = (json.details ?? []) as { type: string; debug?: { reason?: string } }[];
  return details.find(({ type }) => type === "google.rpc.ErrorInfo")?.debug?.reason;
}

async function healthStatus(server: TestServer): Promise<unknown> {
  const answer = await postSigned(server.url, "/grpc.health.v1.Health/Check", Buffer.from("{}"));
  return answer.json.status;
}

function countAcknowledged(sent: readonly Sent[]): number {
  return sent.length - unacknowledged(sent).length;
}

async function expectStoredOnce(
  sent: readonly Sent[],
  databaseUrl: string,
  expectHere: typeof expect,
): Promise<void> {
  const rows = await readRows(databaseUrl);
  expectHere(brokenPromises(sent, rows)).toEqual([]);
  expectHere(sortedRowKeys(rows)).toEqual(sortedKeys(sent));
}
