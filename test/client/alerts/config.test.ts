import { describe, expect, it } from "vitest";
import { alertOptionsFromEnv, createAlerts, HiddenText } from "../../../src/client/index.ts";
import { memoryLogger, shown } from "../../alerts/support.ts";
import { BOT_TOKEN, CHAT_ID } from "../../support/telegram.ts";
import { problemsOf } from "../support/problems.ts";

const complete = {
  TELEGRAM_BOT_TOKEN: BOT_TOKEN,
  TELEGRAM_CHAT_ID: CHAT_ID,
  ALERT_WEBHOOK_URL: "https://hooks.example.com/planted-path-secret",
};

const wrongOf = (env: Record<string, string | undefined>) =>
  problemsOf(() => alertOptionsFromEnv(env));

it("reads every variable", () => {
  const env = { ...complete, TELEGRAM_API_ROOT: "https://bots.example.com/api/", UNRELATED: "x" };
  const options = alertOptionsFromEnv(env, "host-1");
  expect(options).toEqual({
    telegram: {
      botToken: expect.any(HiddenText),
      chatId: CHAT_ID,
      apiRoot: "https://bots.example.com/api",
      host: "host-1",
    },
    webhook: { url: expect.any(HiddenText), host: "host-1" },
  });
  expect(shown(options)).not.toMatch(/planted/);
  expect(Object.values(new HiddenText("planted"))).toEqual([]);
  expect(alertOptionsFromEnv(complete).telegram?.apiRoot).toBe("https://api.telegram.org");
});

it("makes options that createAlerts takes", async () => {
  await createAlerts({ ...alertOptionsFromEnv(complete), logger: memoryLogger() }).close();
  await createAlerts({ ...alertOptionsFromEnv({}), logger: memoryLogger() }).close();
});

it("needs none of them, and takes an empty one for none", () => {
  const empty = {
    TELEGRAM_BOT_TOKEN: "",
    TELEGRAM_CHAT_ID: "",
    TELEGRAM_API_ROOT: "",
    ALERT_WEBHOOK_URL: "",
  };
  for (const env of [{}, empty]) expect(alertOptionsFromEnv(env)).toEqual({});
});

it("takes token and chat together or not at all", () => {
  expect(wrongOf({ ...complete, TELEGRAM_CHAT_ID: "" })).toEqual(["TELEGRAM_CHAT_ID"]);
  expect(wrongOf({ ...complete, TELEGRAM_BOT_TOKEN: undefined })).toEqual(["TELEGRAM_BOT_TOKEN"]);
});

describe("each variable", () => {
  it.each([
    [
      "TELEGRAM_BOT_TOKEN",
      [BOT_TOKEN, `1:${"a".repeat(35)}`],
      ["planted", "1:planted", ` ${BOT_TOKEN}`, `${BOT_TOKEN}/`, `bot${BOT_TOKEN}`],
    ],
    [
      "TELEGRAM_CHAT_ID",
      ["1", "-1001234567890", "@alerts_channel"],
      ["planted", "1.5", "@", " 1", "+1", "1e3", "https://t.me/planted"],
    ],
    [
      "TELEGRAM_API_ROOT",
      ["https://example.com", "http://127.0.0.1:8081/"],
      [
        "http://planted.example.com",
        "planted",
        "https://example.com?planted",
        "https://planted:x@example.com",
      ],
    ],
    [
      "ALERT_WEBHOOK_URL",
      ["https://example.com/a?b=c", "http://localhost:1/x"],
      [
        "http://planted.example.com",
        "planted",
        "https://planted:x@example.com",
        "https://example.com/#planted",
      ],
    ],
  ])("%s is held to its rule, and never shown", (name, right, wrong) => {
    for (const value of right) expect(wrongOf({ ...complete, [name]: value }), value).toEqual([]);
    for (const value of wrong) {
      expect(wrongOf({ ...complete, [name]: value }), value).toEqual([name]);
      const read = () => alertOptionsFromEnv({ ...complete, [name]: value });
      expect(read).not.toThrow("planted");
      expect(read).toThrow(new RegExp(`^The alerts' configuration is wrong: ${name} must [^A-Z]`));
    }
  });
});

it("names every wrong variable at once", () => {
  const wrong = { TELEGRAM_BOT_TOKEN: "x", TELEGRAM_API_ROOT: "x", ALERT_WEBHOOK_URL: "x" };
  expect(wrongOf(wrong).sort()).toEqual([...Object.keys(wrong), "TELEGRAM_CHAT_ID"].sort());
});
