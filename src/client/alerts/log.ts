/**
 * The channel to the log.
 */
import type { ClientLogger } from "../clientLogger.ts";
import type { Alert, AlertKind, AlertSink } from "./alert.ts";
import { TITLE_BY_KIND } from "./titles.ts";

const LEVEL_BY_KIND: Readonly<Record<AlertKind, keyof ClientLogger>> = {
  delivery_failed: "error",
  signal_expired: "error",
  delivery_held: "error",
  outbox_filling: "warn",
  outbox_damaged: "error",
  circuit_opened: "warn",
  circuit_closed: "info",
  owner: "warn",
};

/** Makes the channel that writes each alert to a logger. */
export function createLogSink(logger: ClientLogger): AlertSink {
  return {
    name: "log",
    async send(alert: Alert) {
      logger[LEVEL_BY_KIND[alert.kind]](alertFacts(alert), `${TITLE_BY_KIND[alert.kind]}.`);
    },
  };
}

/** An alert as facts for the log, whose own `time` is that of the line. */
export function alertFacts({ kind, text, time }: Alert) {
  return { kind, text, alert_time: time.toISOString() };
}
