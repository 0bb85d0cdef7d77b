/**
 * The command itself, before any of the program runs: what it runs and on which Node.js. A
 * package that asks for a Node.js of the future makes every one of today too old.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import { hasTool, ROOT, run } from "../interop/support/command.ts";
import { temporaryDirectory } from "../support/temporaryDirectory.ts";

const BIN = packageJson.bin.countersign;
const TERMINAL = fileURLToPath(new URL("../cli/support/terminal.py", import.meta.url));
const FUTURE = "99.1.0";
const TOO_OLD = {
  code: 2,
  stdout: "",
  stderr: `countersign: This needs Node.js ${FUTURE} or newer and runs on ${process.versions.node}, and npm has not installed one beside it.\n`,
};

/** Makes a package of these files that has the command, and needs this Node.js. @returns its path. */
async function packageOf(node: string, files: Readonly<Record<string, string>>): Promise<string> {
  const home = await temporaryDirectory();
  const manifest = JSON.stringify({ type: "module", engines: { node: `>=${node}` } });
  for (const [name, content] of Object.entries({ ...files, "package.json": manifest })) {
    await mkdir(dirname(join(home, name)), { recursive: true });
    await writeFile(join(home, name), content, { mode: 0o755 });
  }
  await cp(join(ROOT, BIN), join(home, BIN));
  return home;
}

/** The package `node` as npm installs it, with a program in place of Node.js. */
function installed(version: string, program?: string): Readonly<Record<string, string>> {
  const manifest = JSON.stringify({ version, bin: { node: "bin/node" } });
  return {
    "node_modules/node/package.json": manifest,
    ...(program && { "node_modules/node/bin/node": `#!${process.execPath}\n${program}` }),
  };
}

const SOURCE = { "src/cli/main.ts": 'console.log("as written" satisfies string);' };
const COMPILED = { "dist/src/cli/main.js": 'console.log("as compiled");' };

it("runs a clone as it is written, whatever was compiled before, and a package as compiled", async () => {
  const needs = packageJson.engines.node.replace(">=", "");
  const clone = await packageOf(needs, { ...SOURCE, ...COMPILED });
  const ofClone = await run(process.execPath, [join(clone, BIN)]);
  expect(ofClone).toEqual({ code: 0, stdout: "as written\n", stderr: "" });
  const ofPackage = await run(process.execPath, [join(await packageOf(needs, COMPILED), BIN)]);
  expect(ofPackage).toEqual({ code: 0, stdout: "as compiled\n", stderr: "" });
});

it.each<[string, Readonly<Record<string, string>>]>([
  ["there is no other", {}],
  ["the other was left uninstalled", installed(FUTURE)],
  ["the other is too old as well", installed("99.0.9", "console.log('ran')")],
])(
  "loads nothing on a Node.js that is too old and says so in a sentence if %s",
  async (_, other) => {
    const home = await packageOf(FUTURE, { ...SOURCE, ...other });
    expect(await run(process.execPath, [join(home, BIN), "--help"])).toEqual(TOO_OLD);
  },
);

it.each([FUTURE, "99.10.0", "100.0.0-nightly"])(
  "hands its call over to an installed Node.js %s, options of the old one included",
  async (version) => {
    const echo = `process.stdin.pipe(process.stdout).on("unpipe", () => {
      console.log(process.argv.slice(2).join(" "));
      process.exitCode = 7;
    });`;
    const home = await packageOf(FUTURE, installed(version, echo));
    const bin = join(home, BIN);
    const call = ["--max-old-space-size=99", "--", bin, "send", "--env-file", "x y"];
    expect(await run(process.execPath, call, { stdin: "input\n" })).toEqual({
      code: 7,
      stdout: `input\n--max-old-space-size=99 -- ${bin} send --env-file x y\n`,
      stderr: "",
    });
  },
);

it("takes --env-file for its own, which Node.js would, too", async () => {
  const outcome = await run(join(ROOT, BIN), ["serve", "--env-file", "nowhere.env"]);
  expect(outcome).toEqual({
    code: 2,
    stdout: "",
    stderr: "countersign: --env-file nowhere.env cannot be read: there is no such file.\n",
  });
});

/** Tells which signals it gets, and ends itself by the first SIGTERM. */
const LISTENER = `
  for (const name of ["SIGINT", "SIGHUP", "SIGQUIT"]) process.on(name, () => console.log(name));
  process.once("SIGTERM", () => process.kill(process.pid, "SIGTERM"));
  setInterval(() => {}, 1_000);
  console.log(process.pid + " " + process.ppid);`;

async function lineOf({ stdout }: ChildProcess): Promise<string> {
  if (stdout === null) throw new Error("no pipe");
  const [chunk] = await once(stdout, "data");
  return String(chunk).trim();
}

it("passes signals on, and ends by the one that ended what it had started", async () => {
  const home = await packageOf(FUTURE, installed(FUTURE, LISTENER));
  const command = spawn(process.execPath, [join(home, BIN)], { stdio: ["ignore", "pipe", "pipe"] });
  onTestFinished(() => void command.kill("SIGKILL"));
  const [pid, parent] = (await lineOf(command)).split(" ").map(Number);
  expect(parent).toBe(command.pid);
  for (const signal of ["SIGINT", "SIGHUP", "SIGQUIT"] as const) {
    command.kill(signal);
    expect(await lineOf(command)).toBe(signal);
  }
  command.kill("SIGTERM");
  expect(await once(command, "exit")).toEqual([null, "SIGTERM"]);
  expect(() => process.kill(pid as number, 0)).toThrow("ESRCH");
});

it.runIf(hasTool("python3")).each([
  ["by itself", []],
  ["behind a pipe", ["sh", "-c", 'cat | "$0" "$@"']],
])("%s leaves Ctrl-C to the terminal, which sends it to both", async (_, shell) => {
  const home = await packageOf(FUTURE, installed(FUTURE, LISTENER));
  const command = [...shell, process.execPath, join(home, BIN)];
  const terminal = spawn("python3", [TERMINAL, "80", ...command]);
  onTestFinished(() => void terminal.kill("SIGKILL"));
  const [, parent = 0] = (await lineOf(terminal)).split(" ").map(Number);
  let shown = "";
  terminal.stdout.on("data", (chunk) => {
    shown += chunk;
  });
  // What it would pass on comes late enough to be a second one, not the same.
  process.kill(parent, "SIGSTOP");
  terminal.stdin.write("\x03");
  await expect.poll(() => shown, { timeout: 10_000 }).toContain("SIGINT");
  process.kill(parent, "SIGCONT");
  // Both have had it by now, and what is passed on keeps its order.
  process.kill(parent, "SIGTERM");
  await once(terminal, "close");
  expect(shown.match(/SIGINT/g)).toHaveLength(1);
});
