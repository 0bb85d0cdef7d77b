import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  type Alert,
  type AlertOptions,
  type AlertSink,
  type ClientLogger,
  ConfigError,
  createAlerts,
  SignalError,
} from "../../src/client/index.ts";
import { INDEX, runProgram } from "../client/support/program.ts";
import { signalInput } from "../client/support/signals.ts";
import {
  BOT_TOKEN,
  CHAT_ID,
  refusal,
  startTelegram,
  tooManyRequests,
} from "../support/telegram.ts";
import { eventually, fakeTimers, memoryLogger, shown } from "./support.ts";

const INTERVAL_MS = 300_000;
const SECOND_MS = 1_000;

beforeEach(fakeTimers);
afterEach(() => vi.useRealTimers());

/** Alerts into a sink that remembers. */
function remembered(options: Partial<AlertOptions> = {}) {
  const sent: Alert[] = [];
  const logger = memoryLogger();
  const sink: AlertSink = { name: "memory", send: async (alert) => void sent.push(alert) };
  const alerts = createAlerts({ logger, sinks: [sink], ...options });
  const texts = () => sent.map(({ text }) => text);
  // An alert that was held back says so above its text.
  const lastLines = () => texts().map((text) => text.split("\n").at(-1));
  return { alerts, sent, logger, texts, lastLines };
}

describe("of one kind", () => {
  it("the first leaves at once, and one tells of all that come before the interval ends", async () => {
    const { alerts, sent, texts } = remembered();
    await alerts.sendOwnerAlert("text 0");
    for (let i = 1; i <= 38; i += 1) {
      await vi.advanceTimersByTimeAsync(SECOND_MS);
      await alerts.sendOwnerAlert(`text ${i}`);
    }
    expect(texts()).toEqual(["text 0"]);
    await vi.advanceTimersByTimeAsync(INTERVAL_MS - 38 * SECOND_MS - 1);
    expect(sent).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(texts().slice(1)).toEqual([
      `… and 38 more of this kind since 2025-10-25 14:30:45 UTC, the last 3 of them; the log has all. They were held back. Before you act, see whether it is settled since.

2025-10-25 14:31:21 UTC: text 36

2025-10-25 14:31:22 UTC: text 37

2025-10-25 14:31:23 UTC: text 38`,
    ]);
  });

  it("what was told opens the next interval", async () => {
    const { alerts, lastLines } = remembered();
    await alerts.sendOwnerAlert("a");
    await alerts.sendOwnerAlert("b");
    await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    await alerts.sendOwnerAlert("c");
    expect(lastLines()).toEqual(["a", "b"]);
    await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    expect(lastLines()).toEqual(["a", "b", "c"]);
    await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    await alerts.sendOwnerAlert("d");
    expect(lastLines()).toEqual(["a", "b", "c", "d"]);
  });

  it("one that is held back alone says when it happened, and has its own time", async () => {
    const { alerts, sent } = remembered({ intervalMs: 10_000 });
    await alerts.sendOwnerAlert("a");
    await vi.advanceTimersByTimeAsync(3_000);
    await alerts.sendOwnerAlert("b");
    await vi.advanceTimersByTimeAsync(7_000);
    expect(sent[1]).toEqual({
      kind: "owner",
      text:
        "This happened at 2025-10-25 14:30:48 UTC and was held back. " +
        "Before you act, see whether it is settled since.\n\nb",
      time: new Date("2025-10-25T14:30:48.123Z"),
    });
  });

  it("none waits for another kind", async () => {
    const { alerts, texts } = remembered();
    await alerts.send("circuit_opened", "opened");
    await alerts.send("circuit_closed", "closed");
    await alerts.sendSignalDeliveryError(signalInput(), new SignalError("UNREACHABLE", "x"));
    await alerts.sendSignalDeliveryError(signalInput(), new SignalError("SIGNAL_EXPIRED", "x"));
    expect(texts()).toHaveLength(4);
  });

  it("those that are held back are in the log with their texts", async () => {
    const { alerts, logger } = remembered();
    await alerts.sendOwnerAlert("first text");
    await alerts.sendOwnerAlert("second text");
    expect(logger.lines.map(({ level, facts }) => [level, facts.text])).toEqual([
      ["warn", "first text"],
      ["warn", "second text"],
    ]);
  });

  it("a long text, many times, is kept short", async () => {
    const { alerts, sent } = remembered();
    for (let i = 0; i < 100; i += 1) await alerts.sendOwnerAlert("x".repeat(1_000_000));
    await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    expect(sent.map(({ text }) => text.length <= 10_000)).toEqual([true, true]);
    expect(sent[1]?.text.length).toBeLessThan(3_500);
  });
});

