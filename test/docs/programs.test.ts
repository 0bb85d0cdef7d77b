/**
 * Runs the programs and commands of docs/producers.md, docs/quickstart.md and the README as a
 * reader runs them.
 */
import {
  mkdir,
  mkdtempDisposable,
  readdir,
  readFile,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseEnv } from "node:util";
import postgres from "postgres";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { createOutbox, createSignalClient, SignalError } from "../../src/client/index.ts";
import { SIGNAL, silent, unreachable } from "../client/outbox/support.ts";
import { hasTool, type Outcome, ROOT, run } from "../interop/support/command.ts";
import { type Interop, startInterop } from "../interop/support/server.ts";
import { TEST_PRODUCER_ID, TEST_SECRET } from "../support/server.ts";
import { BOT_TOKEN, CHAT_ID, startTelegram } from "../support/telegram.ts";
import { codeBlock, pageText } from "./page.ts";

const page = pageText("docs/producers.md");
const quickstart = pageText("docs/quickstart.md");
const readme = pageText("README.md");

/** The only block of producers.md in a language that holds a text. */
function block(language: string, text: string): string {
  return codeBlock(page, language, text);
}

let interop: Interop;
beforeAll(async () => {
  interop = await startInterop();
});
afterAll(() => interop[Symbol.asyncDispose]());

/** A folder as a reader's project is, in which the package is this repository. */
let folder: string;
let producer: Readonly<Record<string, string>>;
beforeEach(async () => {
  const made = await mkdtempDisposable(join(tmpdir(), "countersign-page-"));
  onTestFinished(() => made.remove());
  folder = made.path;
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  producer = {
    PRODUCER_ID: TEST_PRODUCER_ID,
    HMAC_PRODUCER_SECRET: TEST_SECRET,
    OUTBOUND_SERVER_URL: interop.url,
  };
});

/** Runs a program of the page. */
async function runProgram(code: string, env: Record<string, string> = {}): Promise<Outcome> {
  const client = fileURLToPath(new URL("../../src/client/index.ts", import.meta.url));
  const file = join(folder, "bot.ts");
  await writeFile(file, code.replace(`"countersign-client"`, JSON.stringify(client)));
  return runIn(`exec node ${file}`, { ...producer, ...env });
}

/** Runs commands of the page. */
function runIn(commands: string, env: Record<string, string> = {}): Promise<Outcome> {
  const npx = `npx() { [ "$1" != -- ] || shift; shift; node -- '${ROOT}src/cli/main.ts' "$@"; }`;
  return run("sh", ["-euc", `cd '${folder}'\n${npx}\n${commands}`], { env });
}

/** Runs commands that are meant for a clone of this repository, beside a server that runs. */
async function runInClone(commands: string, env: Record<string, string> = {}): Promise<Outcome> {
  for (const entry of await readdir(ROOT)) {
    if (entry.startsWith(".git") || entry === ".countersign" || entry === "node_modules") continue;
    await symlink(join(ROOT, entry), join(folder, entry));
  }
  await mkdir(join(folder, ".countersign"));
  await writeProducerFile(".countersign/producer.env");
  return run("sh", ["-euc", `cd '${folder}'\n${commands}`], { env });
}

/** @returns the path of a file with the producer's variables in the test's folder. */
async function writeProducerFile(name: string): Promise<string> {
  const file = join(folder, name);
  const lines = Object.entries(producer).map(([name, value]) => `${name}=${value}\n`);
  await writeFile(file, lines.join(""));
  return file;
}

