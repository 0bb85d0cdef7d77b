/** Runs the programs of other makers that a test needs, and knows which are there. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "vitest";

/** The root of the repository. */
export const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** The tools of the development dependencies come first, this very Node.js before all. */
export const TOOL_PATH = [
  join(process.execPath, ".."),
  join(ROOT, "node_modules", ".bin"),
  process.env.PATH,
].join(delimiter);

/** What a program did. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a program is given besides its arguments. */
export interface RunOptions {
  /** All of its environment but PATH. */
  readonly env?: Readonly<Record<string, string>>;
  /** Where it runs; the root of the repository, if nothing is said. */
  readonly cwd?: string;
  readonly stdin?: string | Uint8Array;
  /** How long it may take, in milliseconds. */
  readonly timeoutMs?: number;
}

/** No program that a test runs may take longer unless the test says so, in milliseconds. */
const RUN_TIMEOUT_MS = 25_000;

/** Runs a program to its end. */
export async function run(
  command: string,
  args: readonly string[],
  { env = {}, cwd = ROOT, stdin = "", timeoutMs = RUN_TIMEOUT_MS }: RunOptions = {},
): Promise<Outcome> {
  const child = spawn(command, args, {
    cwd,
    // The programs are to reach a server on this machine, whatever proxy is set.
    env: { PATH: TOOL_PATH, HOME: process.env.HOME, ...env },
    timeout: timeoutMs,
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  // A program that does not read its input ends before all of it is written.
  child.stdin.on("error", () => {});
  child.stdin.end(stdin);
  const [code] = await once(child, "close");
  return {
    code,
    stdout: Buffer.concat(stdout).toString("utf8"),
    stderr: Buffer.concat(stderr).toString("utf8"),
  };
}

/** Whether a program can be run here. */
export function hasTool(command: string): boolean {
  const { error } = spawnSync(command, ["--version"], {
    env: { PATH: TOOL_PATH, HOME: process.env.HOME },
  });
  return error === undefined;
}

/** Makes a test that is seen to be skipped if one of the tools is not there. */
export function skipVisibly(tools: readonly string[], what: string): void {
  for (const tool of tools.filter((name) => !hasTool(name))) {
    const message = `SKIPPED: ${tool} is not on the PATH, so ${what}`;
    test(message, (context) => {
      process.stderr.write(`${message}\n`);
      context.skip(message);
    });
  }
}
