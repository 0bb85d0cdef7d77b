/**
 * What a client is asked: its options, their rules and their defaults.
 */
import type { Registry } from "prom-client";
import { z } from "zod";
import { isLoopback } from "../alerts/index.ts";
import { DEFAULT_PAYLOAD_MAX_BYTES, SIGNAL_REQUEST_MAX_BYTES } from "../signal/index.ts";
import type { Secret } from "../signing/index.ts";
import type { Alerts } from "./alerts/alerts.ts";
import type { ClientLogger } from "./clientLogger.ts";
import { type ClientClock, systemClock } from "./clock.ts";
import {
  type CircuitBreakerOptions,
  circuitBreakerOption,
  type ResolvedCircuitBreakerOptions,
  type ResolvedRetryOptions,
  type RetryOptions,
  retryOption,
} from "./retry/retryOptions.ts";
import {
  ConfigError,
  type ConfigProblem,
  maxBodyBytes,
  objectWith,
  optionsObject,
  payloadMaxBytes,
  problemsOf,
  producerId,
  secret,
  serverUrl,
  TIMEOUT_MS_DEFAULT,
  TIMEOUT_MS_MAX,
  wholeNumber,
} from "./settings.ts";

/** The protocol that carries the calls. The server takes all of them on one port. */
export type ClientProtocol = "connect" | "grpc" | "grpc-web";

/** How a message becomes bytes. */
export type ClientCodec = "binary" | "json";

/** The version of HTTP below the protocol. */
export type ClientHttpVersion = "1.1" | "2";

/** How a client reaches the server, and as whom. */
export interface SignalClientOptions {
  /**
   * Where the server is. `https`, or `http` to 127.0.0.0/8, [::1] or localhost. A path is
   * kept as a prefix, which whoever serves it must take off again: it is not signed.
   * No credentials, query or fragment. `OUTBOUND_SERVER_URL` in the environment.
   */
  readonly serverUrl: string;

  /** Who sends the signals, as the server knows it. `PRODUCER_ID` in the environment. */
  readonly producerId: string;

  /**
   * What proves it. At least 16 bytes in UTF-8; its text is the key as it is, without any
   * decoding. `HMAC_PRODUCER_SECRET` in the environment.
   */
  readonly secret: string | Secret;

  /**
   * Whether to send at all. If false, every call answers at once with the outcome
   * `disabled`, and no connection is opened. Defaults to true. `HMAC_PRODUCER_ENABLED` in
   * the environment.
   */
  readonly enabled?: boolean | undefined;

  /** Defaults to `connect`, which passes every HTTP proxy. */
  readonly protocol?: ClientProtocol | undefined;

  /**
   * Defaults to `binary`, the smaller and stricter one. `json` can be read on the wire;
   * it needs the protocol `connect`.
   */
  readonly codec?: ClientCodec | undefined;

  /**
   * Defaults to `1.1`, which works everywhere, and to `2` for gRPC, which has no other.
   * With `2`, all calls share one connection; over `http` it is spoken without upgrade
   * (prior knowledge).
   */
  readonly httpVersion?: ClientHttpVersion | undefined;

  /**
   * How long an attempt may take, in milliseconds, from 1 to 300,000; the server is told. A
   * call may set its own. What all attempts of a call may take together, `retry.budgetMs`
   * says. Defaults to 30,000. `OUTBOUND_TIMEOUT_SECONDS` in the environment, in seconds.
   */
  readonly timeoutMs?: number | undefined;

  /**
   * When a failed attempt is repeated, under the same key and signed anew. `false` makes a
   * single attempt. A call may set its own.
   */
  readonly retry?: RetryOptions | false | undefined;

  /**
   * When to leave a server alone that does not work. `false` never does. All calls of the
   * client share one circuit.
   */
  readonly circuitBreaker?: CircuitBreakerOptions | false | undefined;

  /**
   * Where to write what became of each signal. Without one, standard error has a line, at most
   * one a minute, when an attempt has failed and is repeated; `silentLogger` leaves that out.
   */
  readonly logger?: ClientLogger | undefined;

  /**
   * Where to count signals: `signals_posted_total`, `signals_posted_duration_seconds`,
   * `signals_post_retries_total` and `signals_circuit_state`. Several clients may share one.
   * Defaults to nowhere; the global registry of prom-client is never used unasked.
   */
  readonly registry?: Registry | undefined;

  /** Whom to tell when the server stops working and when it works again. Defaults to no one. */
  readonly alerts?: Alerts | undefined;

