import { once } from "node:events";
import net, { type AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import postgres from "postgres";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { listenToChannel, type NotificationsOptions } from "../../src/store/index.ts";
import { eventually } from "../support/eventually.ts";
import { findFreePort } from "../support/freePort.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { startProxy } from "../support/proxy.ts";
import { recordLog } from "../support/recordLog.ts";

const CHANNEL = "countersign_test";
/** So that a connection that went away without a word is only found by trying it. */
const NEVER_MS = 3_600_000;

let database: TestDatabase;
let sql: postgres.Sql;

beforeAll(async () => {
  database = await createTestDatabase("empty");
  sql = postgres(database.url, { max: 1, fetch_types: false });
});

afterAll(async () => {
  await sql.end();
  await database.drop();
});

/** Listens until the test ends, counts the wake-ups and keeps the log. */
function listen(url: string, options: Partial<NotificationsOptions> = {}) {
  const { stream, lines } = recordLog();
  const heard = { wakes: 0 };
  const notifications = listenToChannel({
    url,
    channel: CHANNEL,
    onWake: () => {
      heard.wakes += 1;
    },
    log: pino({ level: "debug" }, stream),
    ...options,
  });
  onTestFinished(() => notifications.close());
  return {
    notifications,
    heard,
    /** What was logged for people to read. */
    told: () => lines.filter(({ level }) => Number(level) >= 30).map(({ msg }) => msg),
    lines,
  };
}

const wakes = (heard: { readonly wakes: number }, times: number) =>
  eventually(`${times} wake-ups`, () => heard.wakes >= times);

const LOST = "database notifications are lost, others look without them";
const BACK = "database notifications are back";

test("wakes at the start, and for each notification of its channel and no other", async () => {
  const { heard, told } = listen(database.url, { checkIntervalMs: NEVER_MS });
  await wakes(heard, 1);
  await sql.notify("countersign_other", "");
  await sql.notify(CHANNEL, "");
  await wakes(heard, 2);
  await sql.notify(CHANNEL, "of any content");
  await wakes(heard, 3);
  expect(heard.wakes).toBe(3);
  expect(told()).toEqual([]);
});

test("the wake-up comes with the commit, and not with the next question", async () => {
  const { heard } = listen(database.url, { checkIntervalMs: NEVER_MS });
  await wakes(heard, 1);
  for (let turn = 0; turn < 20; turn += 1) {
    await sql.notify(CHANNEL, "");
    const before = performance.now();
    await wakes(heard, turn + 2);
    // Generous: the polling that this spares takes hundreds of milliseconds.
    expect(performance.now() - before).toBeLessThan(2_000);
  }
});

test("listens again when its session was ended, wakes then, and tells both once", async () => {
  const { heard, told } = listen(database.url, { checkIntervalMs: NEVER_MS });
  await wakes(heard, 1);
  for (let turn = 1; turn <= 2; turn += 1) {
    const ended = await sql`
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE application_name = 'countersign notifications' AND datname = current_database()
    `;
    expect(ended).toHaveLength(1);
    await wakes(heard, 2 * turn);
    await sql.notify(CHANNEL, "");
    await wakes(heard, 2 * turn + 1);
  }
  expect(told()).toEqual([LOST, BACK, LOST, BACK]);
});

test("finds out that the other end has gone without a word", async () => {
  const proxy = await startProxy(database.url);
  onTestFinished(() => proxy.close());
  const { heard, told } = listen(proxy.url, { checkIntervalMs: 200, checkTimeoutMs: 300 });
  await wakes(heard, 1);
  // Answers to the question wake nobody.
  await sleep(700);
  expect(heard.wakes).toBe(1);
  proxy.abandon();
  await wakes(heard, 2);
  await sql.notify(CHANNEL, "");
  await wakes(heard, 3);
  expect(told()).toEqual([LOST, BACK]);
});

test("through a stall it goes on trying, tells so once, and comes back", async () => {
  const proxy = await startProxy(database.url);
  onTestFinished(() => proxy.close());
  const url = `${proxy.url}?connect_timeout=1`;
  const { heard, told } = listen(url, { checkIntervalMs: 100, checkTimeoutMs: 200 });
  await wakes(heard, 1);
  proxy.stall();
  await eventually("the loss is told", () => told().length > 0);
  await sleep(3_000);
  expect(told()).toEqual([LOST]);
  expect(proxy.openConnections).toBeLessThan(10);
  await proxy.heal();
  await wakes(heard, 2);
  expect(told()).toEqual([LOST, BACK]);
});

test("a database that is away is tried again ever more rarely", async () => {
  let attempts = 0;
  const server = net.createServer((socket) => {
    attempts += 1;
    socket.on("error", () => undefined);
    socket.resetAndDestroy();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const { told, heard } = listen(`postgres://user@127.0.0.1:${port}/none`);
  await sleep(4_000);
  // Pauses of 100 to 200 ms that double: 5 to 6 of them fit.
  expect(attempts).toBeGreaterThanOrEqual(3);
  expect(attempts).toBeLessThanOrEqual(8);
  expect(told()).toEqual([LOST]);
  expect(heard.wakes).toBe(0);
});

test("of several hosts it listens at the one that takes writes", async () => {
  const url = new URL(database.url);
  const hosts = `127.0.0.1:${await findFreePort()},${url.host}`;
  const { heard } = listen(database.url.replace(url.host, hosts), { checkIntervalMs: NEVER_MS });
  await wakes(heard, 1);
  await sql.notify(CHANNEL, "");
  await wakes(heard, 2);
});

test.each(["healthy", "stalled", "refused"] as const)(
  "closes at once with a database that is %s, and wakes nobody afterwards",
  async (state) => {
    const proxy = await startProxy(database.url);
    onTestFinished(() => proxy.close());
    const { notifications, heard } = listen(proxy.url, {
      checkIntervalMs: 50,
      checkTimeoutMs: NEVER_MS,
    });
    await wakes(heard, 1);
    if (state === "stalled") proxy.stall();
    if (state === "refused") proxy.refuse();
    // It waits for an answer, or for its next attempt.
    await sleep(200);
    const closed = notifications.close().then(() => "closed");
    expect(await Promise.race([closed, sleep(2_000)])).toBe("closed");
    await proxy.heal();
    await eventually("nothing is left open", () => proxy.openConnections === 0);
    const { wakes: before } = heard;
    await sql.notify(CHANNEL, "");
    await sleep(300);
    expect(heard.wakes).toBe(before);
    expect(proxy.openConnections).toBe(0);
  },
);

test("behind PgBouncer it opens no connection", async () => {
  const proxy = await startProxy(database.url);
  onTestFinished(() => proxy.close());
  const { lines, heard, notifications } = listen(`${proxy.url}?pgbouncer=true`);
  expect(lines.map(({ msg }) => msg)).toEqual(["there are no notifications behind PgBouncer"]);
  await sleep(300);
  expect([heard.wakes, proxy.openConnections]).toEqual([0, 0]);
  await notifications.close();
});
