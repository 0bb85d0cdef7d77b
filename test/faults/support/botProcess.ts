/**
 * Starts the bot of the drills, gives it orders, and reads what it says: ledger, log and
 * metrics. All lives of one bot share an outbox, a ledger and a log, as after a reboot.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { coverageEnv } from "../../support/processCoverage.ts";
import { TEST_PRODUCER_ID, TEST_SECRET } from "../../support/server.ts";
import { BOT_TOKEN, CHAT_ID } from "../../support/telegram.ts";
import { Ledger, type LedgerEvent, type Order } from "./botLedger.ts";

const BOT = fileURLToPath(new URL("./bot.ts", import.meta.url));
const POLL_MS = 2;

/** Where a bot finds the world. */
export interface BotSurroundings {
  readonly serverUrl: string;
  /** Of the stand-in for Telegram. */
  readonly telegramUrl: string;
  readonly webhookUrl: string;
}

/** One bot over all its lives. */
export class Bot {
  readonly #folder = mkdtempSync(join(tmpdir(), "countersign-bot-"));
  readonly #surroundings: BotSurroundings;
  readonly #ledger = new Ledger();
  readonly #ledgerFile: number;
  #unread = "";
  #readTo = 0;

  constructor(surroundings: BotSurroundings) {
    this.#surroundings = surroundings;
    closeSync(openSync(this.#ledgerPath, "w"));
    this.#ledgerFile = openSync(this.#ledgerPath, "r");
  }

  get outboxPath(): string {
    return join(this.#folder, "signals.outbox");
  }

  /** What the ledger says now. It is read on from where it was read to; all of it is ASCII. */
  get ledger(): Ledger {
    const chunk = Buffer.alloc(65_536);
    for (;;) {
      const length = readSync(this.#ledgerFile, chunk, 0, chunk.length, this.#readTo);
      if (length === 0) return this.#ledger;
      this.#readTo += length;
      const lines = (this.#unread + chunk.toString("ascii", 0, length)).split("\n");
      this.#unread = lines.pop() ?? "";
      for (const line of lines) this.#ledger.read(JSON.parse(line) as LedgerEvent);
    }
  }

  /** All that its lives wrote to standard output and standard error. */
  get log(): string {
    return readFileSync(this.#logPath, "utf8");
  }

  /** The lines of the log. */
  get logLines(): Record<string, unknown>[] {
    const lines = this.log.split("\n").filter((line) => line !== "");
    return lines.map((line) => JSON.parse(line));
  }

  /**
   * Starts a life. It begins to deliver what the outbox holds.
   *
   * @param timeoutMs how long an attempt may take.
   */
  start(timeoutMs: number): BotLife {
    const { serverUrl, telegramUrl, webhookUrl } = this.#surroundings;
    const [log, ledger] = [openSync(this.#logPath, "a"), openSync(this.#ledgerPath, "a")];
    const child = spawn(process.execPath, [BOT], {
      env: {
        PATH: process.env.PATH,
        ...coverageEnv(),
        OUTBOX_PATH: this.outboxPath,
        ATTEMPT_TIMEOUT_MS: String(timeoutMs),
        OUTBOUND_SERVER_URL: serverUrl,
        PRODUCER_ID: TEST_PRODUCER_ID,
        HMAC_PRODUCER_SECRET: TEST_SECRET,
        TELEGRAM_API_ROOT: telegramUrl,
        TELEGRAM_BOT_TOKEN: BOT_TOKEN,
        TELEGRAM_CHAT_ID: CHAT_ID,
        ALERT_WEBHOOK_URL: webhookUrl,
      },
      stdio: ["pipe", log, log, ledger],
    });
    closeSync(log);
    closeSync(ledger);
    return new BotLife(this, child);
  }

  /** Removes all that it left. */
  remove(): void {
    closeSync(this.#ledgerFile);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #logPath(): string {
    return join(this.#folder, "bot.log");
  }

  get #ledgerPath(): string {
    return join(this.#folder, "ledger");
  }
}

/** A bot from its start to its end. */
export class BotLife {
  readonly #bot: Bot;
  readonly #child: ChildProcess;
  readonly #eventsBefore: number;

  constructor(bot: Bot, child: ChildProcess) {
    this.#bot = bot;
    this.#child = child;
    this.#eventsBefore = bot.ledger.events.length;
    // An order to one that was killed just before is lost with it.
    child.stdin?.on("error", () => undefined);
  }

  give(order: Order): void {
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`);
  }

  /** Waits for an event of this life. @throws Error if it does not come in time, or cannot. */
  async event<Name extends LedgerEvent["event"]>(
    name: Name,
    timeoutMs: number,
  ): Promise<Extract<LedgerEvent, { event: Name }>> {
    const find = () =>
      this.#bot.ledger.events.slice(this.#eventsBefore).find(({ event }) => event === name);
    await this.until(() => find() !== undefined, timeoutMs, name);
    return find() as Extract<LedgerEvent, { event: Name }>;
  }

  /** Waits until something holds. @throws Error if it does not in time, or the bot has ended. */
  async until(holds: () => boolean, timeoutMs: number, what: string): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    for (;;) {
      const isOver = this.hasEnded || performance.now() > endMs;
      if (holds()) return;
      if (isOver) throw new Error(`The bot never came to this: ${what}. Its log: ${this.#bot.log}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** What its metrics say now. */
  async scrape(): Promise<string> {
    const { metricsUrl } = await this.event("ready", START_TIMEOUT_MS);
    return (await fetch(metricsUrl)).text();
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Ends it well. @returns the exit code. */
  async close(): Promise<number | null> {
    this.#child.stdin?.end();
    return this.#end();
  }

  /** Ends it by `kill -9`, unless it has ended. @throws Error if it had ended otherwise. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    const code = await this.#end();
    if (code !== null) throw new Error(`The bot ended with ${code}. Its log: ${this.#bot.log}`);
  }

  /** @returns the exit code; null if it was killed. */
  async #end(): Promise<number | null> {
    if (!this.hasEnded) await once(this.#child, "exit");
    return this.#child.exitCode;
  }
}

const START_TIMEOUT_MS = 20_000;