  /**
   * The greatest body of a request with a single signal, in bytes, from 1 KiB to 64 KiB, the
   * server's own limit. A greater one fails with `BODY_TOO_LARGE` before it is sent. Defaults to
   * 65,536. A batch may always have the server's 4 MiB. `OUTBOUND_MAX_BODY_SIZE` in the
   * environment.
   */
  readonly maxBodyBytes?: number | undefined;

  /**
   * The greatest payload of a signal, in bytes of compact UTF-8 JSON, 2 to 65,536: the one that
   * the server is configured to take. A greater one fails with `PAYLOAD_TOO_LARGE` before it is
   * sent. Defaults to 32,768, as on the server. `SIGNALS_PAYLOAD_MAX_BYTES` in the environment.
   */
  readonly payloadMaxBytes?: number | undefined;

  /**
   * The certificates to trust in place of the well-known authorities, in PEM; for a server
   * with a private one. Defaults to what Node.js trusts, which `NODE_EXTRA_CA_CERTS`
   * extends.
   */
  readonly tlsCa?: string | readonly string[] | undefined;

  /**
   * The variables that name a proxy, as `process.env` has them: `HTTPS_PROXY` and `NO_PROXY`, in
   * either case. Calls to another machine over HTTP/1.1 go through it; those to this machine, and
   * those over HTTP/2 (and so gRPC), never do. Defaults to none; `clientOptionsFromEnv` gives
   * those of the environment.
   */
  readonly proxyEnv?: Readonly<Record<string, string | undefined>> | undefined;

  /**
   * The wall clock, for signatures and for signals without a time. Corrected by the server's
   * time once it says that this one is wrong. Defaults to the clock of this machine.
   */
  readonly clock?: ClientClock | undefined;
}

/** A client that is switched off needs no address and no secret. */
export interface DisabledClientOptions extends Partial<SignalClientOptions> {
  readonly enabled: false;
}

/** Options that are complete and hold every rule. */
export type ResolvedClientOptions =
  | { readonly enabled: false }
  | {
      readonly enabled: true;
      readonly baseUrl: string;
      readonly producerId: string;
      readonly secret: Secret;
      readonly protocol: ClientProtocol;
      readonly codec: ClientCodec;
      readonly httpVersion: ClientHttpVersion;
      readonly timeoutMs: number;
      readonly maxBodyBytes: number;
      readonly payloadMaxBytes: number;
      readonly tlsCa: readonly string[] | undefined;
      readonly proxyEnv: SignalClientOptions["proxyEnv"];
      readonly clock: ClientClock;
      readonly retry: ResolvedRetryOptions | false;
      readonly circuitBreaker: ResolvedCircuitBreakerOptions | false;
      readonly logger: ClientLogger | undefined;
      readonly registry: Registry | undefined;
      readonly alerts: Alerts | undefined;
    };

/** The options of a client that sends. */
export type EnabledClientOptions = Extract<ResolvedClientOptions, { readonly enabled: true }>;

/** A misspelt option is refused, since a timeout that vanishes is worse than an error. */
const schema = z.strictObject({
  serverUrl,
  producerId,
  secret,
  enabled: z.boolean("must be true or false").default(true),
  protocol: z
    .enum(["connect", "grpc", "grpc-web"], "must be connect, grpc or grpc-web")
    .default("connect"),
  codec: z.enum(["binary", "json"], "must be binary or json").default("binary"),
  httpVersion: z.enum(["1.1", "2"], 'must be "1.1" or "2"').optional(),
  timeoutMs: wholeNumber(1, TIMEOUT_MS_MAX).default(TIMEOUT_MS_DEFAULT),
  maxBodyBytes: maxBodyBytes.default(SIGNAL_REQUEST_MAX_BYTES),
  payloadMaxBytes: payloadMaxBytes.default(DEFAULT_PAYLOAD_MAX_BYTES),
  tlsCa: z
    .union([z.string(), z.array(z.string()).readonly()], "must be certificates in PEM")
    .transform((ca) => [ca].flat())
    .optional(),
  proxyEnv: objectWith<NonNullable<SignalClientOptions["proxyEnv"]>>().optional(),
  clock: objectWith<ClientClock>("now").default(() => systemClock),
  retry: retryOption,
  circuitBreaker: circuitBreakerOption,
  logger: objectWith<ClientLogger>("info", "warn", "error").optional(),
  registry: objectWith<Registry>("registerMetric", "getSingleMetric").optional(),
  alerts: objectWith<Alerts>("send").optional(),
});

