/** Programs of a bot, each run in a process of its own. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

/** Where such a program imports the client from, quoted. */
export const INDEX = JSON.stringify(
  fileURLToPath(new URL("../../../src/client/index.ts", import.meta.url)),
);
/** What a Node.js is told to run a program in TypeScript that comes next. */
export const PROGRAM_ARGS = ["--input-type=module-typescript", "-e"];

/** Runs a program to its end. It may hold secrets, so that it stands in no command line. */
export async function runProgram(program: string) {
  const child = spawn(process.execPath, ["--input-type=module-typescript", "-"], {
    stdio: ["pipe", "pipe", "pipe"],
    timeout: 20_000,
  });
  child.stdin.end(program);
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  return { code: code as number | null, stdout, stderr };
}
