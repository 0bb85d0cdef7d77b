/**
 * The client's options from environment variables, as a service is usually configured.
 * The only place of the client that reads the environment.
 */
import { hostname } from "node:os";
import { z } from "zod";
import { apiRoot, botToken, chatId, webhookUrl } from "../alerts/index.ts";
import { DEFAULT_PAYLOAD_MAX_BYTES, SIGNAL_REQUEST_MAX_BYTES } from "../signal/index.ts";
import { ALERTS_OWNER, type AlertOptions } from "./alerts/alerts.ts";
import type { DisabledClientOptions, SignalClientOptions } from "./options.ts";
import {
  ConfigError,
  type ConfigProblem,
  maxBodyBytes,
  payloadMaxBytes,
  problemsOf,
  producerId,
  secret,
  serverUrl,
  TIMEOUT_MS_DEFAULT,
  TIMEOUT_MS_MAX,
  wholeNumber,
} from "./settings.ts";

const MS_PER_SECOND = 1_000;
/** Less would cut off a server that is merely busy. */
const TIMEOUT_SECONDS_MIN = 5;

/** A whole number in decimal digits: Number() would take "", "1e3" and " 7" too. */
function digits(rule: ReturnType<typeof wholeNumber>) {
  return z
    .string()
    .transform((text) => (/^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN))
    .pipe(rule);
}

const variables = z.object({
  HMAC_PRODUCER_ENABLED: z
    .enum(["true", "false"], "must be true or false")
    .default("true")
    .transform((text) => text === "true"),
  HMAC_PRODUCER_SECRET: secret,
  PRODUCER_ID: producerId,
  OUTBOUND_SERVER_URL: serverUrl,
  OUTBOUND_TIMEOUT_SECONDS: digits(
    wholeNumber(TIMEOUT_SECONDS_MIN, TIMEOUT_MS_MAX / MS_PER_SECOND),
  ).default(TIMEOUT_MS_DEFAULT / MS_PER_SECOND),
  OUTBOUND_MAX_BODY_SIZE: digits(maxBodyBytes).default(SIGNAL_REQUEST_MAX_BYTES),
  SIGNALS_PAYLOAD_MAX_BYTES: digits(payloadMaxBytes).default(DEFAULT_PAYLOAD_MAX_BYTES),
});

/** Without the need to say where to send, but what is said must still be right. */
const disabledVariables = variables.partial({
  HMAC_PRODUCER_SECRET: true,
  PRODUCER_ID: true,
  OUTBOUND_SERVER_URL: true,
});

/**
 * Reads the options of a client from the environment. An empty variable counts as unset.
 *
 * | variable | meaning | default |
 * |---|---|---|
 * | `HMAC_PRODUCER_ENABLED` | whether to send at all: `true` or `false`, in lower case | `true` |
 * | `HMAC_PRODUCER_SECRET` | the producer's secret, at least 16 bytes | required if enabled |
 * | `PRODUCER_ID` | the producer | the host's name |
 * | `OUTBOUND_SERVER_URL` | https, or http to this machine | required if enabled |
 * | `OUTBOUND_TIMEOUT_SECONDS` | how long each attempt may take, 5 to 300 | 30 |
 * | `HTTPS_PROXY`, `NO_PROXY` | a proxy on the way to another machine, and hosts without it | none |
 * | `OUTBOUND_MAX_BODY_SIZE` | greatest request of one signal, 1024 to 65536 bytes | 65536 |
 * | `SIGNALS_PAYLOAD_MAX_BYTES` | greatest payload, 2 to 65536 bytes, as on the server | 32768 |
 *
 * @throws ConfigError naming every wrong variable, but never the value of one.
 */
export function clientOptionsFromEnv(
  env: Readonly<Record<string, string | undefined>> = process.env,
  hostName: string = hostname(),
): SignalClientOptions | DisabledClientOptions {
  const set = withoutEmpty(env);
  if (set.HMAC_PRODUCER_ENABLED === "false") {
    const judged = disabledVariables.safeParse(set);
    if (judged.success) return { enabled: false };
    throw new ConfigError(problemsOf(judged.error, variables));
  }
  const judged = variables.safeParse({ ...set, PRODUCER_ID: set.PRODUCER_ID ?? hostName });
  if (!judged.success) {
    const problems = problemsOf(judged.error, variables);
    throw new ConfigError(set.PRODUCER_ID === undefined ? problems.map(withoutName) : problems);
  }
  const { data } = judged;
  return {
    serverUrl: data.OUTBOUND_SERVER_URL,
    producerId: data.PRODUCER_ID,
    secret: data.HMAC_PRODUCER_SECRET,
    timeoutMs: data.OUTBOUND_TIMEOUT_SECONDS * MS_PER_SECOND,
    maxBodyBytes: data.OUTBOUND_MAX_BODY_SIZE,
    payloadMaxBytes: data.SIGNALS_PAYLOAD_MAX_BYTES,
    ...proxyIn(set),
  };
}

