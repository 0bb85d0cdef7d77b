import { resolve } from "node:path";
import { expect, it } from "vitest";
import { SignalError } from "../../../src/client/index.ts";
import type { OutboxItem } from "../../../src/client/outbox/entry.ts";
import { OutboxNotices } from "../../../src/client/outbox/notices.ts";
import { RecordingAlerts, SIGNAL, silent } from "./support.ts";

/** The text about the same signal with the same failure, under this key. */
function textOfDeath(path: string, idempotencyKey: string): string | undefined {
  const alerts = new RecordingAlerts();
  const notices = new OutboxNotices({ path, logger: silent, alerts, destination: undefined });
  const item = { entry: { idempotencyKey }, signal: SIGNAL } as OutboxItem;
  const error = new SignalError("INTERNAL", "for a test");
  notices.died(item, { reason: "INTERNAL", message: "x", violations: [], diedMs: 0 }, error);
  return alerts.sent[0]?.text;
}

it("never tells of two dead letters in the same words", () => {
  const texts = [
    textOfDeath("a.outbox", "key-1"),
    textOfDeath("a.outbox", "key-2"),
    textOfDeath("b.outbox", "key-1"),
  ];
  expect(new Set(texts).size).toBe(3);
});

it("names the file in full, since who reads it is elsewhere", () => {
  expect(textOfDeath("a.outbox", "key-1")).toContain(`retry --file ${resolve("a.outbox")} key-1`);
});