describe("a channel that", () => {
  it("hangs delays nobody, and is given up", async () => {
    const aborted: boolean[] = [];
    const hanging: AlertSink = {
      name: "hanging",
      send: (_, signal) =>
        new Promise(() => signal.addEventListener("abort", () => aborted.push(true))),
    };
    const other: Alert[] = [];
    const sinks = [
      hanging,
      { name: "other", send: async (alert: Alert) => void other.push(alert) },
    ];
    const logger = memoryLogger();
    const alerts = createAlerts({ logger, sinks, sendTimeoutMs: 4_000 });
    const first = alerts.send("owner", "one");
    const second = alerts.send("outbox_filling", "two");
    await vi.advanceTimersByTimeAsync(0);
    expect(other.map(({ text }) => text)).toEqual(["one", "two"]);
    await vi.advanceTimersByTimeAsync(4_000);
    await first;
    await vi.advanceTimersByTimeAsync(4_000);
    await second;
    expect(aborted).toEqual([true, true]);
    const failed = logger.lines.filter(({ level }) => level === "error");
    expect(failed.map(({ facts }) => facts)).toMatchObject([
      { channel: "hanging", text: "one", reason: "It took longer than 4000 ms." },
      { channel: "hanging", text: "two", reason: "It took longer than 4000 ms." },
    ]);
  });

  it("fails in whatever way is told in the log, with the text", async () => {
    const failures = [
      () => Promise.reject(new Error("broken")),
      () => Promise.reject(undefined),
      () => {
        throw { message: Symbol("s") };
      },
      () =>
        Promise.reject(
          new Proxy(
            {},
            {
              get() {
                throw new Error("no");
              },
            },
          ),
        ),
    ];
    for (const send of failures) {
      const { alerts, logger } = remembered({ sinks: [{ name: "failing", send }] });
      await alerts.sendOwnerAlert("the text");
      const [line] = logger.lines.filter(({ level }) => level === "error");
      expect(line?.facts).toMatchObject({ channel: "failing", kind: "owner", text: "the text" });
      expect(line?.facts.reason).toEqual(expect.stringMatching(/./));
    }
  });

  it("hangs for long has a bounded queue", async () => {
    const hanging: AlertSink = { name: "hanging", send: () => new Promise(() => {}) };
    const logger = memoryLogger();
    const alerts = createAlerts({
      logger,
      sinks: [hanging],
      intervalMs: 1,
      sendTimeoutMs: 300_000,
    });
    for (let i = 0; i < 150; i += 1) {
      void alerts.sendOwnerAlert(`text ${i}`);
      await vi.advanceTimersByTimeAsync(2);
    }
    const refused = logger.lines.filter(({ facts }) =>
      String(facts.reason).startsWith("More than 100"),
    );
    expect(refused).toHaveLength(50);
    expect(refused[0]?.facts.text).toBe("text 100");
    const closed = alerts.close();
    await vi.advanceTimersByTimeAsync(5_000);
    await closed;
    const lost = logger.lines.filter(({ facts }) => facts.reason === "The alerts were closed.");
    expect(lost).toHaveLength(100);
  });

  it("is the log and throws ends nothing", async () => {
    const fail = () => {
      throw new Error("disk full");
    };
    const logger: ClientLogger = { info: fail, warn: fail, error: fail };
    const sent: Alert[] = [];
    const sinks = [{ name: "memory", send: async (alert: Alert) => void sent.push(alert) }];
    const alerts = createAlerts({ logger, sinks });
    await alerts.sendOwnerAlert("a");
    await alerts.sendOwnerAlert("b");
    await alerts.close();
    await alerts.sendOwnerAlert("c");
    expect(sent.map(({ text }) => text)).toEqual(["a", expect.stringMatching(/\n\nb$/)]);
  });
});

