/**
 * Runs the command line, with an environment, a working directory and standard streams: in
 * this process, which takes no time, or where the process is what is tested, as a user does.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable, Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import { runProgram } from "../../../src/cli/program.ts";
import { coverageEnv } from "../../support/processCoverage.ts";
import { plantEnvironment } from "../../support/secrecy/canaries.ts";
import { watchOutput } from "../../support/secrecy/watch.ts";
import { TEST_PRODUCER_ID, TEST_SECRET } from "../../support/server.ts";

/** The file that `bin` names, before it is compiled. */
export const MAIN = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url));
/** The `.proto` files. */
export const PROTO = fileURLToPath(new URL("../../../proto", import.meta.url));
const BIN = fileURLToPath(new URL("../../../node_modules/.bin", import.meta.url));
/** Where `node` is, and then `buf`, before everything that the machine has. */
const PATH = [path.dirname(process.execPath), BIN, process.env.PATH].join(path.delimiter);

/** What a run left behind. */
export interface RunResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** How to run. */
export interface RunOptions {
  /** The whole environment, besides PATH. */
  readonly env?: NodeJS.ProcessEnv | undefined;
  readonly input?: string | Uint8Array | undefined;
  readonly cwd?: string | undefined;
}

/** How to run in this process. */
export interface LocalRunOptions extends RunOptions {
  /** Of the terminal that shows the output; a file or a pipe has it unless given. */
  readonly columns?: number | undefined;
}

/** Starts `countersign` with these arguments, as the script of `package.json` does. */
export function start(args: readonly string[], options: RunOptions = {}): ChildProcess {
  return spawnProcess(process.execPath, ["--", MAIN, ...args], options);
}

/** Runs `countersign` with these arguments to its end, in a process of its own. */
export function runProcess(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return finish(start(args, options), options.input);
}

let isRunning = false;

/**
 * Runs `countersign` with these arguments to its end, in this process: what is the process's
 * own is replaced meanwhile. So one at a time, and no command that ends its process.
 */
export async function run(
  args: readonly string[],
  { env, input, cwd = tmpdir(), columns }: LocalRunOptions = {},
): Promise<RunResult> {
  if (isRunning) throw new Error("runs one at a time");
  isRunning = true;
  plantEnvironment({ ...env });
  const command = ["countersign", ...args];
  const stdout = new TextSink(watchOutput("stdout", command));
  const stderr = new TextSink(watchOutput("stderr", command));
  if (columns !== undefined) Object.assign(stdout, { isTTY: true, columns });
  const stdin = Readable.from(input === undefined ? [] : [Buffer.from(input)]);
  const restored = replaceOf(process, {
    argv: [process.execPath, MAIN, ...args],
    env: { PATH, ...env },
    stdin,
    stdout,
    stderr,
  });
  const directory = process.cwd();
  process.chdir(cwd);
  try {
    await runProgram();
    const code = Number(process.exitCode ?? 0);
    return { code, stdout: stdout.text, stderr: stderr.text };
  } finally {
    process.chdir(directory);
    process.exitCode = undefined;
    restored();
    isRunning = false;
  }
}

/** Replaces properties. @returns what puts them back. */
function replaceOf<T extends object>(object: T, values: Partial<Record<keyof T, unknown>>) {
  const before = Object.getOwnPropertyDescriptors(object);
  for (const [name, value] of Object.entries(values)) {
    Object.defineProperty(object, name, { value, configurable: true, writable: true });
  }
  return () => {
    for (const name of Object.keys(values) as (keyof T)[]) {
      Object.defineProperty(object, name, before[name] as PropertyDescriptor);
    }
  };
}

/** Keeps what is written to it. */
class TextSink extends Writable {
  text = "";
  readonly #watch: (part: Buffer) => void;

  constructor(watch: (part: Buffer) => void) {
    super();
    this.#watch = watch;
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.#watch(chunk);
    this.text += chunk.toString("utf8");
    done();
  }
}

/** Runs a line in `sh`, where `countersign` is a command. */
export function runShell(line: string, options: RunOptions = {}): Promise<RunResult> {
  const prelude = `countersign() { node -- '${MAIN}' "$@"; }\n`;
  return finish(spawnProcess("sh", ["-c", prelude + line], options), options.input);
}

function spawnProcess(file: string, args: readonly string[], options: RunOptions): ChildProcess {
  return spawn(file, args, {
    env: { PATH, ...coverageEnv(), ...options.env },
    cwd: options.cwd ?? tmpdir(),
    stdio: ["pipe", "pipe", "pipe"],
  });
}

async function finish(child: ChildProcess, input: RunOptions["input"]): Promise<RunResult> {
  const { stdin, stdout, stderr } = child;
  if (stdin === null || stdout === null || stderr === null) throw new Error("no pipes");
  // A program that ends before it has read everything is no fault of the test.
  stdin.on("error", () => {});
  stdin.end(input);
  const exit = once(child, "exit");
  const [out, err] = await Promise.all([text(stdout), text(stderr)]);
  return { code: (await exit)[0], stdout: out, stderr: err };
}

/** The environment of the producer that every test server knows. */
export function producerEnv(serverUrl: string): NodeJS.ProcessEnv {
  return {
    PRODUCER_ID: TEST_PRODUCER_ID,
    HMAC_PRODUCER_SECRET: TEST_SECRET,
    OUTBOUND_SERVER_URL: serverUrl,
  };
}

/** A directory for files, which is removed in the end. */
export class Workspace implements AsyncDisposable {
  readonly path = mkdtempSync(path.join(tmpdir(), "countersign-cli-"));

  /** Writes a file. @returns its path. */
  async write(name: string, content: string | Uint8Array): Promise<string> {
    const file = path.join(this.path, name);
    await writeFile(file, content);
    return file;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

/** A directory that the tests of a file share. */
export function workspaceOfFile(): Workspace {
  const workspace = new Workspace();
  afterAll(() => workspace[Symbol.asyncDispose]());
  return workspace;
}

/** The JSON objects that were printed, one a line. */
export function jsonLines(stdout: string): Record<string, unknown>[] {
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}
