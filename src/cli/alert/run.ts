/** Sends a test alert over every channel and prints what became of it. */
import type { Alert, AlertSink } from "../../alerts/index.ts";
import { createSinks } from "../../client/alerts/alerts.ts";
import { epochMs, systemClock } from "../../client/clock.ts";
import { AlertError, alertOptionsFromEnv, ConfigError } from "../../client/index.ts";
import {
  configurationError,
  EXIT_FAILED,
  EXIT_OK,
  EXIT_UNAVAILABLE,
  usageError,
} from "../cliError.ts";
import { type Environment, readEnvironment } from "../environment.ts";
import { note, writeJson } from "../output.ts";
import { writeTable } from "../table.ts";

/** The options of `countersign alert test`. */
export interface AlertTestOptions {
  readonly envFile?: string;
  readonly json?: boolean;
}

const TEXT = "This is a test. Alerts of this machine's bots will reach you here.";

/** What became of the alert on one channel. */
interface Report {
  readonly channel: string;
  readonly error: AlertError | undefined;
}

/** @throws CliError if the configuration is wrong, or names no channel. */
export async function testAlerts({ envFile, json }: AlertTestOptions): Promise<void> {
  const sinks = configuredSinks(readEnvironment(envFile));
  const time = new Date(epochMs(systemClock));
  const alert: Alert = { kind: "owner", text: TEXT, time };
  const reports = await Promise.all(sinks.map((sink) => report(sink, alert)));
  for (const { channel, error } of reports) {
    if (error !== undefined) note(`${channel}: ${error.message}`);
  }
  if (json === true) for (const each of reports) await writeJson(reportJson(each));
  else await writeTable([{ title: "CHANNEL" }, { title: "OUTCOME" }], reports.map(row));
  process.exitCode = exitCode(reports);
}

/** Each channel tries once: a person is waiting, and wants to know how it is now. */
function configuredSinks(environment: Environment): AlertSink[] {
  const { telegram, webhook } = readOptions(environment);
  const sinks = createSinks({
    telegram: telegram && { ...telegram, retries: 0 },
    webhook: webhook && { ...webhook, retries: 0 },
  });
  if (sinks.length > 0) return sinks;
  throw usageError(
    "No channel is configured. Set TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID, or ALERT_WEBHOOK_URL.",
  );
}

function readOptions(environment: Environment) {
  try {
    return alertOptionsFromEnv(environment);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw configurationError(error.problems.map(({ name, rule }) => `${name} ${rule}`));
  }
}

async function report(sink: AlertSink, alert: Alert): Promise<Report> {
  try {
    // A channel ends each attempt by itself.
    await sink.send(alert, new AbortController().signal);
    return { channel: sink.name, error: undefined };
  } catch (error) {
    if (!(error instanceof AlertError)) throw error;
    return { channel: sink.name, error };
  }
}

function outcome({ error }: Report): "sent" | "refused" | "unavailable" {
  if (error === undefined) return "sent";
  return error.reason === "REFUSED" ? "refused" : "unavailable";
}

function row(each: Report): string[] {
  return [each.channel, outcome(each)];
}

function reportJson(each: Report): Record<string, unknown> {
  const { channel, error } = each;
  return { channel, outcome: outcome(each), reason: error?.reason, message: error?.message };
}

/** What is wrong must be fixed, whatever a repeat might do for the other channels. */
function exitCode(reports: readonly Report[]): number {
  const outcomes = reports.map(outcome);
  if (outcomes.includes("refused")) return EXIT_FAILED;
  return outcomes.includes("unavailable") ? EXIT_UNAVAILABLE : EXIT_OK;
}