describe("close", () => {
  it("sends what is held back, and takes no more", async () => {
    const { alerts, lastLines, logger } = remembered();
    await alerts.sendOwnerAlert("a");
    await alerts.sendOwnerAlert("b");
    await alerts.close();
    await alerts.close();
    await alerts.sendOwnerAlert("too late");
    await vi.advanceTimersByTimeAsync(2 * INTERVAL_MS);
    expect(lastLines()).toEqual(["a", "b"]);
    expect(logger.lines.at(-1)).toMatchObject({ level: "error", facts: { text: "too late" } });
    expect(vi.getTimerCount()).toBe(0);
  });

  it("does not wait for a channel that hangs", async () => {
    const hanging: AlertSink = { name: "hanging", send: () => new Promise(() => {}) };
    const { alerts, logger } = remembered({ sinks: [hanging], closeTimeoutMs: 2_000 });
    void alerts.send("owner", "one");
    void alerts.send("outbox_damaged", "two");
    let isClosed = false;
    const closed = alerts.close().then(() => {
      isClosed = true;
    });
    await vi.advanceTimersByTimeAsync(1_999);
    expect(isClosed).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    await closed;
    const lost = logger.lines.filter(({ facts }) => facts.reason === "The alerts were closed.");
    expect(lost.map(({ facts }) => facts.text)).toEqual(["one", "two"]);
  });
});

it("survives callers without a compiler", async () => {
  const { alerts, sent } = remembered({ intervalMs: 1 });
  for (const garbage of [
    undefined,
    null,
    7,
    Symbol("s"),
    {},
    { toString: null },
    Object.create(null),
    new Proxy(
      {},
      {
        get() {
          throw new Error("It cannot be read.");
        },
      },
    ),
    { violations: [null, 7], signalTime: new Date(Number.NaN), entryPrice: 10n ** 30n },
  ]) {
    await alerts.sendOwnerAlert(garbage as string);
    await alerts.send(garbage as "owner", garbage as string);
    await alerts.sendSignalDeliveryError(garbage as never, garbage as never);
    await vi.advanceTimersByTimeAsync(10);
  }
  expect(new Set(sent.map(({ kind }) => kind))).toEqual(new Set(["owner", "delivery_failed"]));
  expect(sent.every(({ text }) => typeof text === "string")).toBe(true);
});

it("tells which signal was not delivered and why, whatever was thrown", async () => {
  const { alerts, texts } = remembered();
  await alerts.sendSignalDeliveryError(signalInput(), "lost" as never);
  expect(texts()).toEqual([expect.stringMatching(/^GOLD buy,.*\nWhy: lost\n/s)]);
});

it("goes over Telegram and into the log together, and shows the token in neither", async () => {
  await using telegram = await startTelegram();
  const logger = memoryLogger();
  const options = { botToken: BOT_TOKEN, chatId: CHAT_ID, apiRoot: telegram.url };
  const alerts = createAlerts({ logger, telegram: options, intervalMs: 1 });
  await alerts.sendSignalDeliveryError(signalInput(), new SignalError("UNREACHABLE", "No server."));
  telegram.failAlways(refusal(401, `Unauthorized: ${BOT_TOKEN}`));
  await alerts.send("outbox_damaged", "refused");
  telegram.failAlways("reset");
  const failing = alerts.send("outbox_filling", "cut off");
  for (let calls = 3; calls <= 5; calls += 1) {
    await eventually(() => telegram.calls === calls && vi.getTimerCount() > 2);
    await vi.advanceTimersByTimeAsync(10_000);
  }
  await failing;
  expect(telegram.messages.map(({ text }) => text)).toEqual([
    expect.stringMatching(/^Signal not delivered\n\nGOLD buy, entry 4000.5/),
  ]);
  expect(logger.lines.map(({ level, facts }) => [level, facts.text])).toEqual([
    ["error", expect.stringContaining("GOLD buy")],
    ["error", "refused"],
    ["error", "refused"],
    ["warn", "cut off"],
    ["error", "cut off"],
  ]);
  const secret = BOT_TOKEN.split(":")[1];
  expect(shown(logger.lines)).not.toContain(secret);
  expect(shown(alerts)).not.toContain(secret);
  await alerts.close();
});

