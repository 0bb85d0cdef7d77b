/**
 * Holds docs/producers.md against the code: its programs and commands are run as a reader
 * runs them, and its tables are compared with what they tell of. The programs of the README
 * are run, too.
 */
import { mkdtempDisposable, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseEnv } from "node:util";
import { Registry } from "prom-client";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { ALERT_KINDS } from "../../src/alerts/index.ts";
import { retryForError, type SignalErrorReason } from "../../src/client/errorReason.ts";
import { createOutbox, createSignalClient, SignalError } from "../../src/client/index.ts";
import { resolveClientOptions } from "../../src/client/options.ts";
import { resolveOutboxOptions } from "../../src/client/outbox/options.ts";
import { dispositionOf } from "../../src/client/outbox/policy.ts";
import { resolveRetryOptions } from "../../src/client/retry/retryOptions.ts";
import { REASONS } from "../../src/signal/index.ts";
import { SIGNAL, silent, unreachable } from "../client/outbox/support.ts";
import { hasTool, type Outcome, ROOT, run } from "../interop/support/command.ts";
import { type Interop, startInterop } from "../interop/support/server.ts";
import { TEST_PRODUCER_ID, TEST_SECRET } from "../support/server.ts";
import { BOT_TOKEN, CHAT_ID, startTelegram } from "../support/telegram.ts";

const page = await readFile(new URL("../../docs/producers.md", import.meta.url), "utf8");
const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8");

/** The only block in a language that holds a text. */
function block(language: string, text: string, source = page): string {
  const pattern = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms");
  const found = [...source.matchAll(pattern)].filter(([, code = ""]) => code.includes(text));
  expect(found, `blocks with ${text}`).toHaveLength(1);
  return found[0]?.[1] ?? "";
}

/** The rows of the table whose first title this is, as the texts of their cells. */
function table(title: string): string[][] {
  const rows = page.split(`\n| ${title} |`)[1]?.split("\n\n")[0]?.split("\n").slice(2) ?? [];
  expect(rows.length, `rows under ${title}`).toBeGreaterThan(1);
  return rows.map((row) => row.split("|").slice(1, -1).map(withoutQuotes));
}

function withoutQuotes(cell: string): string {
  return cell.trim().replaceAll("`", "");
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
  await writeFile(file, code.replace(/"countersign(-client|\/client)"/, JSON.stringify(client)));
  return runIn(`exec node ${file}`, { ...producer, ...env });
}

/** Runs commands of the page. */
function runIn(commands: string, env: Record<string, string> = {}): Promise<Outcome> {
  const countersign = `countersign() { node -- '${ROOT}src/cli/main.ts' "$@"; }`;
  return run("sh", ["-euc", `cd '${folder}'\n${countersign}\n${commands}`], { env });
}

/** Runs a block that is meant for the root of the repository. */
async function runAtRoot(commands: string, env: Record<string, string> = {}): Promise<Outcome> {
  const file = await writeProducerFile("producer.env");
  return run("sh", ["-euc", commands.replaceAll(".countersign/producer.env", file)], { env });
}

/** @returns the path of a file with the producer's variables in the test's folder. */
async function writeProducerFile(name: string): Promise<string> {
  const file = join(folder, name);
  const lines = Object.entries(producer).map(([name, value]) => `${name}=${value}\n`);
  await writeFile(file, lines.join(""));
  return file;
}

