/**
 * A terminal that is closed: it ends a server that was started at it, and no server that was
 * told to outlive it. With a real terminal, which `script` makes.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { testServerEnv } from "../support/server.ts";
import { MAIN } from "./support/run.ts";

const SCRIPT = "/usr/bin/script";
const NOHUP = "/usr/bin/nohup";

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

/** A line of a server's log. */
interface LogLine {
  readonly msg: string;
  readonly pid: number;
  readonly url?: string;
}

/** A server that was started at a terminal. */
interface ServerAtTerminal {
  readonly url: string;
  readonly pid: number;
  log(): Promise<LogLine[]>;
  closeTerminal(): Promise<void>;
}

async function startAtTerminal(prefix: readonly string[]): Promise<ServerAtTerminal> {
  const folder = await mkdtemp(join(tmpdir(), "countersign-terminal-"));
  const logFile = join(folder, "log");
  const command = [...prefix, process.execPath, MAIN, "serve"].map((word) => `'${word}'`);
  const terminal: ChildProcess = spawn(
    SCRIPT,
    ["--quiet", "--command", `${command.join(" ")} > ${logFile}`, "/dev/null"],
    { env: { PATH: process.env.PATH, ...testServerEnv(database.url) }, stdio: "ignore" },
  );
  async function log(): Promise<LogLine[]> {
    const text = await readFile(logFile, "utf8").catch(() => "");
    // nohup has the words for a person in the same place.
    return text.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line)] : []));
  }
  const ready = await vi.waitUntil(
    async () => (await log()).find((line) => line.url !== undefined),
    { timeout: 30_000, interval: 50 },
  );
  onTestFinished(async () => {
    terminal.kill("SIGKILL");
    if (isAlive(ready.pid)) process.kill(ready.pid, "SIGKILL");
    await rm(folder, { recursive: true, force: true });
  });
  return {
    url: ready.url as string,
    pid: ready.pid,
    log,
    async closeTerminal() {
      const exit = once(terminal, "exit");
      terminal.kill("SIGKILL");
      await exit;
    },
  };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe.runIf(existsSync(SCRIPT) && existsSync(NOHUP))("when its terminal is closed", () => {
  test("a server ends well", async () => {
    const server = await startAtTerminal([]);
    await server.closeTerminal();
    await vi.waitUntil(() => !isAlive(server.pid), { timeout: 20_000, interval: 50 });
    expect((await server.log()).at(-1)?.msg).toBe("closed");
  });

  test("a server that nohup started goes on", async () => {
    const server = await startAtTerminal([NOHUP]);
    await server.closeTerminal();
    // Long enough for the signal to have come.
    await sleep(500);
    expect((await fetch(`${server.url}/api/v1/health`)).status).toBe(200);
    process.kill(server.pid, "SIGTERM");
    await vi.waitUntil(() => !isAlive(server.pid), { timeout: 20_000, interval: 50 });
    expect((await server.log()).at(-1)?.msg).toBe("closed");
  });
});
