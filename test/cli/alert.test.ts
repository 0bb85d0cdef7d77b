import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { listen } from "../support/listen.ts";
import {
  BOT_TOKEN,
  CHAT_ID,
  refusal,
  startTelegram,
  type TelegramServer,
  tooManyRequests,
} from "../support/telegram.ts";
import { jsonLines, run, runProcess, Workspace } from "./support/run.ts";

let telegram: TelegramServer;
beforeAll(async () => {
  telegram = await startTelegram();
});
afterAll(() => telegram[Symbol.asyncDispose]());
beforeEach(() => telegram.heal());

/** Tests the channels of an environment. No secret of it is ever printed. */
async function alertTest(env: NodeJS.ProcessEnv, args: readonly string[] = []) {
  const result = await run(["alert", "test", ...args], { env });
  expect(result.stdout + result.stderr).not.toMatch(/planted/);
  return result;
}

function telegramEnv(overrides: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return {
    TELEGRAM_BOT_TOKEN: BOT_TOKEN,
    TELEGRAM_CHAT_ID: CHAT_ID,
    TELEGRAM_API_ROOT: telegram.url,
    ...overrides,
  };
}

/** A webhook that answers by this status. */
async function startWebhook(status: number) {
  const posts: unknown[] = [];
  const server = createServer(async (request, response) => {
    posts.push(await json(request));
    response.writeHead(status).end();
  });
  const listening = await listen(server);
  return { ...listening, url: `${listening.url}/planted`, posts };
}

it("sends a test over every channel of an environment file, and says that all is well", async () => {
  await using webhook = await startWebhook(200);
  await using workspace = new Workspace();
  const variables = telegramEnv({ ALERT_WEBHOOK_URL: webhook.url });
  const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}\n`);
  const file = await workspace.write("bot.env", lines.join(""));
  expect(await runProcess(["alert", "test", "--env-file", file])).toEqual({
    code: 0,
    stdout: "CHANNEL   OUTCOME\ntelegram  sent\nwebhook   sent\n",
    stderr: "",
  });
  expect(telegram.messages.at(-1)?.text).toMatch(
    /^Message from the bot \(.+\)\n\nThis is a test\./,
  );
  expect(webhook.posts).toMatchObject([
    { kind: "owner", text: expect.stringMatching(/^This is a test/) },
  ]);
});

it("tells a channel that refuses from one that is not there, and which of them works", async () => {
  await using webhook = await startWebhook(503);
  const env = telegramEnv({ ALERT_WEBHOOK_URL: webhook.url });

  const unavailable = await alertTest(env, ["--json"]);
  expect(unavailable.code).toBe(3);
  expect(jsonLines(unavailable.stdout)).toEqual([
    { channel: "telegram", outcome: "sent" },
    {
      channel: "webhook",
      outcome: "unavailable",
      reason: "UNAVAILABLE",
      message: "[UNAVAILABLE] The webhook answered 503.",
    },
  ]);

  telegram.fail(refusal(401, `Unauthorized ${BOT_TOKEN}`));
  const refused = await alertTest(env);
  expect(refused.code).toBe(1);
  expect(refused.stdout).toBe("CHANNEL   OUTCOME\ntelegram  refused\nwebhook   unavailable\n");
  expect(refused.stderr).toContain("countersign: telegram: [REFUSED] Telegram answered 401");
  expect(refused.stderr).toContain("See that TELEGRAM_BOT_TOKEN is right");
});

it("does not wait for a channel that asks for patience", async () => {
  const calls = telegram.calls;
  telegram.fail(tooManyRequests(30));
  const { code, stderr } = await alertTest(telegramEnv());
  expect(code).toBe(3);
  expect(stderr).toContain("Too Many Requests: retry after 30");
  expect(telegram.calls).toBe(calls + 1);
});

it.each([
  [
    {},
    "No channel is configured. Set TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID, or ALERT_WEBHOOK_URL.",
  ],
  [{ TELEGRAM_BOT_TOKEN: BOT_TOKEN }, "TELEGRAM_CHAT_ID is required with TELEGRAM_BOT_TOKEN"],
  [{ ALERT_WEBHOOK_URL: "http://example.com/planted" }, "ALERT_WEBHOOK_URL must be https"],
])("ends with 2 and sends nothing if the configuration is wrong: %#", async (env, told) => {
  const { code, stdout, stderr } = await alertTest(env);
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain(told);
});
