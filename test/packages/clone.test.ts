/**
 * A clone as others have it on a Node.js that is too old: npm installs what the server needs at
 * run time, and nothing has to be built.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtempDisposable, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import { ROOT, run } from "../interop/support/command.ts";
import { hasRegistry, installNode, NODE_20, NPM_TIMEOUT_MS, npmEnv, runNpm } from "./npm.ts";

const isReachable = await hasRegistry();

describe.runIf(isReachable)(`a clone on Node.js ${NODE_20}`, () => {
  let dir: Awaited<ReturnType<typeof mkdtempDisposable>>;
  let nodeDir: string;
  let clone: string;

  beforeAll(async () => {
    dir = await mkdtempDisposable(join(tmpdir(), "countersign-clone-"));
    // As root, PostgreSQL runs under another account, which has to get in.
    await chmod(dir.path, 0o711);
    const node = join(dir.path, "node");
    clone = join(dir.path, "clone");
    await Promise.all([mkdir(node), mkdir(clone)]);
    nodeDir = await installNode(node, NODE_20);
    // What is not committed yet is tested, too.
    const files = "git ls-files -coz --exclude-standard";
    execFileSync("sh", ["-c", `${files} | tar -cf - --null -T - | tar -xf - -C "${clone}"`], {
      cwd: ROOT,
    });
    const args = ["ci", "--omit=dev", "--no-audit", "--no-fund", "--prefer-offline"];
    const { code, stderr } = await runNpm(nodeDir, clone, args);
    expect(code, stderr).toBe(0);
  }, 2 * NPM_TIMEOUT_MS);

  afterAll(() => dir.remove());

  /** Starts a server in the clone, and waits until it tells people where it is. */
  async function start(command: string, args: readonly string[]): Promise<ChildProcess> {
    const env = { ...npmEnv(nodeDir), PORT: "0", OPS_PORT: "0" };
    const child = spawn(command, args, { cwd: clone, env, detached: true });
    let told = "";
    for await (const line of createInterface({ input: child.stderr as Readable })) {
      told += `${line}\n`;
      if (line.includes("A producer's credentials")) return child;
    }
    throw new Error(`The server did not start: ${told}`);
  }

  it("starts the server by npm start, and sends it a signal by npx", async () => {
    const npm = await start("npm", ["start"]);
    try {
      const signal = ["--instrument", "GOLD", "--side", "buy", "--entry-price", "1950.50"];
      const sent = await runNpm(nodeDir, clone, ["exec", "countersign", "--", "send", ...signal]);
      expect(sent.stdout + sent.stderr).toMatch(/stored/);
      expect(sent.code).toBe(0);
    } finally {
      const exit = once(npm, "exit");
      // As Ctrl-C does: to all of its processes.
      process.kill(-(npm.pid as number), "SIGINT");
      await exit;
    }
  });

  it("runs the command itself, which ends as it was asked to", async () => {
    const bin = join(clone, packageJson.bin.countersign);
    const command = await start(bin, ["serve"]);
    const exit = once(command, "exit");
    command.kill("SIGTERM");
    expect(await exit).toEqual([0, null]);
    // Nobody is left in its process group.
    expect(() => process.kill(-(command.pid as number), 0)).toThrow("ESRCH");
    const { code, stderr } = await run(join(nodeDir, "node"), [bin, "frob"], { cwd: clone });
    expect([code, stderr]).toEqual([2, "countersign: unknown command 'frob'\n"]);
  });

  it("says in a sentence what is missing if optional packages were left out", async () => {
    await rm(join(clone, "node_modules/node"), { recursive: true });
    await rm(join(clone, "node_modules/.bin/node"));
    const { code, stderr } = await runNpm(nodeDir, clone, ["start", "--silent"]);
    const needed = packageJson.engines.node.replace(">=", "");
    expect([code, stderr.trim()]).toEqual([
      2,
      `countersign: This needs Node.js ${needed} or newer and runs on ${NODE_20}, and npm has not installed one beside it.`,
    ]);
  });

  it("names the Node.js that the tests need", async () => {
    const vitest = join(ROOT, "node_modules/vitest/vitest.mjs");
    const { code, stderr } = await run(join(nodeDir, "node"), [vitest, "run"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/The tests need Node\.js [\d.]+ or newer, but this is Node\.js 20\./);
  });
});