describe("the programs", () => {
  it("keep a signal on disk and deliver it, once however often it is decided", async () => {
    const code = block("ts", "outbox.enqueue(");
    const offline = await runProgram(code, { OUTBOUND_SERVER_URL: "http://127.0.0.1:1" });
    expect([offline.code, offline.stdout]).toEqual([0, ""]);
    expect(offline.stderr).toContain("UNREACHABLE");
    for (const _ of ["after the outage", "and once more"]) {
      expect(await runProgram(code)).toEqual({ code: 0, stdout: "", stderr: "" });
    }
    const key = "breakout-GOLD-2026-11-22T14:00";
    const rows = (await interop.all()).filter(({ idempotencyKey }) => idempotencyKey === key);
    expect(rows).toHaveLength(1);
  });

  it("tell a person", async () => {
    await using telegram = await startTelegram();
    const { code, stderr } = await runProgram(block("ts", "sendOwnerAlert("), {
      TELEGRAM_BOT_TOKEN: BOT_TOKEN,
      TELEGRAM_CHAT_ID: CHAT_ID,
      TELEGRAM_API_ROOT: telegram.url,
    });
    expect([code, stderr]).toEqual([0, ""]);
    expect(telegram.messages).toMatchObject([
      { text: expect.stringContaining("The strategy has started.") },
    ]);
  });

  it("have the right types", async () => {
    const programs = [...(quickstart + page).matchAll(/^```ts\n(.*?)^```$/gms)];
    expect(programs).toHaveLength(1 + 3);
    for (const [index, [, code = ""]] of programs.entries()) {
      await writeFile(join(folder, `program${index}.ts`), code);
    }
    const tsconfig = {
      extends: join(ROOT, "tsconfig.json"),
      compilerOptions: {
        noUnusedLocals: false,
        paths: { "countersign-client": [join(ROOT, "src/client/index.ts")] },
      },
      include: ["*.ts"],
    };
    await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }));
    await writeFile(join(folder, "tsconfig.json"), JSON.stringify(tsconfig));
    expect(await run("tsc", ["-p", folder])).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  it("serve metrics", async () => {
    const code = block("ts", "server.listen(").replace("9464", "0");
    const scrape = `
      await new Promise((resolve) => server.once("listening", resolve));
      console.log(await (await fetch("http://127.0.0.1:" + server.address().port)).text());
      server.close().closeAllConnections();
      await outbox.close();`;
    const { stdout, stderr } = await runProgram(code + scrape);
    expect(stderr).toBe("");
    expect(stdout).toContain("signals_outbox_depth 0");
  });
});

describe("the commands", () => {
  it("make credentials that a server and a client take, and nobody else may read", async () => {
    expect(await runIn(block("sh", "openssl rand"))).toMatchObject({ code: 0, stderr: "" });
    const file = join(folder, "gold-bot.env");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const env = parseEnv(await readFile(file, "utf8"));
    expect(env).toMatchObject({ PRODUCER_ID: "gold-bot" });
    expect(Buffer.from(env.HMAC_PRODUCER_SECRET ?? "", "base64")).toHaveLength(32);
    await using own = await startInterop(env);
    const code = codeBlock(quickstart, "ts", "client.ingest(");
    const { stdout } = await runProgram(code, { ...env, OUTBOUND_SERVER_URL: own.url });
    expect(stdout).toMatch(/^stored /);
  });

  it("look into the outbox of a bot at work, and deal with its dead letters", async () => {
    const fail = () => Promise.reject(new SignalError("INVALID_SIGNAL", "wrong"));
    const client = { ...unreachable, ingest: fail };
    const path = join(folder, "signals.outbox");
    await using outbox = createOutbox({ path, client, logger: silent });
    for (const idempotencyKey of ["gold-1", "gold-2", "gold-3"]) {
      await outbox.enqueue(SIGNAL, { idempotencyKey });
      expect(await outbox.flush(5_000)).toBe(true);
    }
    Object.assign(client, unreachable);

    const { code, stdout, stderr } = await runIn(block("sh", "outbox status"));

    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^dead letters +3$/m);
    expect(stdout.split("\n").slice(-4)).toEqual([
      "gold-1 will be delivered",
      "gold-2 dropped",
      "gold-3 dropped",
      "",
    ]);
    await expect
      .poll(() => outbox.status(), { timeout: 5_000 })
      .toMatchObject({
        pending: 1,
        deadLetters: 0,
      });
    expect((await readFile(join(folder, "dead.ndjson"), "utf8")).trim().split("\n")).toHaveLength(
      3,
    );
  });

  it("find out whether an expired signal was stored, and store none by that", async () => {
    const now = Date.now();
    const signal = { ...SIGNAL, signalTime: new Date(now), expireTime: new Date(now + 1_500) };
    const { HMAC_PRODUCER_SECRET: secret = "", PRODUCER_ID: producerId = "" } = producer;
    await using client = createSignalClient({ serverUrl: interop.url, producerId, secret });
    await client.ingest(signal, { idempotencyKey: "stored-before" });
    const path = join(folder, "signals.outbox");
    await using outbox = createOutbox({ path, client: unreachable, logger: silent });
    for (const idempotencyKey of ["stored-before", "never-stored"]) {
      await outbox.enqueue(signal, { idempotencyKey });
    }
    expect(await outbox.flush(10_000)).toBe(true);

    await writeProducerFile("gold-bot.env");
    const { code, stdout } = await runIn(block("sh", "| npx -- countersign send"));

    expect(code).toBe(1);
    expect(stdout).toMatch(/duplicate.*\n.*SIGNAL_EXPIRED/s);
    const keys = (await interop.all()).map(({ idempotencyKey }) => idempotencyKey);
    expect(keys).toContain("stored-before");
    expect(keys).not.toContain("never-stored");
  });

  it("run the whole bot", async () => {
    const env = { OUTBOX_FILE: join(folder, "signals.outbox"), METRICS_PORT: "0" };
    const { code, stdout } = await runInClone(block("sh", "examples/bot.ts"), env);
    expect(code).toBe(0);
    expect(stdout).toMatch(/"outcome":"stored"/);
  });

  it("try the channels of alerts", async () => {
    await using telegram = await startTelegram();
    const variables = `TELEGRAM_BOT_TOKEN=${BOT_TOKEN}\nTELEGRAM_CHAT_ID=${CHAT_ID}\nTELEGRAM_API_ROOT=${telegram.url}\n`;
    await writeFile(join(folder, "gold-bot.env"), variables);
    const { code, stdout } = await runIn(block("sh", "alert test"));
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^telegram +sent$/m)]);
    expect(telegram.messages).toHaveLength(1);
  });
});

