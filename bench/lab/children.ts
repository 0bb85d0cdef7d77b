/**
 * Processes that the benchmark starts. Each is in a session of its own, so that Ctrl-C in
 * the terminal reaches only the benchmark, which then ends them in order.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { open } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;

/** Runs a script of ours to its end. @returns the JSON that it printed. */
export async function runScript<Result>(
  script: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<Result> {
  const child = spawn(process.execPath, [script, ...args], {
    cwd: ROOT,
    detached: true,
    signal,
    killSignal: "SIGKILL",
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => errors.push(chunk));
  const [code] = await once(child, "close");
  signal.throwIfAborted();
  if (code !== 0) throw new Error(`${script} failed: ${Buffer.concat(errors)}`);
  return JSON.parse(Buffer.concat(output).toString("utf8"));
}

/** A server in a process of its own. */
export interface ServerProcess extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  /** From the start of the process until it said that it takes signals. */
  readonly readyAfterMs: number;
}

/** How to start a server. */
export interface ServerCommand {
  /** Flags of Node.js itself. */
  readonly nodeFlags?: readonly string[];
  readonly script: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Where its standard output goes, which is its log. */
  readonly logFile: string;
}

/**
 * Starts a server and waits until it says on standard error that it "takes signals at" a
 * URL. Disposing of it ends it politely, since it may have a database of its own to stop.
 */
export async function startServerProcess(command: ServerCommand): Promise<ServerProcess> {
  const log = await open(command.logFile, "a");
  const startMs = performance.now();
  const child = spawn(
    process.execPath,
    [...(command.nodeFlags ?? []), command.script, ...command.args],
    {
      cwd: ROOT,
      detached: true,
      env: { PATH: process.env.PATH, ...command.env },
      stdio: ["ignore", log.fd, "pipe"],
    },
  );
  await log.close();
  try {
    const url = await readUrl(child);
    return {
      url,
      pid: child.pid as number,
      readyAfterMs: performance.now() - startMs,
      [Symbol.asyncDispose]: () => stop(child),
    };
  } catch (error) {
    await stop(child);
    throw error;
  }
}

function readUrl(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    const fail = (why: string) => reject(new Error(`The server ${why}: ${said}`));
    const timer = setTimeout(() => fail("did not start in time"), START_TIMEOUT_MS);
    child.once("error", (error) => fail(error.message));
    child.once("close", () => {
      clearTimeout(timer);
      fail("ended");
    });
    child.stderr?.on("data", (chunk: Buffer) => {
      said += chunk.toString("utf8");
      const url = /takes signals at (http\S+)/.exec(said)?.[1];
      if (url === undefined) return;
      clearTimeout(timer);
      resolve(url);
    });
  });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const end = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await end;
  clearTimeout(timer);
}
