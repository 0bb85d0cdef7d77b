/**
 * The channel to a chat of Telegram.
 *
 * The bot's token is a part of every URL of the Bot API, and grammY's `HttpError` holds the
 * error of the socket, whose message shows that URL. So no error of the library leaves this
 * file: what is known is told by an `AlertError` in words of our own.
 */
import type { GrammyError, HttpError } from "grammy";
import { ALERT_KINDS, type Alert, AlertError, type AlertSink } from "./alert.ts";
import { errorCode } from "./peer.ts";
import { noAnswer, withRetries } from "./retries.ts";
import type { HiddenText } from "./settings.ts";
import { cutText, describeUnknown, formatUtc, textOf } from "./text.ts";

/** How to reach a chat of Telegram. */
export interface TelegramSettings {
  readonly botToken: HiddenText;
  /** A number in decimal digits, or `@name` of a public channel. */
  readonly chatId: string;
  /** Where the Bot API is, without a slash at the end. */
  readonly apiRoot: string;
  /** Names this machine in every message. */
  readonly host?: string | undefined;
  /** How often an attempt that failed for a passing reason is repeated. */
  readonly retries: number;
}

/** The greatest answer that is read, in bytes: it repeats the message and says little else. */
const ANSWER_MAX_BYTES = 1_048_576;

type Grammy = typeof import("grammy");

/** The channel. It opens no connection before its first alert. */
export class TelegramSink implements AlertSink {
  readonly name = "telegram";
  readonly #options: TelegramSettings;
  /** Changes when a group becomes a supergroup. */
  #chatId: string;

  constructor(options: TelegramSettings) {
    this.#options = options;
    this.#chatId = options.chatId;
  }

  async send(alert: Alert, signal: AbortSignal): Promise<void> {
    // Loaded when it is needed: most bots never send an alert.
    const grammy = await import("grammy");
    const message = telegramMessage(alert, this.#options.host);
    const attempt = async (attemptSignal: AbortSignal) => {
      try {
        await this.#post(grammy, message, attemptSignal);
      } catch (error) {
        throw this.#describe(grammy, error, attemptSignal);
      }
    };
    await withRetries(attempt, this.#options.retries, signal);
  }

  /** Sends it with its markup, or if the server cannot read that, without. */
  async #post(grammy: Grammy, message: TelegramMessage, signal: AbortSignal): Promise<void> {
    try {
      await this.#sendMessage(grammy, message.html, { parse_mode: "HTML" }, signal);
    } catch (error) {
      if (!(error instanceof grammy.GrammyError && isMarkupRefusal(error))) throw error;
      await this.#sendMessage(grammy, message.plain, {}, signal);
    }
  }

  async #sendMessage(
    { Api }: Grammy,
    text: string,
    mode: { readonly parse_mode?: "HTML" },
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    const api = new Api(this.#options.botToken.reveal(), {
      apiRoot: this.#options.apiRoot,
      // Without an agent of its own, each alert has a connection of its own: alerts are rare,
      // and a connection that idled for long is likely to be dead.
      baseFetchConfig: { agent: undefined, redirect: "error", size: ANSWER_MAX_BYTES },
    });
    const other = { ...mode, link_preview_options: { is_disabled: true } };
    // The library's type of a signal is that of a polyfill; it uses what both have.
    const librarySignal = signal as unknown as Parameters<typeof api.sendMessage>[3];
    const sent = await api.sendMessage(this.#chatId, text, other, librarySignal);
    if (typeof sent?.message_id !== "number") throw notTelegram();
  }

  #describe(grammy: Grammy, error: unknown, signal: AbortSignal): AlertError {
    if (error instanceof AlertError) return error;
    if (signal.aborted) return noAnswer();
    if (error instanceof grammy.HttpError) return describeHttpError(error);
    if (error instanceof grammy.GrammyError) return this.#describeRefusal(error);
    return notTelegram();
  }

  #describeRefusal({ error_code, description, parameters }: GrammyError): AlertError {
    const words = describeUnknown(this.#withoutToken(textOf(description)));
    if (typeof error_code !== "number") return notTelegram();
    if (error_code === 429) {
      const seconds = Number(parameters.retry_after);
      const retryAfterMs = seconds > 0 ? Math.ceil(seconds * 1_000) : undefined;
      return new AlertError("RATE_LIMITED", `Telegram answered 429: ${words}`, retryAfterMs);
    }
    if (error_code >= 500) {
      return new AlertError("UNAVAILABLE", `Telegram answered ${error_code}: ${words}`);
    }
    const { migrate_to_chat_id: newChatId } = parameters;
    if (typeof newChatId === "number") {
      this.#chatId = String(newChatId);
      const advice = `Set TELEGRAM_CHAT_ID to ${newChatId}, which the group has become.`;
      return new AlertError("UNAVAILABLE", `Telegram answered ${error_code}: ${words}. ${advice}`);
    }
    const advice = ADVICE_BY_CODE[error_code];
    const told = `Telegram answered ${error_code}: ${words}.${advice === undefined ? "" : ` ${advice}`}`;
    return new AlertError("REFUSED", told);
  }

  /** A server that is not Telegram's may answer with the URL that it was called by. */
  #withoutToken(text: string): string {
    const [, key = ""] = this.#options.botToken.reveal().split(":");
    return text.replaceAll(key, "[redacted]");
  }
}

const ADVICE_BY_CODE: Readonly<Record<number, string>> = {
  400: "See that TELEGRAM_CHAT_ID is right, and that the person has started the bot.",
  401: "See that TELEGRAM_BOT_TOKEN is right and was not revoked.",
  403: "The person must start the bot, or the group must let it write.",
  404: "See that TELEGRAM_BOT_TOKEN is right.",
};

function isMarkupRefusal({ error_code, description }: GrammyError): boolean {
  return error_code === 400 && /can't parse entities/i.test(String(description));
}

/** The socket's own error is only asked for its code: its message shows the URL. */
function describeHttpError({ error }: HttpError): AlertError {
  const code = errorCode(error);
  if (code === undefined) return notTelegram();
  return new AlertError("UNREACHABLE", `Telegram cannot be reached (${code}).`);
}

function notTelegram(): AlertError {
  return new AlertError("INVALID_RESPONSE", "What answered is not Telegram's Bot API.");
}

/** The most that `sendMessage` takes after the markup is parsed, in UTF-16 units. */
const MESSAGE_MAX_UNITS = 4_096;
/** A host's name has at most 253 characters; the rest of the message needs the room more. */
const HOST_MAX_UNITS = 100;

/** The same message twice. */
export interface TelegramMessage {
  /** For the parse mode `HTML`. */
  readonly html: string;
  /** For no parse mode. */
  readonly plain: string;
}

/**
 * Writes an alert as title, text and time. The text is cut before it is escaped, so that
 * no cut goes through an escape or a tag.
 */
export function telegramMessage(alert: Alert, host: string | undefined): TelegramMessage {
  const { title } = ALERT_KINDS[alert.kind];
  const head = host === undefined ? title : `${title} (${cutText(host, HOST_MAX_UNITS)})`;
  const time = formatUtc(alert.time);
  const frame = `${head}\n\n\n\n${time}`;
  const text = cutText(alert.text, MESSAGE_MAX_UNITS - frame.length);
  return {
    html: `<b>${escapeHtml(head)}</b>\n\n${escapeHtml(text)}\n\n<i>${time}</i>`,
    plain: `${head}\n\n${text}\n\n${time}`,
  };
}

/** All that the Bot API asks to be escaped outside of attributes. */
function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
