import { createServer, type ServerResponse } from "node:http";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  AlertError,
  type AlertSink,
  createTelegramSink,
  type TelegramOptions,
} from "../../src/client/index.ts";
import { problemsOf } from "../client/support/problems.ts";
import { listen } from "../support/listen.ts";
import { ignoreAnswers } from "../support/secrecy/watch.ts";
import {
  BOT_TOKEN,
  CHAT_ID,
  refusal,
  startTelegram,
  type TelegramServer,
  tooManyRequests,
} from "../support/telegram.ts";
import { alertOf, eventually, fakeTimers, never, shown } from "./support.ts";

const SECRET_PART = BOT_TOKEN.split(":")[1] as string;

let telegram: TelegramServer;
beforeEach(async () => {
  telegram = await startTelegram();
  fakeTimers();
});
afterEach(async () => {
  vi.useRealTimers();
  await telegram[Symbol.asyncDispose]();
});

function sinkOf(options: Partial<TelegramOptions> = {}): AlertSink {
  return createTelegramSink({
    botToken: BOT_TOKEN,
    chatId: CHAT_ID,
    apiRoot: telegram.url,
    ...options,
  });
}

/** Sends an alert that fails. @returns the error, which shows no token. */
async function failureOf(sink: AlertSink, signal = never()): Promise<AlertError> {
  const error = await sink.send(alertOf(), signal).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(AlertError);
  expect(shown(error)).not.toContain(SECRET_PART.slice(0, 8));
  return error as AlertError;
}

describe("a message", () => {
  it("has title, host, text and time, and shows every character as it is", async () => {
    const text = `<b>5 & 6</b> &amp; "quoted" _*[]()~\`>#+-=|{}.!\\ 😀\nnext line`;
    await sinkOf({ host: "bot<1>" }).send(alertOf(text, { kind: "delivery_failed" }), never());
    expect(telegram.messages).toEqual([
      {
        chatId: CHAT_ID,
        isHtml: true,
        text: `Signal not delivered (bot<1>)\n\n${text}\n\n2025-10-25 14:30:45 UTC`,
      },
    ]);
  });

  it("goes to a channel by its name, or to a chat by a number", async () => {
    await using named = await startTelegram("@alerts_channel");
    await sinkOf({ chatId: "@alerts_channel", apiRoot: named.url }).send(alertOf(), never());
    await sinkOf({ chatId: Number(CHAT_ID), apiRoot: `${telegram.url}/` }).send(alertOf(), never());
    expect([named.messages.length, telegram.messages.length]).toEqual([1, 1]);
  });

  it("is sent as plain text when its markup is refused", async () => {
    telegram.fail(refusal(400, "Bad Request: can't parse entities: Unsupported start tag"));
    await sinkOf().send(alertOf("a < b & c"), never());
    expect(telegram.messages).toMatchObject([{ isHtml: false }]);
    expect(telegram.messages[0]?.text).toContain("\n\na < b & c\n\n");
    expect(telegram.calls).toBe(2);
  });

  it("follows a group that has become a supergroup", async () => {
    await using moved = await startTelegram("-100999");
    moved.fail(
      refusal(400, "Bad Request: group chat was upgraded to a supergroup chat", {
        migrate_to_chat_id: -100999,
      }),
    );
    const sink = sinkOf({ apiRoot: moved.url });
    const sent = sink.send(alertOf(), never());
    await eventually(() => moved.calls === 1 && vi.getTimerCount() > 1);
    await vi.advanceTimersByTimeAsync(10_000);
    await sent;
    expect(moved.messages).toMatchObject([{ chatId: "-100999" }]);
  });
});

describe("a passing failure", () => {
  it("that names a pause is repeated after it, not before", async () => {
    telegram.fail(tooManyRequests(7));
    const sent = sinkOf().send(alertOf(), never());
    await eventually(() => telegram.calls === 1 && vi.getTimerCount() === 2);
    await vi.advanceTimersByTimeAsync(6_999);
    expect(telegram.calls).toBe(1);
    await vi.advanceTimersByTimeAsync(10_001);
    await sent;
    expect(telegram.messages).toHaveLength(1);
  });

  it("that names a pause which is too long is not repeated", async () => {
    telegram.failAlways(tooManyRequests(3_600));
    const error = await failureOf(sinkOf());
    expect(error).toMatchObject({ reason: "RATE_LIMITED", retryAfterMs: 3_600_000 });
    expect(telegram.calls).toBe(1);
  });

  it.each([
    ["UNAVAILABLE", refusal(500, "Internal Server Error")],
    ["INVALID_RESPONSE", { status: 502, body: "<html>Bad Gateway</html>" }],
    ["INVALID_RESPONSE", { status: 200, body: "not JSON" }],
    ["INVALID_RESPONSE", { status: 200, body: "null" }],
    ["INVALID_RESPONSE", { status: 200, body: {} }],
    ["INVALID_RESPONSE", { status: 200, body: { ok: true } }],
    [
      "INVALID_RESPONSE",
      { status: 200, body: { ok: true, result: { message_id: 1, text: "x".repeat(2_000_000) } } },
    ],
    ["UNREACHABLE", "reset"],
  ] as const)("%s is repeated a few times, later and later", async (reason, fault) => {
    telegram.failAlways(fault);
    const failing = failureOf(sinkOf({ retries: 2 }));
    for (const calls of [1, 2]) {
      await eventually(() => telegram.calls === calls && vi.getTimerCount() === 2);
      await vi.advanceTimersByTimeAsync(10_000);
    }
    expect((await failing).reason).toBe(reason);
    expect(telegram.calls).toBe(3);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is repeated at another time by each process, so that they do not all come at once", async () => {
    const pausesMs: number[] = [];
    for (const random of [0.2, 0.8]) {
      vi.spyOn(Math, "random").mockReturnValue(random);
      const calls = telegram.calls;
      telegram.fail(refusal(500, "Internal Server Error"));
      const sent = sinkOf().send(alertOf(), never());
      await eventually(() => telegram.calls === calls + 1 && vi.getTimerCount() === 2);
      const startMs = Date.now();
      while (vi.getTimerCount() === 2) await vi.advanceTimersByTimeAsync(10);
      pausesMs.push(Date.now() - startMs);
      await sent;
    }
    vi.restoreAllMocks();
    // From a second, up to a half of which is left to chance, and told to the next 10 ms.
    expect(pausesMs).toEqual([900, 600]);
  });
});

