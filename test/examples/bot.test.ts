/**
 * examples/bot.ts as it is told to be: it loses no signal through outages, its own end and
 * its being killed, and stores none twice.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from "vitest";
import { type Interop, startInterop } from "../interop/support/server.ts";
import { TEST_PRODUCER_ID, TEST_SECRET } from "../support/server.ts";
import { BOT_TOKEN, CHAT_ID, startTelegram } from "../support/telegram.ts";

const BOT = fileURLToPath(new URL("../../examples/bot.ts", import.meta.url));
const NOBODY_URL = "http://127.0.0.1:1";
const SOON = { timeout: 10_000 };

type LogLine = Readonly<Record<string, unknown>>;

let interop: Interop;
beforeAll(async () => {
  interop = await startInterop();
});
afterAll(() => interop[Symbol.asyncDispose]());

let outboxFile: string;
beforeEach(async () => {
  const folder = await mkdtempDisposable(join(tmpdir(), "countersign-bot-"));
  onTestFinished(() => folder.remove());
  outboxFile = join(folder.path, "signals.outbox");
});

/** A bot that waits for prices. */
class Bot {
  readonly log: LogLine[] = [];
  readonly #child: ChildProcess;

  constructor(env: Readonly<Record<string, string>> = {}) {
    this.#child = spawn(process.execPath, [BOT], {
      env: {
        PRODUCER_ID: TEST_PRODUCER_ID,
        HMAC_PRODUCER_SECRET: TEST_SECRET,
        OUTBOUND_SERVER_URL: interop.url,
        OUTBOX_FILE: outboxFile,
        METRICS_PORT: "0",
        ...env,
      },
      stdio: ["pipe", "pipe", "inherit"],
    });
    const { stdin, stdout } = this.#child;
    if (stdin === null || stdout === null) throw new Error("There are no pipes.");
    stdin.on("error", () => {});
    createInterface({ input: stdout }).on("line", (line) => this.log.push(JSON.parse(line)));
    onTestFinished(() => void this.#child.kill("SIGKILL"));
  }

  /** Gives it prices, which leave it waiting for more. */
  feed(lines: readonly string[]): void {
    this.#child.stdin?.write(lines.map((line) => `${line}\n`).join(""));
  }

  /** Waits for a line of its log. */
  async logged(text: string): Promise<LogLine> {
    const find = () => this.log.find((line) => JSON.stringify(line).includes(text));
    await expect.poll(find, { ...SOON, message: text }).toBeDefined();
    return find() as LogLine;
  }

  /** What its metrics say now. */
  async metrics(): Promise<string> {
    const { metrics } = await this.logged('"msg":"ready"');
    return (await fetch(`http://127.0.0.1:${Reflect.get(metrics as object, "port")}`)).text();
  }

  /** Ends it. @returns its exit code, `null` if it was killed. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.#child.kill(signal);
    return (await once(this.#child, "close"))[0];
  }
}

let minute = 0;
/** Prices that make so many signals, of moments just past. */
function prices(signals: number): string[] {
  minute += 1;
  const all = [100, 101, 102, 103, 104];
  for (let price = 110; price < 110 + signals; price++) all.push(price);
  const start = Date.now() - 1_000 * minute;
  return all.map((price, index) => {
    const time = new Date(start + index).toISOString();
    return JSON.stringify({ time, instrument: "GOLD", price });
  });
}

/** The keys of the signals that a feed makes, in order. */
function keysOf(lines: readonly string[]): string[] {
  return lines.slice(5).map((line) => `breakout-GOLD-${JSON.parse(line).time}`);
}

/** The keys of a feed that are stored, in the order of their sequence. */
async function storedKeys(lines: readonly string[]): Promise<(string | undefined)[]> {
  const keys = new Set<string | undefined>(keysOf(lines));
  const rows = await interop.all();
  return rows.map(({ idempotencyKey }) => idempotencyKey).filter((key) => keys.has(key));
}

it("keeps signals through an outage and its own end, and delivers them in order", async () => {
  const lines = prices(20);
  const offline = new Bot({ OUTBOUND_SERVER_URL: NOBODY_URL });
  offline.feed(lines);
  await expect.poll(() => offline.metrics(), SOON).toContain("signals_outbox_depth 20");
  expect(await offline.end("SIGTERM")).toBe(0);

  const online = new Bot();
  await expect.poll(() => online.metrics(), SOON).toContain("signals_outbox_delivered_total 20");
  expect(await storedKeys(lines)).toEqual(keysOf(lines));
  expect(await online.end("SIGINT")).toBe(0);
});

it("is killed, decides the same again, and has each signal stored once", async () => {
  const lines = prices(20);
  const killed = new Bot({ OUTBOUND_SERVER_URL: NOBODY_URL });
  killed.feed(lines.slice(0, 15));
  await expect.poll(() => killed.metrics(), SOON).toContain("signals_outbox_depth 10");
  expect(await killed.end("SIGKILL")).toBe(null);

  const next = new Bot();
  next.feed(lines);
  await expect.poll(() => storedKeys(lines), SOON).toEqual(keysOf(lines));
  expect(await next.end("SIGTERM")).toBe(0);
  // What it decided again was the very same.
  expect(next.log.filter(({ level }) => Number(level) > 30)).toEqual([]);
});

it("holds signals while it is switched off, and says so", async () => {
  const lines = prices(2);
  const off = new Bot({ HMAC_PRODUCER_ENABLED: "false" });
  off.feed(lines);
  await off.logged("held until a person fixes the cause");
  expect(await off.end("SIGTERM")).toBe(0);
  expect(await storedKeys(lines)).toEqual([]);

  const on = new Bot();
  await expect.poll(() => storedKeys(lines), SOON).toEqual(keysOf(lines));
  expect(await on.end("SIGTERM")).toBe(0);
});

it("tells a person of a decision that no outbox takes, and goes on", async () => {
  await using telegram = await startTelegram();
  const bot = new Bot({
    TELEGRAM_BOT_TOKEN: BOT_TOKEN,
    TELEGRAM_CHAT_ID: CHAT_ID,
    TELEGRAM_API_ROOT: telegram.url,
  });
  const lines = prices(1);
  bot.feed(["no price", "null", ...lines.map((line) => line.replace("GOLD", "gold"))]);
  bot.feed(lines);
  await expect
    .poll(() => telegram.messages.map(({ text }) => text), SOON)
    .toEqual([expect.stringMatching(/gold buy, entry 110.*instrument/s)]);
  await expect.poll(() => storedKeys(lines), SOON).toEqual(keysOf(lines));
  expect(await bot.end("SIGTERM")).toBe(0);
  expect(JSON.stringify(bot.log)).not.toContain(TEST_SECRET);
});

it("names what is wrong with its environment", async () => {
  const bot = new Bot({ OUTBOUND_SERVER_URL: "ftp://example.com", HMAC_PRODUCER_SECRET: "short" });
  await bot.logged("OUTBOUND_SERVER_URL");
  await bot.logged("HMAC_PRODUCER_SECRET");
});
