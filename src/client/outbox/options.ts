/**
 * The options of an outbox, their rules and their defaults. Pure.
 */
import type { Registry } from "prom-client";
import { z } from "zod";
import { SIGNAL_REQUEST_MAX_BYTES } from "../../signal/index.ts";
import type { Alerts } from "../alerts/alerts.ts";
import type { SignalClient } from "../client.ts";
import type { ClientLogger } from "../clientLogger.ts";
import { type ClientClock, systemClock } from "../clock.ts";
import { type RetryOptions, resolveRetryOptions } from "../retry/retryOptions.ts";
import {
  ConfigError,
  maxBodyBytes,
  objectWith,
  optionsObject,
  problemsOf,
  TIMEOUT_MS_DEFAULT,
  TIMEOUT_MS_MAX,
  wholeNumber,
} from "../settings.ts";

/** The waits of an outbox between attempts; how often is not bounded, since age is. */
export type OutboxRetryOptions = Omit<RetryOptions, "retriesMax" | "budgetMs">;

/** How an outbox works. */
export interface OutboxOptions {
  /**
   * The outbox file. It is made, and its folder too, if there is none. It needs a local disk:
   * network file systems neither lock nor sync reliably. Each outbox needs a file of its own.
   */
  readonly path: string;

  /** Who delivers. The outbox does not close it: close the outbox first, then the client. */
  readonly client: Pick<SignalClient, "ingest" | "ingestBatch"> &
    Partial<Pick<SignalClient, "clock" | "destination" | "payloadMaxBytes">>;

  /** The most signals in the file, dead letters included, 1 to 10,000,000. Defaults to 100,000. */
  readonly maxSignals?: number | undefined;

  /**
   * The most bytes of signals in the file, dead letters included, 64 KiB to 16 GiB. The file
   * itself is somewhat bigger. Defaults to 268,435,456 (256 MiB).
   */
  readonly maxBytes?: number | undefined;

  /**
   * How old a signal may become, in milliseconds, 1 second to 365 days: an older one is not
   * sent any more but becomes a dead letter, which a person can retry. Defaults to 86,400,000
   * (24 hours): an outage of a night or of a data centre is over by then, and a decision of
   * yesterday should be executed only if somebody says so. What is of no use sooner should
   * have an `expireTime`.
   */
  readonly giveUpAfterMs?: number | undefined;

  /**
   * The most signals in one request when there is a backlog, 1 to 1,000. Defaults to 250: more
   * is hardly faster, and a lost answer leaves more signals in doubt.
   */
  readonly maxBatchSize?: number | undefined;

  /** How long an attempt may take, in milliseconds, 1 to 300,000. Defaults to 30,000. */
  readonly timeoutMs?: number | undefined;

  /** How long to wait between attempts. The defaults are those of a client's `retry`. */
  readonly retry?: OutboxRetryOptions | undefined;

  /**
   * The greatest request with one signal, in bytes of protobuf, 1 KiB to 64 KiB. Defaults to
   * 65,536, which a server takes; a client with a smaller bound should have it here too.
   */
  readonly maxBodyBytes?: number | undefined;

  /** Who tells people. Defaults to nobody but the log. */
  readonly alerts?: Alerts | undefined;

  /** Where to log. Defaults to warnings and errors on standard error, as JSON. */
  readonly logger?: ClientLogger | undefined;

  /** Where to register metrics. Defaults to nowhere. */
  readonly registry?: Registry | undefined;

  /**
   * The time for signals without one, and what judges whether a signal has expired. Defaults to
   * the client's clock, which it corrects by the server's.
   */
  readonly clock?: ClientClock | undefined;
}

const MS_PER_DAY = 86_400_000;

const schema = z.strictObject({
  path: z.string("must be the path of a file").min(1, "must be the path of a file"),
  client: objectWith<OutboxOptions["client"]>("ingest", "ingestBatch"),
  maxSignals: wholeNumber(1, 10_000_000).default(100_000),
  maxBytes: wholeNumber(65_536, 17_179_869_184).default(268_435_456),
  giveUpAfterMs: wholeNumber(1_000, 365 * MS_PER_DAY).default(MS_PER_DAY),
  maxBatchSize: wholeNumber(1, 1_000).default(250),
  timeoutMs: wholeNumber(1, TIMEOUT_MS_MAX).default(TIMEOUT_MS_DEFAULT),
  retry: z.unknown().optional(),
  maxBodyBytes: maxBodyBytes.default(SIGNAL_REQUEST_MAX_BYTES),
  alerts: objectWith<Alerts>("send", "sendSignalDeliveryError").optional(),
  logger: objectWith<ClientLogger>("info", "warn", "error").optional(),
  registry: objectWith<Registry>("registerMetric", "getSingleMetric").optional(),
  clock: objectWith<ClientClock>("now").optional(),
});

/** Options that are complete and hold every rule. */
export type ResolvedOutboxOptions = Omit<z.output<typeof schema>, "retry" | "clock"> & {
  readonly retry: OutboxRetryOptions;
  readonly clock: ClientClock;
};

/** @throws ConfigError naming every wrong option. */
export function resolveOutboxOptions(given: OutboxOptions): ResolvedOutboxOptions {
  const options = optionsObject(given);
  const judged = schema.safeParse(options);
  const problems = [
    ...(judged.error === undefined ? [] : problemsOf(judged.error, schema)),
    ...retryProblems(options.retry),
  ];
  if (!judged.success || problems.length > 0) throw new ConfigError(problems, "The outbox's");
  const { client, clock = client.clock ?? systemClock } = judged.data;
  return { ...judged.data, clock, retry: options.retry ?? {} };
}

function retryProblems(retry: unknown) {
  if (retry === undefined) return [];
  if (typeof retry !== "object" || retry === null) {
    return [{ name: "retry", rule: "must be an object of options" }];
  }
  const ofOthers = ["retriesMax", "budgetMs"].filter((name) => Object.hasOwn(retry, name));
  if (ofOthers.length > 0) {
    return ofOthers.map((name) => ({ name: `retry.${name}`, rule: "is not an option" }));
  }
  try {
    resolveRetryOptions(retry);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(({ name, rule }) => ({ name: `retry.${name}`, rule }));
  }
}