describe("the programs", () => {
  it("send a signal, and tell why one is refused", async () => {
    const code = block("ts", "client.ingest(");
    const sent = await runProgram(code);
    expect([sent.code, sent.stderr]).toEqual([0, ""]);
    expect(sent.stdout).toMatch(/^stored [0-9a-f-]{36}\n$/);
    const refused = await runProgram(code.replace("stopLoss: 1945", "stopLoss: 1955"));
    expect(refused.stderr).toMatch(/^INVALID_SIGNAL .*signal\.stop_loss/s);
  });

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

  it("of the README do the same", async () => {
    const sent = await runProgram(block("ts", "client.ingest(", readme));
    expect(sent).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^stored [0-9a-f-]{36}\n$/),
      stderr: "",
    });
    const before = (await interop.all()).length;
    const kept = await runProgram(block("ts", "outbox.enqueue(", readme));
    expect(kept).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(await interop.all()).toHaveLength(before + 1);
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
    const programs = [...(readme + page).matchAll(/^```ts\n(.*?)^```$/gms)];
    expect(programs).toHaveLength(2 + 4);
    for (const [index, [, code = ""]] of programs.entries()) {
      await writeFile(join(folder, `program${index}.ts`), code);
    }
    const tsconfig = {
      extends: join(ROOT, "tsconfig.json"),
      compilerOptions: {
        noUnusedLocals: false,
        paths: {
          "countersign/client": [join(ROOT, "src/client/index.ts")],
          "countersign-client": [join(ROOT, "src/client/index.ts")],
        },
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
    const code = block("ts", "client.ingest(");
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
    const { code, stdout } = await runIn(block("sh", "| countersign send"));

    expect(code).toBe(1);
    expect(stdout).toMatch(/duplicate.*\n.*SIGNAL_EXPIRED/s);
    const keys = (await interop.all()).map(({ idempotencyKey }) => idempotencyKey);
    expect(keys).toContain("stored-before");
    expect(keys).not.toContain("never-stored");
  });

  it("run the whole bot", async () => {
    const env = { OUTBOX_FILE: join(folder, "signals.outbox"), METRICS_PORT: "0" };
    const { code, stdout } = await runAtRoot(block("sh", "examples/bot.ts"), env);
    expect(code).toBe(0);
    expect(stdout).toMatch(/"outcome":"stored"/);
  });

  it.runIf(hasTool("python3"))("run the bot in Python", async () => {
    const { code, stdout } = await runAtRoot(block("sh", "producer.py"));
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^stored /)]);
  });

  it("try the channels of alerts", async () => {
    await using telegram = await startTelegram();
    const variables = `TELEGRAM_BOT_TOKEN=${BOT_TOKEN}\nTELEGRAM_CHAT_ID=${CHAT_ID}\nTELEGRAM_API_ROOT=${telegram.url}\n`;
    await writeFile(join(folder, "gold-bot.env"), variables);
    const { code, stdout } = await runIn(block("sh", "alert test"));
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^telegram +sent$/m)]);
    expect(telegram.messages).toHaveLength(1);
  });

  it("are all run here, but two that need the internet", () => {
    const blocks = [...page.matchAll(/^```(\w+)\n(.*)$/gm)].map(([, language]) => language);
    expect(Object.groupBy(blocks, String)).toMatchObject({
      // Not run are "npm pack" with what follows it, and the question to Telegram.
      sh: { length: 6 + 2 },
      ts: { length: 4 },
    });
    expect(blocks).toHaveLength(12);
  });
});

describe("the tables", () => {
  const client = resolveClientOptions({
    serverUrl: "http://127.0.0.1",
    producerId: TEST_PRODUCER_ID,
    secret: TEST_SECRET,
  });
  if (!client.enabled) throw new Error("The client is off.");

  it.each([
    ["option of `retry`", resolveRetryOptions({})],
    ["option of `circuitBreaker`", client.circuitBreaker],
  ])("have every %s with its default", (title, defaults) => {
    const told = table(title).map(([name, value]) => [name, value?.replaceAll(",", "")]);
    expect(told).toEqual(Object.entries(defaults).map(([name, value]) => [name, String(value)]));
  });

  it("have the defaults of client and outbox", () => {
    const outbox = resolveOutboxOptions({ path: "signals.outbox", client: unreachable });
    const [ofClient = [], ofOutbox = []] = page
      .split("\n| option |")
      .slice(1)
      .map((text) => text.split("\n\n")[0]?.split("\n").slice(2) ?? []);
    const wrong = (rows: readonly string[], defaults: object) =>
      rows
        .map((row) => row.split("|").map(withoutQuotes))
        .filter(([, name = "", value = ""]) => /^(\d|connect$|binary$)/.test(value) && name)
        .filter(
          ([, name = "", value = ""]) =>
            String(Reflect.get(defaults, name)) !== value.replaceAll(",", ""),
        );
    expect(wrong(ofClient, client)).toEqual([]);
    expect(wrong(ofOutbox, outbox)).toEqual([]);
    const names = ofOutbox.flatMap((row) => withoutQuotes(row.split("|")[1] ?? "").split(", "));
    // The clock is for tests.
    expect(new Set([...names, "clock"])).toEqual(
      new Set([...Object.keys(outbox), "logger", "registry", "alerts"]),
    );
  });

  it("tell what each reason does", () => {
    const CLIENT = {
      never: "throws",
      same_key: "repeats",
      after_delay: "repeats after the delay",
      corrected_clock: "corrects its clock, once",
    };
    const OUTBOX = {
      dead_letter: "dead letter",
      expired: "dead letter, told as expired",
      wait: "waits",
      hold: "held",
    };
    const told = table("reason | client");
    for (const [name, client, outbox] of told) {
      const reason = name as SignalErrorReason;
      const expected = [CLIENT[retryForError(reason)], OUTBOX[dispositionOf(reason)]];
      expect([client, outbox], reason).toEqual(expected);
    }
    const elsewhere = ["SCOPE_MISSING", "SIGNAL_NOT_PENDING", "CONTENT_MISMATCH"];
    const ofClient = {
      UNREACHABLE: true,
      INVALID_RESPONSE: true,
      CIRCUIT_OPEN: true,
      CANCELLED: true,
      REFUSED: true,
      UNKNOWN: true,
    } satisfies Record<Exclude<SignalErrorReason, (typeof REASONS)[number]>, true>;
    expect(new Set([...told.map(([name]) => name), ...elsewhere])).toEqual(
      new Set([...REASONS, ...Object.keys(ofClient)]),
    );
  });

  it("have every metric", async () => {
    const registry = new Registry();
    const path = join(folder, "signals.outbox");
    const { PRODUCER_ID: producerId = "", HMAC_PRODUCER_SECRET: secret = "" } = producer;
    await using made = createSignalClient({ serverUrl: interop.url, producerId, secret, registry });
    await using _ = createOutbox({ path, client: made, registry, logger: silent });
    const metrics = await registry.getMetricsAsJSON();
    expect(table("metric").map(([name, type]) => [name, type])).toEqual(
      metrics.map(({ name, type }) => [name, type]),
    );
  });

  it("have every kind of alert", () => {
    expect(table("kind").map(([kind]) => kind)).toEqual(Object.keys(ALERT_KINDS));
  });
});

it("has links that lead somewhere", async () => {
  const links = [...page.matchAll(/\]\((?!https:)([^)#]*)(?:#([^)]+))?\)/g)];
  expect(links.length).toBeGreaterThan(10);
  for (const [link, path = "", anchor] of links) {
    const target = new URL(path || "producers.md", new URL("../../docs/", import.meta.url));
    const headings = (await readFile(target, "utf8")).matchAll(/^#+ (.*)$/gm);
    const anchors = [...headings].map(([, text = ""]) => text.toLowerCase().replaceAll(" ", "-"));
    if (anchor !== undefined) expect(anchors, link).toContain(anchor);
  }
});
