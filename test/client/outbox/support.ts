/**
 * What tests of real outbox files share: places for them, a client that never delivers, and
 * ears for what is told to people.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { Alerts } from "../../../src/client/alerts/alerts.ts";
import {
  type DeadLetterPlace,
  describeDeliveryError,
  isExpiry,
} from "../../../src/client/alerts/deliveryError.ts";
import type { ClientLogger } from "../../../src/client/clientLogger.ts";
import {
  createOutbox,
  type Outbox,
  type OutboxOptions,
  SignalError,
  type SignalInput,
} from "../../../src/client/index.ts";

export const SIGNAL: SignalInput = { instrument: "GOLD", side: "buy", entryPrice: 4_000 };

/** The path of an outbox in a folder that is removed when the test ends. */
export function outboxPath(): string {
  const folder = mkdtempSync(join(tmpdir(), "countersign-outbox-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, "signals.outbox");
}

export const silent: ClientLogger = { info() {}, warn() {}, error() {} };

/** A client that stands in for a server that is never there. */
export const unreachable: OutboxOptions["client"] = {
  ingest: () => Promise.reject(new SignalError("UNREACHABLE", "There is no server.")),
  ingestBatch: () => Promise.reject(new SignalError("UNREACHABLE", "There is no server.")),
};

/** Keeps what people are told. */
export class RecordingAlerts implements Alerts {
  readonly sent: { readonly kind: string; readonly text: string }[] = [];

  async send(kind: string, text: string): Promise<void> {
    this.sent.push({ kind, text });
  }

  async sendOwnerAlert(text: string): Promise<void> {
    this.sent.push({ kind: "owner", text });
  }

  async sendSignalDeliveryError(
    signal: SignalInput,
    error: Error,
    place?: DeadLetterPlace,
  ): Promise<void> {
    const kind = isExpiry(error) ? "signal_expired" : "delivery_failed";
    this.sent.push({ kind, text: describeDeliveryError(signal, error, place) });
  }

  async close(): Promise<void> {}

  get kinds(): string[] {
    return this.sent.map(({ kind }) => kind);
  }
}

/** Opens an outbox that is closed when the test ends. */
export function openOutbox(overrides: Partial<OutboxOptions> & { path: string }): Outbox {
  const outbox = createOutbox({ client: unreachable, logger: silent, ...overrides });
  onTestFinished(() => outbox.close({ drainMs: 0 }));
  return outbox;
}
