/** The demo, run as a reader of the README runs it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ROOT, run } from "../interop/support/command.ts";

let temporaryDir: string;

beforeEach(async () => {
  temporaryDir = await mkdtemp(join(tmpdir(), "demo-test-"));
});

afterEach(async () => {
  await rm(temporaryDir, { recursive: true, force: true });
});

/** The processes that work on the demo's data. */
async function leftProcesses(): Promise<string[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
  );
  return commands.filter((command) => command.includes(temporaryDir));
}

test("ends with the table of what is stored, each signal once, and leaves nothing", async () => {
  const { code, stdout, stderr } = await run(process.execPath, ["examples/demo/demo.ts"], {
    env: { TMPDIR: temporaryDir },
  });
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toContain("A forged signal was refused: UNAUTHENTICATED.");
  expect(stdout.match(/^│ \d+ +│/gm)).toHaveLength(54);
  expect(stdout).toMatch(
    /68 deliveries\. 14 were repeats .* 54 signals are stored, each once\.\n$/,
  );
  expect(await readdir(temporaryDir)).toEqual([]);
  expect(await leftProcesses()).toEqual([]);
});

test("leaves nothing when nobody reads its output to the end", async () => {
  const child = spawn(process.execPath, ["examples/demo/demo.ts"], {
    cwd: ROOT,
    env: { PATH: process.env.PATH, TMPDIR: temporaryDir },
    stdio: ["ignore", "pipe", "ignore"],
  });
  await once(child.stdout, "data");
  child.stdout.destroy();
  await once(child, "exit");
  expect(await readdir(temporaryDir)).toEqual([]);
  expect(await leftProcesses()).toEqual([]);
});
