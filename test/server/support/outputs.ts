/** Standard outputs of every kind, sound and broken ones, for processes that tests start. */
import { execFileSync, spawn } from "node:child_process";
import { closeSync, constants, createReadStream, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { coverageEnv } from "../../support/processCoverage.ts";
import { temporaryDirectory } from "../../support/temporaryDirectory.ts";

const { O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } = constants;
const MAIN = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url));
const START_TIMEOUT_MS = 30_000;

/** A pipe with both its ends. */
export interface Pipe {
  readonly path: string;
  /** Its writes wait while it is full. */
  readonly writeFd: number;
}

/** Makes a pipe that stays open until the test ends, and that nobody reads. */
export async function makePipe(): Promise<Pipe> {
  const path = join(await temporaryDirectory(), "pipe");
  execFileSync("mkfifo", [path]);
  // This end waits for nobody to open the other.
  const both = openSync(path, O_RDWR | O_NONBLOCK);
  const writeFd = openSync(path, O_WRONLY);
  onTestFinished(() => {
    closeSync(both);
    closeSync(writeFd);
  });
  return { path, writeFd };
}

/** Fills a pipe. @returns how many bytes it took. */
export function fill({ path }: Pipe): number {
  const fd = openSync(path, O_WRONLY | O_NONBLOCK);
  let bytes = 0;
  try {
    for (;;) bytes += writeSync(fd, Buffer.alloc(4_096, ".".charCodeAt(0)));
  } catch {
    return bytes;
  } finally {
    closeSync(fd);
  }
}

/** The end of a pipe to write to, whose reader has gone. */
export async function closedPipe(): Promise<number> {
  const path = join(await temporaryDirectory(), "pipe");
  execFileSync("mkfifo", [path]);
  const reader = openSync(path, O_RDONLY | O_NONBLOCK);
  const writer = openSync(path, O_WRONLY);
  onTestFinished(() => closeSync(writer));
  closeSync(reader);
  return writer;
}

/** Reads a pipe from now on. @returns what it has read so far. */
export function readPipe({ path }: Pipe, highWaterMark = 64 * 1024): () => string {
  const chunks: Buffer[] = [];
  const stream = createReadStream(path, { highWaterMark });
  stream.on("data", (chunk) => chunks.push(chunk as Buffer));
  onTestFinished(() => {
    stream.destroy();
  });
  return () => Buffer.concat(chunks).toString("utf8");
}

/** A server whose standard output a test has chosen. */
export interface ServerOnOutput {
  readonly url: string;
  readonly opsUrl: string;
  readonly pid: number;
  /** Its standard output, if that is `"pipe"`. */
  readonly stdout: NodeJS.ReadableStream | null;
  /** Resolves when it has ended. @returns the exit code, `null` if a signal ended it. */
  readonly ended: Promise<number | null>;
  stop(): void;
}

/** Lets the process after it have a terminal as its standard output that nobody reads. */
const ON_TERMINAL = `
import os, pty, sys
reader, terminal = pty.openpty()
os.set_inheritable(reader, True)
os.dup2(terminal, 1)
os.execv(sys.argv[1], sys.argv[1:])
`;

/** A file descriptor, or `"pipe"`, which is a socket, or a terminal. */
export type ServerOutput = number | "pipe" | "terminal";

/** Starts `countersign serve`, and waits until it says on standard error where it is. */
export async function serveOn(
  stdout: ServerOutput,
  env: NodeJS.ProcessEnv,
): Promise<ServerOnOutput> {
  const command = [process.execPath, MAIN, "serve"];
  const [file, ...args] =
    stdout === "terminal" ? ["python3", "-c", ON_TERMINAL, ...command] : command;
  const child = spawn(file as string, args, {
    env: { PATH: process.env.PATH, ...coverageEnv(), ...env, OPS_PORT: "0" },
    stdio: ["ignore", stdout === "terminal" ? "ignore" : stdout, "pipe"],
  });
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  let text = "";
  const [url, opsUrl] = await new Promise<readonly string[]>((resolve, reject) => {
    const fail = () => reject(new Error(`The server did not start: ${text}`));
    const timer = setTimeout(fail, START_TIMEOUT_MS);
    child.once("exit", fail);
    child.stderr?.on("data", (chunk: Buffer) => {
      text += chunk.toString("utf8");
      const found = /signals at (\S+)[\s\S]*metrics are at (\S+)\/metrics/.exec(text);
      if (found === null) return;
      clearTimeout(timer);
      resolve(found.slice(1));
    });
  });
  return {
    url: url as string,
    opsUrl: opsUrl as string,
    pid: child.pid as number,
    stdout: child.stdout,
    ended,
    stop: () => child.kill("SIGTERM"),
  };
}