describe("the quickstart", () => {
  it.each([
    ["command line", "npx countersign send", /^stored /m, []],
    ["TypeScript example", "examples/producer.ts", /^stored /, []],
    ["Python example", "examples/producer.py", /^stored /, ["python3"]],
    ["curl", "curl -sS", /"status":"received"/, ["curl"]],
  ] as const)("sends a signal by the %s", async (_, text, answer, tools) => {
    if (!tools.every(hasTool)) return;
    const before = (await interop.all()).length;
    const { code, stdout } = await runInClone(codeBlock(quickstart, "sh", text));
    expect([code, stdout]).toEqual([0, expect.stringMatching(answer)]);
    expect(await interop.all()).toHaveLength(before + 1);
  });

  it("sends a signal by a program of one's own, and tells why one is refused", async () => {
    const code = codeBlock(quickstart, "ts", "client.ingest(");
    const sent = await runProgram(code);
    expect([sent.code, sent.stderr]).toEqual([0, ""]);
    expect(sent.stdout).toMatch(/^stored [0-9a-f-]{36}\n$/);
    const refused = await runProgram(code.replace("stopLoss: 1945", "stopLoss: 1955"));
    expect(refused.stderr).toMatch(/^INVALID_SIGNAL .*signal\.stop_loss/s);
  });

  it("finds it in PostgreSQL", async () => {
    const [, statement = ""] = /-c '(.*)'/.exec(codeBlock(quickstart, "sh", "psql")) ?? [];
    const sql = postgres(interop.databaseUrl, { max: 1 });
    onTestFinished(() => sql.end());
    expect(await sql.unsafe(statement)).toContainEqual(
      expect.objectContaining({ instrument: "GOLD", producer_id: TEST_PRODUCER_ID }),
    );
  });

  it("is what the README shows of it", () => {
    for (const text of ["npm start", "npx countersign send"]) {
      expect(codeBlock(readme, "sh", text)).toBe(codeBlock(quickstart, "sh", text));
    }
  });
});

it("runs every block of both pages, but those that need the internet or install a package", () => {
  const languages = [...(page + quickstart).matchAll(/^```(\w+)\n/gm)].map(([, name]) => name);
  expect(Object.groupBy(languages, String)).toMatchObject({
    // Not run are the question to Telegram, "npm ci && npm start", and "npm pack".
    sh: { length: 5 + 1 + (5 + 2) },
    ts: { length: 3 + 1 },
    // The answer to curl.
    json: { length: 1 },
  });
  expect(languages).toHaveLength(13 + 4 + 1);
});
