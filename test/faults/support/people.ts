/**
 * The people whom a bot tells what goes wrong: a chat of Telegram and a webhook, both real
 * servers, and the secrets that nothing may show.
 */
import { createServer, type RequestListener } from "node:http";
import { text } from "node:stream/consumers";
import { ALERT_KINDS } from "../../../src/alerts/index.ts";
import type { AlertKind } from "../../../src/client/index.ts";
import { listen } from "../../support/listen.ts";
import { planted } from "../../support/secrecy/canaries.ts";
import { TEST_MASTER_KEY, TEST_SECRET } from "../../support/server.ts";
import { BOT_TOKEN, startTelegram } from "../../support/telegram.ts";

const WEBHOOK_SECRET = planted("webhook's secret", "planted-secret-of-the-webhook-0003");

/** People who read alerts. */
export interface People extends AsyncDisposable {
  readonly telegramUrl: string;
  /** It holds a secret. */
  readonly webhookUrl: string;
  /** The messages of one kind that the chat shows. */
  messages(kind: AlertKind): string[];
  /** Everything that they were told, as text. */
  readonly everything: string;
}

/** Starts both servers. */
export async function startPeople(): Promise<People> {
  const telegram = await startTelegram();
  const posts: string[] = [];
  const take: RequestListener = async (request, response) => {
    posts.push(await text(request));
    response.end();
  };
  const webhook = await listen(createServer(take));
  return {
    telegramUrl: telegram.url,
    webhookUrl: `${webhook.url}/hooks/${WEBHOOK_SECRET}`,
    messages(kind) {
      const texts = telegram.messages.map(({ text }) => text);
      return texts.filter((message) => message.startsWith(ALERT_KINDS[kind].title));
    },
    get everything() {
      return [...telegram.messages.map(({ text }) => text), ...posts].join("\n");
    },
    async [Symbol.asyncDispose]() {
      await telegram[Symbol.asyncDispose]();
      await webhook[Symbol.asyncDispose]();
    },
  };
}

/** Each secret of a drill, in each form in which a careless program could show it. */
const SHOWN_FORMS = [
  TEST_SECRET,
  TEST_MASTER_KEY,
  WEBHOOK_SECRET,
  BOT_TOKEN,
  BOT_TOKEN.slice(BOT_TOKEN.indexOf(":") + 1),
].flatMap((secret) => [
  secret,
  encodeURIComponent(secret),
  Buffer.from(secret).toString("hex"),
  Buffer.from(secret).toString("base64").replace(/=+$/, ""),
]);

/** The places that show a secret, of those given by their name. */
export function placesThatShowSecrets(texts: Readonly<Record<string, string>>): string[] {
  return Object.entries(texts)
    .filter(([, text]) => SHOWN_FORMS.some((form) => text.includes(form)))
    .map(([name]) => name);
}
