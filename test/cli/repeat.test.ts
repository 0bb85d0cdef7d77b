/**
 * What `send` says when it does not know, and the command that it gives: run as a person
 * would, against a real server whose answers got lost.
 */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SignalTime } from "../../src/cli/send/prepare.ts";
import { programWords, shellWord } from "../../src/cli/send/repeat.ts";
import { isKeptFile } from "../../src/cli/send/source.ts";
import { systemClock } from "../../src/client/clock.ts";
import { type FaultyProxy, startProxy } from "../support/proxy.ts";
import { serveFile } from "../support/serveFile.ts";
import { producerEnv, run, runProcess, runShell, workspaceOfFile } from "./support/run.ts";
import { signalJson, storedSignals } from "./support/signals.ts";

const served = serveFile();
const workspace = workspaceOfFile();
let proxy: FaultyProxy;
beforeAll(async () => {
  proxy = await startProxy(served.server.url);
});
afterAll(() => proxy.close());

const GOLD = ["--instrument", "GOLD", "--side", "buy", "--entry-price", "1950.5"];

/** Sends by way of the proxy, which loses the answer, until the signals are stored. */
async function sendWithoutAnswer(args: readonly string[], keys: string, input?: string) {
  proxy.loseAnswers();
  const options = ["--retries", "0", "--url", new URL(proxy.url).origin];
  const running = run(["send", ...options, ...args], {
    env: producerEnv("http://127.0.0.1:1"),
    input,
    cwd: workspace.path,
  });
  await expect.poll(() => rowsOf(keys), { timeout: 20_000 }).not.toEqual([]);
  proxy.reset();
  const result = await running;
  await proxy.heal();
  expect(result.code).toBe(3);
  return { ...result, command: commandOf(result.stderr) };
}

/** Runs a command as it was printed, where only the secret is known. */
function repeat(command: string) {
  const { HMAC_PRODUCER_SECRET } = producerEnv("");
  return runShell(command, { env: { HMAC_PRODUCER_SECRET }, cwd: workspace.path });
}

function commandOf(stderr: string): string {
  return /with the same key and time:\n(.*)\n$/s.exec(stderr)?.[1] ?? "";
}

async function rowsOf(comment: string) {
  const rows = await storedSignals(served.sql);
  return rows.filter((row) => String(row.comment).startsWith(comment));
}

describe("an attempt whose answer got lost", () => {
  it("is repeated by the printed command, whatever the options hold", async () => {
    const comment = '-options it\'s "$(touch here)" `touch here` \\ é';
    const { stderr, command } = await sendWithoutAnswer(
      [...GOLD, "--comment", comment, "--payload", '{"note":"it\'s"}', "--protocol", "grpc"],
      "-options",
    );
    expect(stderr).toMatch(
      /^countersign: not known to be stored \(key [0-9a-f-]{36}\): UNREACHABLE/,
    );
    expect(command).toContain(" --instrument GOLD --side buy --entry-price 1950.5 --comment ");
    const again = await repeat(command);
    expect([again.code, again.stderr]).toEqual([0, ""]);
    expect(again.stdout).toContain("duplicate");
    expect(await rowsOf("-options")).toMatchObject([{ comment, payload: { note: "it's" } }]);
  });

  it("of standard input is repeated with the keys and times that the signals were given", async () => {
    const lines = [
      signalJson({ comment: "pipe it's", idempotency_key: "pipe-1" }),
      signalJson({ comment: "pipe \u202e\n\t", timestamp: undefined }),
    ];
    const { stderr, command } = await sendWithoutAnswer(["-"], "pipe", lines.join("\n"));
    expect(stderr).toContain("line 2 not known to be stored (key ");
    expect(stderr).toContain("To send these 2 again without storing anything twice");
    expect(command).toMatch(/^[\n\x20-\x7e]+$/);
    const again = await repeat(command);
    expect(again.code).toBe(0);
    expect(again.stderr).toBe("countersign: 2 signals: 2 duplicate\n");
    expect(await rowsOf("pipe")).toHaveLength(2);
  });

  it("of a file that names its signals is repeated from the file, and of another is not", async () => {
    const named = await workspace.write("named it's.json", signalJson({ comment: "file named" }));
    const key = ["--idempotency-key", "named-1"];
    const unnamed = await sendWithoutAnswer(["--file", named, ...key], "file named");
    expect(unnamed.command).not.toContain("--file");
    expect((await repeat(unnamed.command)).stdout).toContain("duplicate");

    const content = signalJson({ comment: "file own", idempotency_key: "file-1" });
    const file = await workspace.write("own it's.json", content);
    const { command } = await sendWithoutAnswer(["--file", file, "--json"], "file own");
    expect(command).toContain(" --json --file '");
    expect((await repeat(command)).stdout).toContain('"outcome":"duplicate"');
    expect(await rowsOf("file")).toHaveLength(2);
  });

  it("of a file that cannot be read once more, such as <(…), is repeated without it", async () => {
    const pipe = path.join(workspace.path, "pipe.json");
    await promisify(execFile)("mkfifo", [pipe]);
    const content = signalJson({ comment: "gone", idempotency_key: "gone-1" });
    const [{ command }] = await Promise.all([
      sendWithoutAnswer(["--file", pipe], "gone"),
      writeFile(pipe, content),
    ]);
    expect(command).not.toContain("--file");
    expect((await repeat(command)).stdout).toContain("duplicate");
    // Of the next command, this may be a terminal.
    const file = await workspace.write("kept.json", content);
    expect([file, "/dev/stdin", "/dev/../dev/fd/0", workspace.path].map(isKeptFile)).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });

  it("is not said to be stored nowhere, if a run that repeats it is refused", async () => {
    const { command } = await sendWithoutAnswer([...GOLD, "--comment", "refused"], "refused");
    const env = { HMAC_PRODUCER_SECRET: "not the secret of this one" };
    const { code, stderr } = await runShell(command, { env, cwd: workspace.path });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^countersign: refused, not stored by this run: UNAUTHENTICATED: /);
  });
});

