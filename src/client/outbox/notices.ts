/**
 * Tells the log and people what becomes of the outbox. Nothing in it throws: neither a log
 * nor an alert that fails may end delivery.
 */
import { resolve } from "node:path";
import { pino } from "pino";
import { type AlertKind, sentence } from "../../alerts/index.ts";
import type { Alerts } from "../alerts/alerts.ts";
import { outboxCommand } from "../alerts/deliveryError.ts";
import type { Destination } from "../client.ts";
import type { ClientLogger } from "../clientLogger.ts";
import { failureRecordOf } from "../errorReason.ts";
import type { SignalError } from "../signalError.ts";
import type { Death, OutboxItem, Totals } from "./entry.ts";
import type { FileIncident } from "./store.ts";

/** From which share of its bounds on the outbox counts as filling, */
const FILLING_FROM = 0.8;
/** and below which it no longer does, so that one signal to and fro makes no second alert. */
const FILLING_UNTIL = 0.7;

/** The log of an outbox that was given none: losses are never silent. */
export function defaultOutboxLogger(): ClientLogger {
  return pino(
    { name: "countersign-outbox", level: "warn" },
    pino.destination({ fd: 2, sync: true }),
  );
}

/** Whose notices they are, and where they go. */
export interface NoticeOptions {
  readonly path: string;
  readonly logger: ClientLogger;
  readonly alerts: Alerts | undefined;
  readonly destination: Destination | undefined;
}

/** Where notices of one outbox go. */
export class OutboxNotices {
  readonly #options: NoticeOptions;
  readonly #path: string;
  #isFilling = false;
  #isStorageFailing = false;

  constructor(options: NoticeOptions) {
    this.#options = options;
    // A relative path means nothing to the person who reads it elsewhere.
    this.#path = resolve(options.path);
  }

  /**
   * The file was opened. People hear again of its dead letters: who was to tell them may have
   * been killed before the alert was sent.
   */
  opened({ deadByReason }: Pick<Totals, "deadByReason">): void {
    if (deadByReason.size === 0) return;
    const reasons = [...deadByReason].map(([reason, each]) => `${reason}: ${each}`).join(", ");
    this.#log("warn", { reasons }, "outbox: holds dead letters from before");
    this.#alert(
      "delivery_failed",
      `The outbox ${this.#path} holds dead letters from before this start (${reasons}). ` +
        `Look at them, then retry or drop them: ${outboxCommand("list --dead", this.#path)}`,
    );
  }

  delivered(count: number): void {
    this.#log("info", { count }, "outbox: signals delivered");
  }

  died({ entry, signal }: OutboxItem, death: Death, error: Error): void {
    const { idempotencyKey } = entry;
    const { reason, violations, message } = death;
    this.#log(
      "error",
      { idempotency_key: idempotencyKey, reason, violations, error: message },
      "outbox: dead letter",
    );
    const place = { idempotencyKey, outbox: this.#path };
    this.#quietly(() => this.#options.alerts?.sendSignalDeliveryError(signal, error, place));
  }

  waiting({ reason, message }: SignalError, delayMs: number): void {
    this.#log(
      "warn",
      { reason, error: message, delay_ms: delayMs },
      "outbox: attempt failed, will be repeated",
    );
  }

  held(error: SignalError): void {
    const { reason, message } = error;
    this.#log("error", { reason, error: message }, "outbox: held until a person fixes the cause");
    this.#alert(
      "delivery_held",
      `The outbox ${this.#path} delivers nothing until you act. ${heldText(error, this.#options.destination)} ` +
        "All signals are kept until they expire or are too old, and it tries about once a minute.",
    );
  }

  released(): void {
    this.#log("warn", {}, "outbox: delivers again");
  }

  /** The file could not be read or written; told to people once until it can be. */
  failed(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#log("error", { error: message }, "outbox: the file cannot be used for now");
    if (this.#isStorageFailing) return;
    this.#isStorageFailing = true;
    this.#alert("outbox_damaged", message);
  }

  /** The file could be written. */
  wrote(): void {
    this.#isStorageFailing = false;
  }

  incident({ message, setAside, keptCount }: FileIncident): void {
    this.#log(
      "error",
      { set_aside: setAside, kept: keptCount, error: message },
      "outbox: the file was replaced",
    );
    this.#alert("outbox_damaged", message);
  }

  /** @param share of the bounds that is used, 0 to 1. */
  filled(share: number): void {
    if (share < FILLING_UNTIL) this.#isFilling = false;
    if (share < FILLING_FROM || this.#isFilling) return;
    this.#isFilling = true;
    const percent = Math.floor(share * 100);
    this.#log("warn", { percent }, "outbox: filling");
    this.#alert(
      "outbox_filling",
      `The outbox ${this.#path} is ${percent} % full. When it is full, it takes no more signals. ` +
        "See why they are not delivered, and retry or drop dead letters: " +
        outboxCommand("status", this.#path),
    );
  }

  #alert(kind: AlertKind, text: string): void {
    this.#quietly(() => this.#options.alerts?.send(kind, text));
  }

  #log(level: keyof ClientLogger, facts: object, message: string): void {
    this.#quietly(() => this.#options.logger[level]({ outbox: this.#path, ...facts }, message));
  }

  /** The last resort is to go on: there is nobody left to tell. */
  #quietly(tell: () => unknown): void {
    try {
      const told = tell();
      if (told instanceof Promise)
        told.catch((error) => this.#log("error", { error: String(error) }, "outbox: alert failed"));
    } catch {}
  }
}

/** Why nothing can be delivered, in whole sentences, and what to do about it. */
function heldText(
  { reason, message, isForeign }: SignalError,
  destination: Destination | undefined,
): string {
  // A cause that has no name is told by its words alone, such as that the client is switched off.
  const cause = reason === "UNKNOWN" ? message.replace("[UNKNOWN] ", "") : message;
  const sender =
    destination && `The producer ${destination.producerId} sends to ${destination.host}.`;
  // An error of a foreign answer says itself what to do.
  const advice = isForeign || reason === "UNKNOWN" ? undefined : failureRecordOf(reason).advice;
  return [sentence(cause), sender, advice].filter((part) => part !== undefined).join(" ");
}
