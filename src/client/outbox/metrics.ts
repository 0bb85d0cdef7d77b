/**
 * The metrics of outboxes in a registry of prom-client. Several outboxes of one process may
 * share a registry: their numbers are added up, and the oldest age is that of the oldest.
 */
import { Counter, Gauge, type GaugeConfiguration, type Registry } from "prom-client";
import { registered } from "../telemetry/registered.ts";
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

/**
 * Adds an outbox to the metrics of a registry; without one, nothing is measured.
 *
 * @throws Error of prom-client if a metric of somebody else has one of the names.
 */
export function outboxMetrics(
  registry: Registry | undefined,
  read: () => OutboxReading,
): OutboxMetrics {
  if (registry === undefined) return NO_METRICS;
  const { enqueued, delivered, deadLettered, gauges } = metricsOf(registry);
  for (const { outboxes } of gauges) outboxes.add(read);
  return {
    enqueued: (count) => enqueued.inc(count),
    delivered: (count) => delivered.inc(count),
    died: (reason) => deadLettered.inc({ reason }),
    close() {
      for (const { outboxes } of gauges) outboxes.delete(read);
    },
  };
}

/** A gauge that asks the outboxes when it is collected. */
class OutboxGauge extends Gauge<"reason"> {
  readonly outboxes: Set<() => OutboxReading>;

  constructor(
    facts: GaugeConfiguration<"reason">,
    show: (gauge: Gauge<"reason">, readings: readonly OutboxReading[]) => void,
  ) {
    const outboxes = new Set<() => OutboxReading>();
    super({
      ...facts,
      collect() {
        const readings = [...outboxes].map((read) => read());
        show(this, readings);
      },
    });
    this.outboxes = outboxes;
  }
}

function metricsOf(registry: Registry) {
  const registers = [registry];
  const counter = (name: string, help: string) =>
    registered(registry, name, Counter, () => new Counter({ name, help, registers }));
  const gauge = (
    name: string,
    help: string,
    value: (readings: readonly OutboxReading[]) => number,
  ) =>
    registered(registry, name, OutboxGauge, () => {
      return new OutboxGauge({ name, help, registers }, (gauge, readings) => {
        gauge.set(value(readings));
      });
    });
  return {
    gauges: [
      gauge("signals_outbox_depth", "Signals that wait to be delivered.", (readings) =>
        sum(readings.map(({ pending }) => pending)),
      ),
      gauge(
        "signals_outbox_bytes",
        "Bytes of signals in the outbox, dead letters included.",
        (readings) => sum(readings.map(({ bytes }) => bytes)),
      ),
      gauge(
        "signals_outbox_oldest_age_seconds",
        "How long the oldest signal has waited.",
        (readings) => Math.max(0, ...readings.map(({ oldestAgeSeconds }) => oldestAgeSeconds)),
      ),
      registered(registry, "signals_outbox_dead_letters", OutboxGauge, (name) => {
        const help = "Dead letters in the outbox, by the reason why they are some.";
        return new OutboxGauge({ name, help, labelNames: ["reason"], registers }, showDeadLetters);
      }),
    ],
    enqueued: counter("signals_outbox_enqueued_total", "Signals that the outbox took."),
    delivered: counter(
      "signals_outbox_delivered_total",
      "Signals of the outbox that the server has.",
    ),
    deadLettered: registered(
      registry,
      "signals_outbox_dead_lettered_total",
      Counter<"reason">,
      (name) => {
        const help = "Signals that became dead letters, by reason.";
        return new Counter({ name, help, labelNames: ["reason"], registers });
      },
    ),
  };
}

function showDeadLetters(gauge: Gauge<"reason">, readings: readonly OutboxReading[]): void {
  gauge.reset();
  for (const [reason, count] of readings.flatMap(({ deadByReason }) => [...deadByReason])) {
    gauge.inc({ reason }, count);
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
