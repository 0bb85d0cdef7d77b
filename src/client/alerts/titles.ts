import type { AlertKind } from "./alert.ts";

/** What stands above an alert of each kind. */
export const TITLE_BY_KIND: Readonly<Record<AlertKind, string>> = {
  delivery_failed: "Signal not delivered",
  signal_expired: "Signal expired before it was delivered",
  delivery_held: "Delivery is held until you act",
  outbox_filling: "Outbox is filling up",
  outbox_damaged: "Outbox is damaged",
  circuit_opened: "Server fails, calls are paused",
  circuit_closed: "Server answers again",
  owner: "Message from the bot",
};

/** Whether this version knows the kind: a caller may have no compiler to check it. */
export function isAlertKind(kind: unknown): kind is AlertKind {
  return typeof kind === "string" && Object.hasOwn(TITLE_BY_KIND, kind);
}
