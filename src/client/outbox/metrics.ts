/**
 * The metrics of outboxes in a registry of prom-client. Several outboxes of one process may
 * share a registry: their numbers are added up, and the oldest age is that of the oldest.
 */
import { Counter, Gauge, Registry } from "prom-client";
import { registered } from "../telemetry/metrics.ts";
import type { DeathReason } from "./entry.ts";

/** What an outbox tells when its metrics are collected. */
export interface OutboxReading {
  readonly pending: number;
  readonly bytes: number;
  readonly oldestAgeSeconds: number;
  readonly deadByReason: ReadonlyMap<DeathReason, number>;
}

/** The metrics of one outbox. */
export type OutboxMetrics = ReturnType<typeof outboxMetrics>;

/** What a gauge shows: a number, or one for each reason. */
interface GaugeFacts {
  readonly name: string;
  readonly help: string;
  readonly value: (readings: readonly OutboxReading[]) => number | ReadonlyMap<DeathReason, number>;
}

const GAUGES: readonly GaugeFacts[] = [
  {
    name: "signals_outbox_depth",
    help: "Signals that wait to be delivered.",
    value: (readings) => sum(readings.map(({ pending }) => pending)),
  },
  {
    name: "signals_outbox_bytes",
    help: "Bytes of signals in the outbox, dead letters included.",
    value: (readings) => sum(readings.map(({ bytes }) => bytes)),
  },
  {
    name: "signals_outbox_oldest_age_seconds",
    help: "How long the oldest signal has waited.",
    value: (readings) => Math.max(0, ...readings.map(({ oldestAgeSeconds }) => oldestAgeSeconds)),
  },
  {
    name: "signals_outbox_dead_letters",
    help: "Dead letters in the outbox, by the reason why they are some.",
    value: (readings) => sumByReason(readings.map(({ deadByReason }) => deadByReason)),
  },
];

/**
 * Adds an outbox to the metrics of a registry; without one, nobody sees them.
 *
 * @throws Error of prom-client if a metric of somebody else has one of the names.
 */
export function outboxMetrics(registry = new Registry(), read: () => OutboxReading) {
  const gauges = GAUGES.map((facts) =>
    registered(registry, facts.name, OutboxGauge, () => new OutboxGauge(facts, registry)),
  );
  const counter = <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
    registered(registry, name, Counter<Label>, () => {
      return new Counter({ name, help, labelNames, registers: [registry] });
    });
  const enqueued = counter("signals_outbox_enqueued_total", "Signals that the outbox took.");
  const delivered = counter(
    "signals_outbox_delivered_total",
    "Signals of the outbox that the server has.",
  );
  const deadLettered = counter(
    "signals_outbox_dead_lettered_total",
    "Signals that became dead letters, by reason.",
    "reason",
  );
  for (const { outboxes } of gauges) outboxes.add(read);
  return {
    /** Counts signals that were taken. */
    enqueued: (count: number) => enqueued.inc(count),
    /** Counts signals that the server has. */
    delivered: (count: number) => delivered.inc(count),
    /** Counts a signal that became a dead letter. */
    died: (reason: DeathReason) => deadLettered.inc({ reason }),
    /** Takes the outbox out of the gauges. */
    close() {
      for (const { outboxes } of gauges) outboxes.delete(read);
    },
  };
}

/** A gauge that asks the outboxes when it is collected. */
class OutboxGauge extends Gauge<"reason"> {
  readonly outboxes: Set<() => OutboxReading>;

  constructor({ name, help, value }: GaugeFacts, registry: Registry) {
    const outboxes = new Set<() => OutboxReading>();
    const isByReason = value([]) instanceof Map;
    super({
      name,
      help,
      labelNames: isByReason ? ["reason"] : [],
      registers: [registry],
      collect() {
        const shown = value([...outboxes].map((read) => read()));
        if (typeof shown === "number") return this.set(shown);
        this.reset();
        for (const [reason, count] of shown) this.set({ reason }, count);
      },
    });
    this.outboxes = outboxes;
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function sumByReason(maps: readonly ReadonlyMap<DeathReason, number>[]) {
  const sums = new Map<DeathReason, number>();
  for (const [reason, count] of maps.flatMap((map) => [...map])) {
    sums.set(reason, (sums.get(reason) ?? 0) + count);
  }
  return sums;
}