describe("a server that hangs", () => {
  it("is given up after ten seconds and tried again", async () => {
    telegram.fail("hang");
    const sent = sinkOf().send(alertOf(), never());
    await eventually(() => telegram.calls === 1);
    await vi.advanceTimersByTimeAsync(9_999);
    expect(telegram.calls).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    await eventually(() => vi.getTimerCount() === 2);
    await vi.advanceTimersByTimeAsync(10_000);
    await sent;
    expect(telegram.messages).toHaveLength(1);
  });

  it("holds nothing up longer than a minute", async () => {
    telegram.failAlways("hang");
    const failing = failureOf(sinkOf({ retries: 10 }));
    await eventually(() => telegram.calls === 1);
    await vi.advanceTimersByTimeAsync(60_000);
    expect((await failing).reason).toBe("TIMEOUT");
  });

  it("is left at once when the caller gives up, also during a pause", async () => {
    const caller = new AbortController();
    telegram.fail("hang");
    const hanging = failureOf(sinkOf(), caller.signal);
    await eventually(() => telegram.calls === 1);
    caller.abort();
    expect((await hanging).reason).toBe("TIMEOUT");

    const other = new AbortController();
    telegram.fail(tooManyRequests(30));
    const pausing = failureOf(sinkOf(), other.signal);
    await eventually(() => telegram.calls === 2 && vi.getTimerCount() > 2);
    other.abort();
    expect((await pausing).reason).toBe("TIMEOUT");
    await vi.advanceTimersByTimeAsync(100_000);
    expect(telegram.calls).toBe(2);

    expect((await failureOf(sinkOf(), other.signal)).reason).toBe("TIMEOUT");
    expect(telegram.calls).toBe(2);
  });
});

it("tells a server that is not there by its code", async () => {
  const server = await listen(createServer());
  await server[Symbol.asyncDispose]();
  const error = await failureOf(sinkOf({ apiRoot: server.url, retries: 0 }));
  expect(error.message).toBe("[UNREACHABLE] Telegram cannot be reached (ECONNREFUSED).");
});

describe("a final failure", () => {
  it.each([
    [
      "another token",
      { botToken: `1:${"x".repeat(35)}` },
      "401: Unauthorized. See that TELEGRAM_BOT_TOKEN",
    ],
    ["another chat", { chatId: 1 }, "400: Bad Request: chat not found. See that TELEGRAM_CHAT_ID"],
  ])("for %s is not repeated and tells what to do", async (_, options, told) => {
    const error = await failureOf(sinkOf(options));
    expect(error.reason).toBe("REFUSED");
    expect(error.message).toContain(told);
    expect(telegram.calls).toBe(1);
  });

  it("repeats neither the token nor the lines of an answer that has them", async () => {
    telegram.fail(refusal(403, `${"x".repeat(480)}${BOT_TOKEN}`));
    await failureOf(sinkOf());
    telegram.fail(refusal(403, `no bot${BOT_TOKEN}\n\u001b[31m${SECRET_PART}`));
    const { message } = await failureOf(sinkOf());
    expect(message).toContain("403: no bot8012345678:[redacted] [31m[redacted].");
  });

  it("is a redirect, which is not followed: the text is for nobody else", async () => {
    await using other = await startTelegram();
    const location = `${other.url}/bot${BOT_TOKEN}/sendMessage`;
    const answer = (_: unknown, response: ServerResponse) => {
      response.writeHead(307, { location }).end();
    };
    const redirecting = createServer(answer);
    await using server = await listen(redirecting);
    ignoreAnswers(redirecting);
    await failureOf(sinkOf({ apiRoot: server.url, retries: 0 }));
    expect(other.calls).toBe(0);
  });
});

describe("the options", () => {
  it.each([
    [{ botToken: `1:${"x".repeat(35)}/../` }, "botToken"],
    [{ botToken: undefined }, "botToken"],
    [{ chatId: 1.5 }, "chatId"],
    [{ apiRoot: "http://example.com" }, "apiRoot"],
    [{ retries: 11 }, "retries"],
    [{ retrys: 1 }, "retrys"],
  ])("%j name the wrong one", (wrong, name) => {
    const options = { botToken: BOT_TOKEN, chatId: CHAT_ID, ...wrong } as TelegramOptions;
    expect(problemsOf(() => createTelegramSink(options))).toEqual([name]);
    expect(() => createTelegramSink(options)).not.toThrow(/xxxx/);
  });
});

it("shows its token nowhere, before and after it was used", async () => {
  const sink = sinkOf();
  expect(shown(sink)).not.toContain(SECRET_PART);
  await sink.send(alertOf(), never());
  expect(shown(sink)).not.toContain(SECRET_PART);
});
