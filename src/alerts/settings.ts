/**
 * The rules of the settings of channels, which options and environment have in common. No
 * problem that is found with a secret repeats any of it.
 */
import { inspect } from "node:util";
import { z } from "zod";
import { parseServerUrl, transportRule } from "./peer.ts";

/** Where Telegram's own Bot API is. */
const TELEGRAM_API_ROOT = "https://api.telegram.org";

/** The shape of all tokens that BotFather gives out. What fits it needs no escaping in a URL. */
const BOT_TOKEN = /^[0-9]{1,20}:[A-Za-z0-9_-]{20,100}$/;
const CHAT_ID = /^(-?[0-9]{1,20}|@[A-Za-z][A-Za-z0-9_]{3,31})$/;

const REDACTED = "[redacted]";

/**
 * A text that must be sent as it is and never be seen, such as a bot token. Strings, JSON
 * and inspection give `[redacted]`.
 */
export class HiddenText {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The text itself, for the one who sends it. */
  reveal(): string {
    return this.#text;
  }

  /** Always `[redacted]`. */
  toString(): string {
    return REDACTED;
  }

  /** Always `[redacted]`. */
  toJSON(): string {
    return REDACTED;
  }

  /** Always `[redacted]`. */
  [inspect.custom](): string {
    return REDACTED;
  }
}

/** A text to hide, or one that is hidden already, if it holds a rule. */
function hidden(ruleBrokenBy: (text: string) => string | undefined) {
  return z.unknown().transform((value, context) => {
    const text = value instanceof HiddenText ? value.reveal() : value;
    const rule = typeof text === "string" ? ruleBrokenBy(text) : "must be text";
    if (typeof text === "string" && rule === undefined) return new HiddenText(text);
    const message = value === undefined ? "is required" : String(rule);
    context.issues.push({ code: "custom", message, input: undefined });
    return z.NEVER;
  });
}

/** The token of a bot. */
export const botToken = hidden((text) =>
  BOT_TOKEN.test(text) ? undefined : "must be a token as BotFather gives it: digits, a colon, text",
);

/** The chat that a bot writes to. */
export const chatId = z
  .union([z.string(), z.int()], "is required, as a number or as @name of a channel")
  .transform(String)
  .refine((text) => CHAT_ID.test(text), "must be a number, or @name of a channel");

/** Where the Bot API is, without a slash at the end. */
export const apiRoot = z
  .string("must be text")
  .transform((text, context) => {
    const verdict = parseServerUrl(text);
    if (verdict.valid) return verdict.baseUrl.replace(/\/+$/, "");
    context.issues.push({ code: "custom", message: verdict.rule, input: undefined });
    return z.NEVER;
  })
  .default(TELEGRAM_API_ROOT);

/** The URL of a webhook. Its path and query often hold a secret, so all of it is one. */
export const webhookUrl = hidden((text) => {
  const rule = transportRule(text);
  return rule === undefined && text.includes("#") ? "must have no fragment" : rule;
});
