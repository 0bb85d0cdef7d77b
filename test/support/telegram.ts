/**
 * A server that speaks Telegram's Bot API, as far as `sendMessage` goes: it knows one bot
 * and one chat, parses the markup by Telegram's rules, holds the limit of a message, and
 * can be told to fail in each way in which the real one does.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { planted } from "./secrecy/canaries.ts";
import { ignoreAnswers } from "./secrecy/watch.ts";

export const BOT_TOKEN = planted(
  "Telegram token",
  "8012345678:AAE-planted_Bot-Token_nobody-may-see1",
);
export const CHAT_ID = "-1001234567890";

/** https://core.telegram.org/bots/api#sendmessage: after the markup is parsed, UTF-16 units. */
const MESSAGE_MAX_UNITS = 4_096;

/** A message as a person reads it. */
export interface ReceivedMessage {
  readonly chatId: string;
  /** Without markup. */
  readonly text: string;
  readonly isHtml: boolean;
}

/** How to answer in place of a real answer. */
export type TelegramFault =
  | "hang"
  | "reset"
  | { readonly status: number; readonly body: string | object };

export interface TelegramServer extends AsyncDisposable {
  /** For `apiRoot`. */
  readonly url: string;
  /** What the chat shows. */
  readonly messages: readonly ReceivedMessage[];
  /** How many calls came, also those that failed. */
  readonly calls: number;
  /** Answers the next calls by these faults, one each. */
  fail(...faults: readonly TelegramFault[]): void;
  /** Answers every call by this fault, until {@link heal}. */
  failAlways(fault: TelegramFault): void;
  /** Answers as it should again. */
  heal(): void;
}

/** The answer with which the Bot API refuses a call. */
export function refusal(status: number, description: string, parameters?: object): TelegramFault {
  return { status, body: { ok: false, error_code: status, description, parameters } };
}

/** The Bot API's answer to one who sends too much. */
export function tooManyRequests(retryAfterSeconds: number): TelegramFault {
  const description = `Too Many Requests: retry after ${retryAfterSeconds}`;
  return refusal(429, description, { retry_after: retryAfterSeconds });
}

/** Starts the server on a free port. */
export async function startTelegram(chatId: string = CHAT_ID): Promise<TelegramServer> {
  const messages: ReceivedMessage[] = [];
  let calls = 0;
  let faults: TelegramFault[] = [];
  let lasting: TelegramFault | undefined;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    calls += 1;
    const call = (await json(request)) as Readonly<Record<string, unknown>>;
    const fault = faults.shift() ?? lasting;
    if (fault === "hang") return;
    if (fault === "reset") {
      request.socket.resetAndDestroy();
      return;
    }
    if (fault !== undefined) {
      const { status, body } = fault;
      const isText = typeof body === "string";
      response.writeHead(status, { "content-type": isText ? "text/html" : "application/json" });
      response.end(isText ? body : JSON.stringify(body));
      return;
    }
    const problem = problemOf(request, call, chatId);
    if (problem !== undefined) {
      response.writeHead(problem.error_code, { "content-type": "application/json" });
      response.end(JSON.stringify({ ok: false, ...problem }));
      return;
    }
    const isHtml = call.parse_mode === "HTML";
    const text = isHtml ? parseTelegramHtml(String(call.text)) : String(call.text);
    messages.push({ chatId: String(call.chat_id), text, isHtml });
    const message = { message_id: messages.length, date: 0, chat: { id: Number(chatId) }, text };
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ ok: true, result: message }));
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => response.destroy(error as Error));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // Tests have it repeat the token that it was given.
  ignoreAnswers(server);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    messages,
    get calls() {
      return calls;
    },
    fail(...next) {
      faults.push(...next);
    },
    failAlways(fault) {
      lasting = fault;
    },
    heal() {
      faults = [];
      lasting = undefined;
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Why the real server would refuse the call. */
function problemOf(
  { url, method }: IncomingMessage,
  { chat_id, text, parse_mode }: Readonly<Record<string, unknown>>,
  chatId: string,
): { readonly error_code: number; readonly description: string } | undefined {
  const [, token, name] = /^\/bot([^/]+)\/(\w+)$/.exec(url ?? "") ?? [];
  if (method !== "POST" || name !== "sendMessage")
    return { error_code: 404, description: "Not Found" };
  if (token !== BOT_TOKEN) return { error_code: 401, description: "Unauthorized" };
  if (String(chat_id) !== chatId) return badRequest("chat not found");
  if (typeof text !== "string" || !text.isWellFormed()) {
    return badRequest("strings must be encoded in UTF-8");
  }
  try {
    const shown = parse_mode === "HTML" ? parseTelegramHtml(text) : text;
    if (shown.trim() === "") return badRequest("message text is empty");
    if (shown.length > MESSAGE_MAX_UNITS) return badRequest("message is too long");
  } catch (error) {
    return badRequest(`can't parse entities: ${(error as Error).message}`);
  }
  return undefined;
}

function badRequest(description: string) {
  return { error_code: 400, description: `Bad Request: ${description}` };
}

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ["lt", "<"],
  ["gt", ">"],
  ["amp", "&"],
  ["quot", '"'],
]);
const TAGS: ReadonlySet<string> = new Set(["b", "i", "u", "s", "code", "pre"]);

/**
 * The text that Telegram shows for its HTML: https://core.telegram.org/bots/api#html-style
 *
 * @throws if a tag is not allowed, not closed, or closed out of order.
 */
export function parseTelegramHtml(html: string): string {
  const open: string[] = [];
  const text = html.replaceAll(
    /<(\/?)([^>]*)(>?)|&(?:(lt|gt|amp|quot)|#(\d{1,7}));/g,
    (_, slash: string, tag: string | undefined, end: string, entity?: string, code?: string) => {
      if (entity !== undefined) return ENTITIES.get(entity) ?? "";
      if (code !== undefined) return String.fromCodePoint(Number(code));
      if (end === "" || !TAGS.has(tag ?? "")) throw new Error(`Unsupported start tag "${tag}"`);
      if (slash === "") open.push(tag ?? "");
      else if (open.pop() !== tag) throw new Error(`Unmatched end tag "${tag}"`);
      return "";
    },
  );
  if (open.length > 0) throw new Error(`Can't find end tag corresponding to "${open.at(-1)}"`);
  return text;
}
