/**
 * What a person at a terminal sees, on a pseudo-terminal as terminals are.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { fitsWidth, formatRecords } from "../../src/cli/table.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { coverageEnv } from "../support/processCoverage.ts";
import { testServerEnv } from "../support/server.ts";
import { MAIN, producerEnv, run, runShell } from "./support/run.ts";

const TERMINAL = fileURLToPath(new URL("support/terminal.py", import.meta.url));
const END_OF_INPUT = "\x04";

/** Runs `countersign` on a terminal of so many columns and types the input. */
function runOnTerminal(columns: number, args: readonly string[], input = "") {
  const env = { ...producerEnv("http://127.0.0.1:1"), MAIN, TERMINAL };
  const words = args.map((arg) => `'${arg}'`).join(" ");
  return runShell(`python3 "$TERMINAL" ${columns} node -- "$MAIN" ${words}`, { env, input });
}

function linesOf(stdout: string): string[] {
  return stdout.split("\n");
}

const GOLD = ["--instrument", "GOLD", "--side", "buy", "--entry-price", "1950.5"];

describe("send on a terminal", () => {
  it("says that it waits, and once, how an object of several lines has to be given", async () => {
    const input = `{\n  "instrument": "GOLD"\n}\n[]\n${END_OF_INPUT}`;
    const { code, stdout } = await runOnTerminal(80, ["send", "-"], input);
    expect(code).toBe(1);
    expect(stdout).toContain("countersign: waiting for signals (one JSON object a line) from this");
    expect(stdout).toMatch(/line 1 refused, .*; give one object per line, as "jq -c" writes it\n/);
    expect(stdout.split("one object per line")).toHaveLength(2);
    expect(stdout).toContain(
      "line 4 refused, not stored by this run: MALFORMED_BODY: must be a JSON object\n",
    );
  });
});

it("any command that reads from the terminal says so", async () => {
  const args = ["sign", "--body", "-"];
  const { code, stdout } = await runOnTerminal(80, args, `{}\n${END_OF_INPUT}`);
  expect(code).toBe(0);
  expect(stdout).toContain("countersign: waiting for --body from this terminal; Ctrl-D");
});

it.each([1, 2])("serve with WORKERS=%d writes a readable log to a terminal", async (workers) => {
  await using parts = new AsyncDisposableStack();
  const database = await createTestDatabase();
  parts.defer(() => database.drop());
  const env = { ...testServerEnv(database.url, { WORKERS: `${workers}` }), ...coverageEnv() };
  const command = [TERMINAL, "100", process.execPath, "--", MAIN, "serve"];
  const child = spawn("python3", command, { env: { ...env, PATH: process.env.PATH } });
  parts.defer(() => void child.kill());
  let shown = "";
  child.stdout.on("data", (chunk) => {
    shown += String(chunk);
  });
  await expect.poll(() => shown, { timeout: 30_000 }).toMatch(/Countersign takes signals at /);
  const url = /http:\/\/127\.0\.0\.1:\d+/.exec(shown)?.[0];
  const answer = await fetch(`${url}/api/v1/signals`, { method: "POST", body: "{}" });
  expect(answer.status).toBe(415);
  await expect.poll(() => shown, { timeout: 10_000 }).toMatch(/^\S+Z INFO {2}request {2}.*415/m);
  // Ctrl-C, as a person ends it.
  child.stdin.write("\x03");
  expect((await once(child, "exit"))[0]).toBe(0);
  expect(shown).toMatch(/^\d\d:\d\d:\d\d\.\d{3}Z INFO {2}ready {2}url=http:/m);
  expect(shown).toMatch(/^\d\d:\d\d:\d\d\.\d{3}Z INFO {2}closed$/m);
  expect(shown).not.toContain('{"level"');
});

describe("a table on a terminal", () => {
  it.each([
    [120, ["unconfirmed  UNREACHABLE              -                                     my-key"]],
    [
      80,
      ["OUTCOME          unconfirmed", "STATUS           UNREACHABLE", "IDEMPOTENCY KEY  my-key"],
    ],
  ])(
    "of %d columns has a row for each signal, or its values below each other",
    async (columns, rows) => {
      const args = ["send", ...GOLD, "--retries", "0", "--idempotency-key", "my-key"];
      const { stdout } = await run(args, { env: producerEnv("http://127.0.0.1:1"), columns });
      expect(linesOf(stdout)).toEqual(expect.arrayContaining(rows));
      expect(stdout.includes(" -  ")).toBe(columns === 120);
    },
  );

  const columns = [{ title: "A" }, { title: "LONGER" }];

  it("has room if its longest line has", () => {
    expect(fitsWidth(columns, [["1", "123456"]], 9)).toBe(true);
    expect(fitsWidth(columns, [["1", "1234567"]], 9)).toBe(false);
    // Two columns each, although one character.
    expect(fitsWidth(columns, [["1", "\u4e00\u4e00\u4e00\u4e00"]], 10)).toBe(false);
  });

  it("leaves out of a record what is not there", () => {
    const rows = [
      ["1", "-"],
      ["2", "x"],
    ];
    expect(formatRecords(columns, rows)).toBe("A       1\n\nA       2\nLONGER  x\n\n");
  });
});