/** The variables of a proxy; curl and Node.js, too, read them in lower case first. */
function proxyIn(
  set: Readonly<Record<string, string | undefined>>,
): Pick<SignalClientOptions, "proxyEnv"> {
  const httpsProxy = set.https_proxy ?? set.HTTPS_PROXY;
  const noProxy = set.no_proxy ?? set.NO_PROXY;
  if (httpsProxy === undefined) return {};
  const exceptions = noProxy === undefined ? {} : { NO_PROXY: noProxy };
  // It may hold a password, which nobody should see who logs the options.
  const hidden = { value: httpsProxy, enumerable: false };
  return { proxyEnv: Object.defineProperty({ ...exceptions }, "HTTPS_PROXY", hidden) };
}

/** Tells of the host's name, which broke the rule in place of a variable that is not set. */
function withoutName(problem: ConfigProblem): ConfigProblem {
  if (problem.name !== "PRODUCER_ID") return problem;
  return { ...problem, rule: `is required, since the host's name does not fit: ${problem.rule}` };
}

const alertVariables = z.object({
  TELEGRAM_BOT_TOKEN: botToken.optional(),
  TELEGRAM_CHAT_ID: chatId.optional(),
  TELEGRAM_API_ROOT: apiRoot,
  ALERT_WEBHOOK_URL: webhookUrl.optional(),
});

/**
 * Reads the channels of alerts from the environment, for `createAlerts`. An empty variable
 * counts as unset.
 *
 * | variable | meaning | default |
 * |---|---|---|
 * | `TELEGRAM_BOT_TOKEN` | the token of the bot that writes to Telegram | no Telegram |
 * | `TELEGRAM_CHAT_ID` | the chat it writes to; with the token, or neither | no Telegram |
 * | `TELEGRAM_API_ROOT` | a Bot API server of one's own: https, or http to this machine | Telegram's |
 * | `ALERT_WEBHOOK_URL` | takes alerts as JSON: https, or http to this machine | no webhook |
 *
 * @param hostName names this machine in the alerts.
 * @throws ConfigError naming every wrong variable, but never the value of one.
 */
export function alertOptionsFromEnv(
  env: Readonly<Record<string, string | undefined>> = process.env,
  hostName: string = hostname(),
): Pick<AlertOptions, "telegram" | "webhook"> {
  const set = withoutEmpty(env);
  const judged = alertVariables.safeParse(set);
  const problems = [
    ...(judged.error ? problemsOf(judged.error, alertVariables) : []),
    ...missingHalf(set),
  ];
  if (!judged.success || problems.length > 0) throw new ConfigError(problems, ALERTS_OWNER);
  const { data } = judged;
  return {
    ...(data.TELEGRAM_BOT_TOKEN !== undefined &&
      data.TELEGRAM_CHAT_ID !== undefined && {
        telegram: {
          botToken: data.TELEGRAM_BOT_TOKEN,
          chatId: data.TELEGRAM_CHAT_ID,
          apiRoot: data.TELEGRAM_API_ROOT,
          host: hostName,
        },
      }),
    ...(data.ALERT_WEBHOOK_URL !== undefined && {
      webhook: { url: data.ALERT_WEBHOOK_URL, host: hostName },
    }),
  };
}

/** A token without a chat, or a chat without a token, would be no alerts at all. */
function missingHalf(set: Readonly<Record<string, string | undefined>>): ConfigProblem[] {
  const names = ["TELEGRAM_BOT_TOKEN", "TELEGRAM_CHAT_ID"] as const;
  const missing = names.filter((name) => set[name] === undefined);
  const [name] = missing;
  if (name === undefined || missing.length === names.length) return [];
  const other = names.find((each) => each !== name);
  return [{ name, rule: `is required with ${other}` }];
}

function withoutEmpty(env: Readonly<Record<string, string | undefined>>) {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ""));
}
