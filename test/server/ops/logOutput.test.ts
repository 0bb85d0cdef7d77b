/**
 * The log on standard outputs of every kind: whatever happens to it, signals are taken and
 * the server ends in time; and where it is sound, no line is missing, mixed or out of order.
 */
import { spawn } from "node:child_process";
import { constants, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { createLog } from "../../../src/server/ops/log.ts";
import { LogDestination } from "../../../src/server/ops/logDestination.ts";
import { createServerMetrics } from "../../../src/server/ops/metrics.ts";
import type { Output } from "../../../src/server/ops/standardOutput.ts";
import { hasTool, skipVisibly } from "../../interop/support/command.ts";
import { eventually } from "../../support/eventually.ts";
import { fileDatabase } from "../../support/serveFile.ts";
import { testServerEnv } from "../../support/server.ts";
import { temporaryDirectory } from "../../support/temporaryDirectory.ts";
import {
  closedPipe,
  fill,
  makePipe,
  readPipe,
  type ServerOutput,
  serveOn,
} from "../support/outputs.ts";
import { scrape } from "../support/scrape.ts";
import { bodies, send } from "../support/wire.ts";

/** Far more than the 2 s that a process gives its log, and far less than for ever. */
const END_MS = 20_000;
/** How long a busy machine may take for what takes it a second otherwise. */
const PATIENCE_MS = 30_000;
const TEST_TIMEOUT_MS = 90_000;
/** Requests that are answered before a server is told to end, while more come. */
const LOAD_REQUESTS = 150;
const STUCK_LOG = fileURLToPath(new URL("../support/stuckLog.ts", import.meta.url));

vi.setConfig({ testTimeout: TEST_TIMEOUT_MS });

const database = fileDatabase();

let signalCount = 0;
/** Signals that are being sent, until there are enough or the server takes no more. */
interface Sending {
  /** Of the requests that were answered. */
  readonly ids: ReadonlySet<string>;
  readonly done: Promise<unknown>;
}

async function sendSignals(url: string, count: number, atATime = 16): Promise<ReadonlySet<string>> {
  const { ids, done } = startSending(url, count, atATime);
  await done;
  return ids;
}

function startSending(url: string, count: number, atATime: number): Sending {
  const ids = new Set<string>();
  async function lane(): Promise<void> {
    while (ids.size < count) {
      signalCount += 1;
      const id = `log-${signalCount}`;
      const body = bodies({}, { idempotency_key: id, comment: id });
      const headers = { "x-request-id": id };
      const answer = await send(url, "REST", body, { headers }).catch(() => undefined);
      if (answer === undefined) return;
      expect(answer.httpStatus).toBe(201);
      ids.add(id);
    }
  }
  return { ids, done: Promise.all(Array.from({ length: atATime }, lane)) };
}

type Line = Readonly<Record<string, unknown>>;

/** Each line as JSON, which one that is cut or mixed with another is not. */
function parsed(text: string): Line[] {
  expect(text.endsWith("\n")).toBe(true);
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

function requestIds(lines: readonly Line[]): Set<unknown> {
  return new Set(lines.filter(({ msg }) => msg === "request").map((line) => line.request_id));
}

const TERMINAL = "a terminal that nobody reads";
/** What each is, how a server gets it, and how many signals write more than it takes. */
const BROKEN: readonly (readonly [string, () => Promise<ServerOutput>, number])[] = [
  ["a full disk", async () => openSync("/dev/full", "w"), 100],
  ["a pipe that nobody reads", fullPipe, 100],
  ["a socket that nobody reads", async () => "pipe", 300],
  [TERMINAL, async () => "terminal", 100],
  ["a pipe whose reader has gone", closedPipe, 100],
];
skipVisibly(["python3"], "a terminal as standard output was not tried");

describe.each([1, 2])("with WORKERS=%d", (workers) => {
  const env = () => testServerEnv(database.url, { WORKERS: `${workers}` });

  test.each(BROKEN.filter(([kind]) => kind !== TERMINAL || hasTool("python3")))(
    "signals are taken and the end comes in time on %s",
    async (_, open, signals) => {
      const server = await serveOn(await open(), env());
      for (let index = 0; index < 50; index += 1) await fetch(`${server.url}/nothing`);
      expect((await sendSignals(server.url, signals)).size).toBeGreaterThanOrEqual(signals);
      expect((await fetch(`${server.opsUrl}/api/v1/ready`)).status).toBe(200);
      server.stop();
      expect(await within(END_MS, server.ended)).toBe(0);
    },
  );

  test.each(["a file", "a pipe", "a socket"])(
    "every request has its line, also when the server ends under load, on %s",
    async (kind) => {
      const { stdout, text } = await readable(kind);
      const server = await serveOn(stdout, env());
      const read = text(server.stdout);
      const sending = startSending(server.url, Number.POSITIVE_INFINITY, 16);
      await eventually("load", () => sending.ids.size >= LOAD_REQUESTS, PATIENCE_MS);
      server.stop();
      expect(await within(END_MS, server.ended)).toBe(0);
      await sending.done;
      const { ids } = sending;
      await eventually("the last line", () => /"closed"\}\n$/.test(read()));
      expect([...ids].filter((id) => !requestIds(parsed(read())).has(id))).toEqual([]);
    },
  );
});

test("lines of several processes are not mixed when a pipe is full and read late", async () => {
  const pipe = await makePipe();
  const server = await serveOn(pipe.writeFd, testServerEnv(database.url, { WORKERS: "3" }));
  // About three times as much as a pipe takes.
  const ids = await sendSignals(server.url, 500, 32);
  const read = readPipe(pipe);
  await eventually("all lines", () => ids.size <= (read().match(/"msg":"request"/g)?.length ?? 0));
  const lines = parsed(read());
  expect(requestIds(lines)).toEqual(ids);
  expect(new Set(lines.map(({ pid }) => pid)).size).toBeGreaterThan(2);
});

test("requests without a proof have 100 lines a second, and the rest is counted", async () => {
  const path = join(await temporaryDirectory(), "log");
  const server = await serveOn(openSync(path, "w"), testServerEnv(database.url));
  const startMs = performance.now();
  for (let index = 0; index < 40; index += 1) {
    await Promise.all(Array.from({ length: 25 }, () => fetch(`${server.url}/nothing`)));
  }
  const ids = await sendSignals(server.url, 20);
  const secondsMax = Math.ceil((performance.now() - startMs) / 1_000) + 1;
  const name = "countersign_log_lines_dropped_total";
  const leftOut = (await scrape(server.opsUrl)).sum(name, { reason: "unproven" });
  server.stop();
  expect(await within(END_MS, server.ended)).toBe(0);

  const lines = parsed(readFileSync(path, "utf8"));
  const unproven = lines.filter((line) => line.path === "/nothing");
  expect(unproven.length).toBeLessThanOrEqual(100 * secondsMax);
  expect(unproven.length).toBe(1_000 - leftOut);
  const summaries = lines.filter((line) => "left_out" in line);
  expect(summaries.length).toBeLessThanOrEqual(secondsMax);
  expect(summaries.reduce((sum, line) => sum + Number(line.left_out), 0)).toBe(leftOut);
  expect([...ids].filter((id) => !requestIds(lines).has(id))).toEqual([]);
});

test("a process whose log is stuck in another thread ends nevertheless", async () => {
  const pipe = await makePipe();
  fill(pipe);
  const child = spawn(process.execPath, [STUCK_LOG], {
    stdio: ["ignore", pipe.writeFd, "inherit"],
  });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  const exit = new Promise((resolve) => child.once("exit", (_, signal) => resolve(signal)));
  expect(await within(END_MS, exit)).toBe("SIGKILL");
});

describe("a destination that is full", () => {
  const LINES = 500;
  const MAX_BYTES = 2_000;

  test("drops and counts what is beyond its bound, and one line tells how many are lost", async () => {
    const pipe = await makePipe();
    const destination = openDestination({
      fd: openSync(pipe.path, constants.O_WRONLY | constants.O_NONBLOCK),
      isBlocking: false,
      chunkMaxBytes: 4_096,
    });
    const filled = fill(pipe);
    for (let line = 1; line <= LINES; line += 1) destination.write(`line ${line}\n`);
    const kept = LINES - destination.droppedLines;
    expect(kept).toBeGreaterThan(100);
    expect(kept * "line 1\n".length).toBeLessThanOrEqual(MAX_BYTES);

    const read = readPipe(pipe);
    await eventually("the line about it", () => read().includes("lost"));
    destination.write("later\n");
    await destination.end(1_000);
    await eventually("the last line", () => read().includes("later"));
    const lines = read().slice(filled).split("\n");
    const numbers = Array.from({ length: kept }, (_, index) => `line ${index + 1}`);
    expect(lines).toEqual([...numbers, `lost ${LINES - kept}`, "later", ""]);
    expect(destination.droppedLines).toBe(LINES - kept);
  });

  function openDestination(output: Output): LogDestination {
    const destination: LogDestination = new LogDestination({
      output,
      monotonicMs: () => performance.now(),
      maxBytes: MAX_BYTES,
      onRecovered: (lost) => destination.write(`lost ${lost}\n`),
    });
    return destination;
  }
});

test("the metric counts both kinds of lines that are missing", async () => {
  const metrics = createServerMetrics(() => 0);
  const dropped = { destination: 1, unproven: 2 };
  metrics.watchLog(dropped);
  dropped.destination = 3;
  for (let scrapes = 0; scrapes < 2; scrapes += 1) {
    const snapshot = await metrics.snapshot();
    const found = snapshot.find(({ name }) => name === "countersign_log_lines_dropped_total");
    expect(found).toMatchObject({
      values: [
        { labels: { reason: "destination" }, value: 3 },
        { labels: { reason: "unproven" }, value: 2 },
      ],
    });
  }
});

test("no error makes a line that is longer than what a pipe takes at once", () => {
  const lines: string[] = [];
  const log = createLog({ logLevel: "info", hostname: "h" }, { write: (line) => lines.push(line) });
  let error: unknown;
  for (let depth = 0; depth < 20; depth += 1) {
    const message = "\u0001\u{1f600}\u009b".repeat(10_000);
    error = Object.assign(new Error(message, { cause: error }), { code: message, name: message });
  }
  log.error({ err: error }, "x");
  expect(Buffer.byteLength(lines[0] as string)).toBeLessThanOrEqual(4_096);
  expect(JSON.parse(lines[0] as string).err.cause.message).toMatch(/…$/);
});

async function fullPipe(): Promise<number> {
  const pipe = await makePipe();
  fill(pipe);
  return pipe.writeFd;
}

/** A standard output for a server, and how to read what it got. */
async function readable(kind: string): Promise<{
  readonly stdout: number | "pipe";
  readonly text: (socket: NodeJS.ReadableStream | null) => () => string;
}> {
  switch (kind) {
    case "a file": {
      const path = join(await temporaryDirectory(), "log");
      return { stdout: openSync(path, "w"), text: () => () => readFileSync(path, "utf8") };
    }
    case "a pipe": {
      const pipe = await makePipe();
      const read = readPipe(pipe);
      return { stdout: pipe.writeFd, text: () => read };
    }
    default:
      return { stdout: "pipe", text: readSocket };
  }
}

function readSocket(socket: NodeJS.ReadableStream | null): () => string {
  let text = "";
  socket?.setEncoding("utf8");
  socket?.on("data", (chunk: string) => {
    text += chunk;
  });
  return () => text;
}

function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`It took longer than ${ms} ms`)), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