it("goes on where results cannot be written, and says what became of the signals", async () => {
  const lines = ["full 1", "full 2"].map((comment) => signalJson({ comment })).join("\n");
  const env = producerEnv(served.server.url);
  const many = await runShell("countersign send - > /dev/full", { env, input: lines });
  expect(many.code).toBe(1);
  expect(many.stderr).toMatch(/^countersign: Standard output cannot be written: ENOSPC[^\n]*\n/);
  expect(many.stderr).toMatch(/\ncountersign: 2 signals: 2 stored\n$/);
  const options = `${GOLD.join(" ")} --comment full`;
  const one = await runShell(`countersign send ${options} > /dev/full`, { env });
  expect(one.code).toBe(1);
  expect(one.stderr).toMatch(/\ncountersign: 1 signal: 1 stored\n$/);
  expect(await rowsOf("full")).toHaveLength(3);
});

describe("a wrong clock of this machine", () => {
  /** Sends from a machine whose clock is wrong by so many days. */
  function sendFrom(days: number, args: readonly string[]) {
    const code = `const now=Date.now;Date.now=()=>now()+${days * 86_400_000}`;
    const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(code)}`;
    return runProcess(["send", ...GOLD, ...args], {
      env: { ...producerEnv(served.server.url), NODE_OPTIONS },
    });
  }

  it.each([
    [-2, "behind"],
    [2, "ahead of"],
  ])("of %i days is corrected, in signature and signal, and told", async (days, direction) => {
    const comment = `clock ${days}`;
    const { code, stderr } = await sendFrom(days, ["--comment", comment]);
    expect(code).toBe(0);
    expect(stderr).toMatch(
      new RegExp(
        `^countersign: The clock of this machine is 17(2[789]|3[01])\\d\\d s ${direction}`,
      ),
    );
    const [row] = await rowsOf(comment);
    const ageMs = Date.now() - Number(row?.signal_time);
    expect(Math.abs(ageMs)).toBeLessThan(60_000);
  });

  it("is corrected in the signature only, if the signal has a time", async () => {
    const time = new Date(Date.now() - 3_600_000);
    const args = ["--comment", "own time", "--signal-time", time.toISOString()];
    expect((await sendFrom(2, args)).code).toBe(0);
    expect(await rowsOf("own time")).toMatchObject([{ signal_time: time }]);
  });

  it("found out after the first attempt changes no time that was sent before", () => {
    let offset = 0n;
    const clock = { now: () => systemClock.now() + offset };
    const [sent, unsent] = [new SignalTime(clock), new SignalTime(clock)];
    const first = sent.text;
    sent.fix();
    offset = 172_800_000_000_000n;
    expect(sent.text).toBe(first);
    expect(Date.parse(unsent.text) - Date.parse(first)).toBeGreaterThan(172_000_000);
    expect(unsent.text).toBe(unsent.text);
  });
});

describe("the words that call the program", () => {
  const execPath = "/opt/node";
  const BIN = "/clone/bin/countersign.js";

  it.each<[string, NodeJS.ProcessEnv, readonly string[]]>([
    [BIN, {}, [execPath, "--", BIN]],
    [BIN, { npm_lifecycle_event: "bot" }, [execPath, "--", BIN]],
    [BIN, { npm_lifecycle_event: "countersign" }, ["npm", "run", "-s", "countersign", "--"]],
    ["/usr/bin/countersign", { PATH: "/bin:/usr/bin" }, ["countersign"]],
    ["/a b/countersign", { PATH: "/bin:/usr/bin" }, ["/a b/countersign"]],
    ["/x/.bin/countersign", { PATH: "/x/.bin", npm_command: "exec" }, ["npx", "countersign"]],
  ])("of %s in %j", (script, environment, words) => {
    expect(programWords({ execPath, script, environment })).toEqual(words);
  });

  it.each([
    ["a.b-c_d/e:f=g", "a.b-c_d/e:f=g"],
    ["", "''"],
    ["it's", "'it'\\''s'"],
    ["~", "'~'"],
    ["a*", "'a*'"],
  ])("quotes %j as %s", (word, quoted) => {
    expect(shellWord(word)).toBe(quoted);
  });
});