it.each([
  [{ intervalMs: 0 }, "intervalMs"],
  [{ intervalMs: 86_400_001 }, "intervalMs"],
  [{ sendTimeoutMs: 0 }, "sendTimeoutMs"],
  [{ closeTimeoutMs: 60_001 }, "closeTimeoutMs"],
  [{ webhok: { url: "https://example.com" } }, "webhok is not an option"],
  [{ telegramToken: "x" }, "telegramToken is not an option"],
  [{ sinks: [{ name: "deaf" }] }, "sinks.0 must be an object with a method send()"],
  [{ sinks: {} }, "sinks must be a list"],
  [{ clock: 7 }, "clock must be"],
  [{ logger: undefined }, "logger must be"],
  [{ telegram: { botToken: "x", chatId: CHAT_ID } }, "botToken"],
  [{ webhook: { url: "http://example.com" } }, "url"],
])("does not start with %j", (wrong, name) => {
  const create = () => createAlerts({ logger: memoryLogger(), ...wrong } as AlertOptions);
  expect(create).toThrow(ConfigError);
  expect(create).toThrow(name);
  expect(create).toThrow(/^The alerts' configuration is wrong: /);
});

describe("a process", () => {
  /** Runs a program that logs to its output. @returns that, and the exit code. */
  async function runLogging(program: string) {
    vi.useRealTimers();
    const prelude = `
      import { createAlerts } from ${INDEX};
      const write = (level) => (facts, message) => console.log(level, JSON.stringify(facts), message);
      const logger = { info: write("info"), warn: write("warn"), error: write("error") };`;
    const { code, stdout: log } = await runProgram(prelude + program);
    return { code, log };
  }

  it("is not kept alive by an interval", async () => {
    const { code, log } = await runLogging(`
      const alerts = createAlerts({ logger });
      alerts.sendOwnerAlert("a");
      alerts.sendOwnerAlert("b");`);
    expect(code).toBe(0);
    expect(log.split("\n")).toHaveLength(3);
  });

  it("that ends in the middle of an alert still sends it, and the rest if it is closed", async () => {
    await using telegram = await startTelegram();
    telegram.fail(refusal(500, "Internal Server Error"));
    const options = { botToken: BOT_TOKEN, chatId: CHAT_ID, apiRoot: telegram.url };
    const { code, log } = await runLogging(`
      const alerts = createAlerts({ logger, telegram: ${JSON.stringify(options)} });
      alerts.sendOwnerAlert("a");
      alerts.sendOwnerAlert("b");
      await alerts.close();`);
    expect({ code, log }).toMatchObject({ code: 0, log: expect.not.stringContaining("could not") });
    expect(telegram.messages.map(({ text }) => text.split("\n").at(-3))).toEqual(["a", "b"]);
  });

  it("that is closed does not wait for a pause that Telegram asked for", async () => {
    await using telegram = await startTelegram();
    telegram.failAlways(tooManyRequests(40));
    const options = { botToken: BOT_TOKEN, chatId: CHAT_ID, apiRoot: telegram.url };
    const { code, log } = await runLogging(`
      const telegram = ${JSON.stringify(options)};
      const alerts = createAlerts({ logger, telegram, closeTimeoutMs: 3_000 });
      alerts.sendOwnerAlert("a");
      await alerts.close();`);
    // Without an answer in time there was no pause, and nothing is proven.
    expect(telegram.calls).toBe(1);
    expect(code).toBe(0);
    expect(log).toContain("The alerts were closed.");
  });
});
