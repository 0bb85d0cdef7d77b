import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { parseEnv } from "node:util";
import { describe, expect, it } from "vitest";
import { withLocalProducer } from "../../src/cli/credentials.ts";
import { namesCutAtHash } from "../../src/cli/environment.ts";
import { generateCredential } from "../../src/signing/index.ts";
import { run, start, workspaceOfFile } from "./support/run.ts";

const BODY = "{}";
const SECRET = "a-secret-that-nobody-may-ever-see";
const TIMESTAMP = "2025-10-25T14:30:45Z";
const SIGN = ["sign", "--body", "-", "--format", "json", "--timestamp", TIMESTAMP];

const workspace = workspaceOfFile();

/** Signs with credentials from wherever they are. */
async function sign(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const result = await run([...SIGN, ...args], { env, input: BODY, cwd: workspace.path });
  expect(result.stdout + result.stderr).not.toContain(SECRET);
  return result;
}

describe("the secret", () => {
  it("comes from the environment, a file of it, or a file of its own, to the same effect", async () => {
    const fromEnvironment = await sign([], { PRODUCER_ID: "bot-1", HMAC_PRODUCER_SECRET: SECRET });
    expect(fromEnvironment.code).toBe(0);

    const envFile = await workspace.write(
      "bot.env",
      `PRODUCER_ID=bot-1\nHMAC_PRODUCER_SECRET=${SECRET}\n`,
    );
    expect(await sign(["--env-file", envFile])).toEqual(fromEnvironment);

    for (const text of [SECRET, `${SECRET}\n`, `\ufeff${SECRET}\r\n`]) {
      const secretFile = await workspace.write("secret", text);
      expect(await sign(["--secret-file", secretFile, "--producer-id", "bot-1"])).toEqual(
        fromEnvironment,
      );
    }
    const secretFile = await workspace.write("secret", `${SECRET}\n\n`);
    const other = await sign(["--secret-file", secretFile, "--producer-id", "bot-1"]);
    expect(other.code).toBe(0);
    expect(other.stdout).not.toBe(fromEnvironment.stdout);
  });

  it.each([
    ["sign", "--body", "-"],
    ["send", "-", "--url", "http://127.0.0.1:1"],
  ])("does not share standard input, which would then be empty, with %s", async (...command) => {
    const args = [...command, "--secret-file", "-", "--producer-id", "bot-1"];
    const { code, stderr } = await run(args, { input: SECRET, cwd: workspace.path });
    expect(code).toBe(2);
    expect(stderr).toMatch(/^countersign: Standard input is given to --\S+ and to .* only once/);
  });

  it("is that of the local server's producer if there is no other, and that is told", async () => {
    const file = path.join(".countersign", "producer.env");
    await mkdir(path.join(workspace.path, ".countersign"));
    await workspace.write(file, `PRODUCER_ID=local-bot\nHMAC_PRODUCER_SECRET=${SECRET}\n`);

    const local = await sign([]);
    expect(local.code).toBe(0);
    expect(JSON.parse(local.stdout)).toMatchObject({ "x-producer-id": "local-bot" });
    expect(local.stderr).toBe(`countersign: signing as local-bot, with the secret in ${file}\n`);

    const stranger = await sign(["--producer-id", "bot-2"]);
    expect(stranger.code).toBe(2);
    expect(stranger.stderr).toContain(
      `There is no secret for bot-2; ${file} is that of local-bot.`,
    );
  });

  it.each([
    ["sign", "--body", "nowhere.json"],
    ["sign", "--body", "body.json", "--timestamp", "noon"],
    ["sign", "--body", "body.json", "--endpoint", "?"],
    ["verify", "--body", "body.json", "--timestamp", TIMESTAMP, "--producer-id", "local-bot"],
    ["send", "--instrument", "GOLD", "--url", "nowhere"],
    ["send", "--file", "nowhere.json"],
  ])("of the local producer is not told of for a wrong command line: %j", async (...args) => {
    await workspace.write("body.json", BODY);
    const DATA_DIR = path.join(workspace.path, "local");
    await mkdir(DATA_DIR, { recursive: true });
    await workspace.write(
      path.join("local", "producer.env"),
      `PRODUCER_ID=local-bot\nHMAC_PRODUCER_SECRET=${SECRET}\nOUTBOUND_SERVER_URL=http://127.0.0.1:9\n`,
    );
    const { code, stderr } = await run(args, { env: { DATA_DIR }, cwd: workspace.path });
    expect(code).toBe(2);
    expect(stderr).toMatch(/^countersign: [^\n]+\n$/);
    expect(stderr).not.toContain("signing as");
  });

  it.each([
    [{}, "There is no secret: HMAC_PRODUCER_SECRET is not set, and there is no file /"],
    [{ HMAC_PRODUCER_SECRET: SECRET }, "There is no producer id. Set PRODUCER_ID"],
    [{ HMAC_PRODUCER_SECRET: "short-secret" }, "The secret must have at least 16 bytes in UTF-8."],
  ])("that is missing or wrong ends with 2: %j", async (env, message) => {
    const elsewhere = { ...env, DATA_DIR: path.join(workspace.path, "elsewhere") };
    const { code, stderr } = await sign([], elsewhere);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
    if (!("HMAC_PRODUCER_SECRET" in env)) {
      expect(stderr).toContain(`${elsewhere.DATA_DIR}/producer.env. Set HMAC_PRODUCER_SECRET, or`);
    }
    expect(stderr).not.toContain("short-secret");
  });

  it.each([
    ["sign", "--body", "-"],
    ["verify", "--body", "-", "--timestamp", TIMESTAMP, "--signature", "x"],
    ["send", "--instrument", "GOLD", "--side", "buy", "--entry-price", "1"],
  ])("is told to have a typo, or to be a token, before anything is sent: %j", async (...args) => {
    const typo = generateCredential("sec").text.slice(0, -1);
    const token = generateCredential("tok").text;
    for (const [text, words] of [
      [typo, "is a Countersign secret with a typo: its checksum is wrong."],
      [token, "is a token (cs_tok_…), and must be a producer's secret (cs_sec_…)."],
    ] as const) {
      const secretFile = await workspace.write("secret", text);
      // Nothing listens there, which is not what is told.
      const env = { PRODUCER_ID: "bot-1", OUTBOUND_SERVER_URL: "http://127.0.0.1:1" };
      const options = { env, input: BODY, cwd: workspace.path };
      const { code, stdout, stderr } = await run([...args, "--secret-file", secretFile], options);
      expect([code, stdout]).toEqual([2, ""]);
      expect(stderr).toMatch(/^countersign: [^\n]+\n$/);
      expect(stderr).toContain(words);
      expect(stderr).not.toContain(text);
    }
  });

  it("is no option, and in no list of processes", async () => {
    const refused = await run(["sign", "--body", "-", "--secret", SECRET]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain("unknown option '--secret'");

    const secretFile = await workspace.write("secret", SECRET);
    const child = start([...SIGN, "--secret-file", secretFile], { env: { PRODUCER_ID: "bot-1" } });
    const commandLine = await readFile(`/proc/${child.pid}/cmdline`, "utf8");
    child.stdin?.end(BODY);
    expect(commandLine).toContain("--secret-file");
    expect(commandLine).not.toContain(SECRET);
  });
});

describe("a file of variables", () => {
  it("may begin with a byte order mark, and a value that is cut at # is told of", async () => {
    const whole = `${SECRET}#with-a-hash`;
    const expected = await run(SIGN, {
      env: { PRODUCER_ID: "bot-1", HMAC_PRODUCER_SECRET: whole },
      input: BODY,
    });
    const content = `\ufeffPRODUCER_ID=bot-1\r\nexport HMAC_PRODUCER_SECRET="${whole}" # mine\r\n`;
    const quoted = await workspace.write("quoted.env", content);
    // An empty variable counts as unset, so the file's wins.
    const env = { HMAC_PRODUCER_SECRET: "" };
    expect(await sign(["--env-file", quoted], env)).toEqual(expected);

    const cut = await workspace.write("cut.env", content.replaceAll('"', ""));
    const { code, stdout, stderr } = await sign(["--env-file", cut]);
    expect(code).toBe(0);
    expect(stdout).not.toBe(expected.stdout);
    expect(stderr).toBe(
      `countersign: --env-file ${cut}: the value of HMAC_PRODUCER_SECRET ends before its first #, ` +
        "since outside of quotes a # begins a comment. If it belongs to the value, put the value in quotes.\n",
    );
  });

  it("of the local server's producer is read in the same way", async () => {
    const DATA_DIR = path.join(workspace.path, "marked");
    await mkdir(DATA_DIR);
    const content = `\ufeffPRODUCER_ID=local-bot\nHMAC_PRODUCER_SECRET=${SECRET}#x\n`;
    await workspace.write(path.join("marked", "producer.env"), content);
    const { code, stderr } = await sign([], { DATA_DIR });
    expect(code).toBe(0);
    expect(stderr).toContain("the value of HMAC_PRODUCER_SECRET ends before its first #");
    expect(stderr).toContain("signing as local-bot");
  });

  it.each([
    ["A=x#y", ["A"]],
    ["A=#x", ["A"]],
    ["export A = x#", ["A"]],
    ["A=one two#three", ["A"]],
    ["A=x # y", []],
    ["A= # y", []],
    ["A=x # y#z", []],
    ["A='x#y'", []],
    ['A="x#y"', []],
    ["#A=x#y", []],
    ["A=x#y\nA=z", []],
    ['B="\nA=x#y\n"', []],
  ])("%j is cut for %j", (text, names) => {
    expect(namesCutAtHash(text, parseEnv(text))).toEqual(names);
  });
});

it("leaves a server that was asked for where the local producer signs", () => {
  const local = { PRODUCER_ID: "bot", HMAC_PRODUCER_SECRET: SECRET, OUTBOUND_SERVER_URL: "here" };
  const wanted = { OUTBOUND_SERVER_URL: "https://signals.example.com" };
  expect(withLocalProducer(wanted, local, "file")).toEqual({ ...local, ...wanted });
  expect(withLocalProducer({}, local, "file")).toEqual(local);
});
