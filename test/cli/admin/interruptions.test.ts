/**
 * What the commands that administer do when nobody answers, when a person stops them, and what
 * others see of them meanwhile: as processes of their own.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { generateCredential } from "../../../src/signing/index.ts";
import { hasTool } from "../../interop/support/command.ts";
import { listen } from "../../support/listen.ts";
import { coverageEnv } from "../../support/processCoverage.ts";
import { adminServerOfFile } from "../support/adminServer.ts";
import { MAIN, run, runShell, start, workspaceOfFile } from "../support/run.ts";

const admin = adminServerOfFile();
const workspace = workspaceOfFile();
const TERMINAL = fileURLToPath(new URL("../support/terminal.py", import.meta.url));

/** Takes connections and requests, and never answers. */
async function silentServer() {
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.on("error", () => {});
  });
  const { url, ...listening } = await listen(server);
  onTestFinished(() => listening[Symbol.asyncDispose]());
  return { url, connections: () => connections };
}

it("an interrupted call says what is not known, and leaves no file", async () => {
  const silent = await silentServer();
  const env = { COUNTERSIGN_URL: silent.url, COUNTERSIGN_TOKEN: generateCredential("tok").text };
  const child = start(["producers", "create", "late-bot", "--env-file", "late.env"], {
    env,
    cwd: workspace.path,
  });
  await expect.poll(silent.connections, { timeout: 20_000 }).toBe(1);
  expect(existsSync(path.join(workspace.path, "late.env"))).toBe(true);
  const stderr = text(child.stderr as NodeJS.ReadableStream);
  child.kill("SIGINT");
  expect((await once(child, "exit"))[0]).toBe(3);
  expect(await stderr).toBe(
    "countersign: Stopped before the answer came. Whether it was made is not known: " +
      '"countersign producers show late-bot" tells. If so, "countersign producers rotate late-bot ' +
      '--grace 0" gives it a secret that is not lost.\n',
  );
  expect(readdirSync(workspace.path).filter((name) => name.startsWith("late"))).toEqual([]);
});

it("no process shows a secret or a token in its command line or title", async () => {
  const seen: string[] = [];
  const watching = setInterval(() => seen.push(...commandLines()), 50);
  onTestFinished(() => clearInterval(watching));
  const steps = [
    "countersign producers create seen-bot --env-file seen.env",
    "countersign tokens create --name seen --scope read --env-file token.env",
  ];
  const { code, stdout, stderr } = await runShell(steps.join(" && "), {
    env: admin.env,
    cwd: workspace.path,
  });
  expect([code, stdout + stderr]).toEqual([0, expect.not.stringMatching(/cs_(sec|tok)_/)]);
  const lines = [...new Set(seen)];
  for (const step of steps) {
    expect(lines.some((line) => line.includes(step.replace("countersign ", "")))).toBe(true);
  }
  expect(lines.filter((line) => /cs_(sec|tok)_/.test(line))).toEqual([]);
});

/** Of all processes of this machine, as every user may read them. */
function commandLines(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      } catch {
        // It has ended meanwhile.
        return "";
      }
    });
}

describe.runIf(hasTool("python3"))("a person at a terminal", () => {
  /** Types an answer to the question whether a secret may end. */
  async function answer(typed: string) {
    const name = `asked-${typed.codePointAt(0)}`;
    await run(["producers", "create", name], { env: admin.env });
    const command = ["producers", "rotate", name, "--grace", "0", "--json"];
    const program = [TERMINAL, "200", process.execPath, "--", MAIN, ...command];
    const child = spawn("python3", program, {
      env: { ...coverageEnv(), ...admin.env, PATH: process.env.PATH },
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    let shown = "";
    child.stdout.on("data", (chunk) => {
      shown += String(chunk);
      if (String(chunk).includes("[y/N] ")) child.stdin.write(typed);
    });
    const [code] = await once(child, "close");
    return { code, shown, name };
  }

  it("is asked before what cannot be undone, and a yes does it", async () => {
    const { code, shown, name } = await answer("y\n");
    expect(code).toBe(0);
    expect(shown).toContain(
      `countersign: This ends every secret that ${name} has at once: it is refused until it has the new one. Go on? [y/N] `,
    );
    expect(shown).toContain('{"secret":"cs_sec_');
  });

  it.each(["n\n", "\n", "\x04", "\x03", "yeah\n"])("%j changes nothing", async (typed) => {
    const { code, shown } = await answer(typed);
    expect(code).toBe(1);
    expect(shown).toContain("Go on? [y/N] ");
    expect(shown).toContain("countersign: Nothing was changed.\n");
    expect(shown).not.toContain("cs_sec_");
  });
});