/** Without the need to say where to send, but what is said must still be right. */
const disabledSchema = schema.partial({ serverUrl: true, producerId: true, secret: true });

/**
 * Completes the options of a client.
 *
 * @throws ConfigError naming every wrong option.
 */
export function resolveClientOptions(
  given: SignalClientOptions | DisabledClientOptions,
): ResolvedClientOptions {
  const options = optionsObject(given);
  const problems = conflicts(options);
  if (options.enabled === false) {
    const judged = disabledSchema.safeParse(options);
    if (judged.success && problems.length === 0) return { enabled: false };
    throw new ConfigError([...(judged.error ? problemsOf(judged.error, schema) : []), ...problems]);
  }
  const judged = schema.safeParse(options);
  if (!judged.success || problems.length > 0) {
    throw new ConfigError([...(judged.error ? problemsOf(judged.error, schema) : []), ...problems]);
  }
  const { serverUrl: baseUrl, ...others } = judged.data;
  const httpVersion = others.httpVersion ?? (others.protocol === "grpc" ? "2" : "1.1");
  const { tlsCa, proxyEnv, logger, registry, alerts } = others;
  const optional = { tlsCa, proxyEnv, logger, registry, alerts };
  const resolved = { ...others, enabled: true, baseUrl, httpVersion, ...optional } as const;
  const unusable = proxyProblems(resolved);
  if (unusable.length > 0) throw new ConfigError(unusable);
  return resolved;
}

/** What is wrong between two options. Judged although others are wrong, to name all at once. */
function conflicts(options: Partial<SignalClientOptions>): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  if (options.protocol === "grpc" && options.httpVersion === "1.1") {
    problems.push({ name: "httpVersion", rule: 'must be "2" for grpc' });
  }
  if (options.codec === "json" && ["grpc", "grpc-web"].includes(options.protocol ?? "")) {
    problems.push({ name: "codec", rule: "may be json with the protocol connect only" });
  }
  return problems;
}

/** A proxy that cannot be used, where the calls would go through it. */
function proxyProblems(options: EnabledClientOptions): ConfigProblem[] {
  const { baseUrl, proxyEnv, httpVersion } = options;
  if (proxyEnv === undefined || httpVersion === "2") return [];
  const rule = proxyRule(baseUrl, proxyEnv);
  return rule === undefined ? [] : [{ name: "proxyEnv.HTTPS_PROXY", rule }];
}

/** Variables of a proxy, as `process.env` has them. */
export type ProxyEnv = Readonly<Record<string, string | undefined>>;

/**
 * The rule that a proxy on the way to a server breaks, undefined if it breaks none: Node.js passes
 * by in silence a proxy that it cannot use. The rule never repeats the value, which may hold a
 * password.
 *
 * @param baseUrl of the server.
 * @param nodeVersion such as 24.16.0.
 */
export function proxyRule(
  baseUrl: string,
  proxyEnv: ProxyEnv,
  nodeVersion = process.versions.node,
): string | undefined {
  const proxy = proxyEnv.https_proxy || proxyEnv.HTTPS_PROXY || "";
  const { protocol, hostname } = new URL(baseUrl);
  if (proxy === "" || protocol !== "https:" || isLoopback(hostname)) return undefined;
  if (isExcepted(hostname, proxyEnv.no_proxy || proxyEnv.NO_PROXY || "")) return undefined;
  const isUsable = ["http:", "https:"].includes(URL.parse(proxy)?.protocol ?? "");
  if (!isUsable) return "must be an http or https URL, such as http://proxy:3128";
  return knowsProxies(nodeVersion) ? undefined : "needs Node.js 22.21, 24.5 or newer";
}

/** Whether the agents of this Node.js go through a proxy: before, they ignored the option. */
function knowsProxies(nodeVersion: string): boolean {
  const [major = 0, minor = 0] = nodeVersion.split(".").map(Number);
  return major > 24 || (major === 24 && minor >= 5) || (major === 22 && minor >= 21);
}

/** Whether a list of hosts and of domains, divided by commas or blanks, has the host. */
function isExcepted(hostname: string, list: string): boolean {
  return list.split(/[\s,]+/).some((entry) => {
    const name = entry
      .toLowerCase()
      .replace(/^\*?\./, "")
      .replace(/:\d+$/, "");
    return entry === "*" || name === hostname || (name !== "" && hostname.endsWith(`.${name}`));
  });
}
