/**
 * The metrics of outboxes in a registry of prom-client. Several outboxes of one process may
 * share a registry: their numbers are added up, and the oldest age is that of the oldest.
 */
import { Counter, Gauge, type Registry } from "prom-client";
import type { DeathReason } from "./record.ts";

/** What an outbox tells when its metrics are collected. */
export interface OutboxReading {
  readonly pending: number;
  readonly bytes: number;
  readonly oldestAgeSeconds: number;
  readonly deadByReason: ReadonlyMap<DeathReason, number>;
}

/** The metrics of one outbox. */
export interface OutboxMetrics {
  /** Counts signals that were taken. */
  enqueued(count: number): void;
  /** Counts signals that the server has. */
  delivered(count: number): void;
  /** Counts a signal that became a dead letter. */
  died(reason: DeathReason): void;
  /** Takes the outbox out of the gauges. */
  close(): void;
}

const NO_METRICS: OutboxMetrics = { enqueued() {}, delivered() {}, died() {}, close() {} };

interface Family {
  readonly readings: Set<() => OutboxReading>;
  readonly enqueued: Counter;
  readonly delivered: Counter;
  readonly deadLettered: Counter<"reason">;
}

/** A metric may be registered once, so outboxes find those of the first one here. */
const FAMILIES = new WeakMap<Registry, Family>();

/** Adds an outbox to the metrics of a registry; without one, nothing is measured. */
export function outboxMetrics(
  registry: Registry | undefined,
  read: () => OutboxReading,
): OutboxMetrics {
  if (registry === undefined) return NO_METRICS;
  const family = FAMILIES.get(registry) ?? register(registry);
  family.readings.add(read);
  return {
    enqueued: (count) => family.enqueued.inc(count),
    delivered: (count) => family.delivered.inc(count),
    died: (reason) => family.deadLettered.inc({ reason }),
    close: () => void family.readings.delete(read),
  };
}

function register(registry: Registry): Family {
  const readings: Family["readings"] = new Set();
  const sum = (pick: (reading: OutboxReading) => number) =>
    [...readings].reduce((total, read) => total + pick(read()), 0);
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(value());
      },
    });
  gauge("signals_outbox_depth", "Signals that wait to be delivered.", () => sum((r) => r.pending));
  gauge("signals_outbox_bytes", "Bytes of signals in the outbox, dead letters included.", () =>
    sum((r) => r.bytes),
  );
  gauge("signals_outbox_oldest_age_seconds", "How long the oldest signal has waited.", () =>
    Math.max(0, ...[...readings].map((read) => read().oldestAgeSeconds)),
  );
  new Gauge({
    name: "signals_outbox_dead_letters",
    help: "Dead letters in the outbox, by the reason why they are some.",
    labelNames: ["reason"],
    registers: [registry],
    collect() {
      this.reset();
      for (const read of readings) {
        for (const [reason, count] of read().deadByReason) this.inc({ reason }, count);
      }
    },
  });
  const family = {
    readings,
    enqueued: new Counter({
      name: "signals_outbox_enqueued_total",
      help: "Signals that the outbox took.",
      registers: [registry],
    }),
    delivered: new Counter({
      name: "signals_outbox_delivered_total",
      help: "Signals of the outbox that the server has.",
      registers: [registry],
    }),
    deadLettered: new Counter({
      name: "signals_outbox_dead_lettered_total",
      help: "Signals that became dead letters, by reason.",
      labelNames: ["reason"] as const,
      registers: [registry],
    }),
  };
  FAMILIES.set(registry, family);
  return family;
}
