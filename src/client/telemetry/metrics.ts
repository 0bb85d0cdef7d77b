/**
 * What the client counts, in a registry of prom-client. The names, labels and buckets are
 * relied on by dashboards.
 */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { SignalErrorReason } from "../errorReason.ts";
import type { CircuitState } from "../retry/circuit.ts";
import type { PostResult } from "./postResult.ts";

/** Counts what one client does. */
export interface ClientMetrics {
  /** A signal has its final result. */
  posted(result: PostResult, httpCode: string, durationSeconds: number): void;
  /** An attempt failed, and will be repeated. */
  retrying(reason: SignalErrorReason): void;
  /** @param from undefined for a new circuit. @param to undefined for one that is gone. */
  circuitChanged(from: CircuitState | undefined, to: CircuitState | undefined): void;
}

/**
 * Counts in a registry. Clients that share one share its metrics, which tell them apart by
 * `producer_id`.
 *
 * @throws Error if a metric of somebody else has one of the names.
 */
export function createClientMetrics(
  registry: Registry | undefined,
  producerId: string,
): ClientMetrics {
  if (registry === undefined) return NOTHING_COUNTED;
  const { posted, duration, retries, circuits } = metricsOf(registry);
  return {
    posted(result, httpCode, durationSeconds) {
      posted.inc({ result, http_code: httpCode, producer_id: producerId });
      duration.observe({ result, producer_id: producerId }, durationSeconds);
    },
    retrying: (reason) => retries.inc({ reason, producer_id: producerId }),
    circuitChanged(from, to) {
      if (from !== undefined) circuits.dec({ state: from, producer_id: producerId });
      if (to !== undefined) circuits.inc({ state: to, producer_id: producerId });
    },
  };
}

const NOTHING_COUNTED: ClientMetrics = { posted() {}, retrying() {}, circuitChanged() {} };

function metricsOf(registry: Registry) {
  const registers = [registry];
  return {
    posted: registered(registry, "signals_posted_total", Counter, (name) => {
      const help =
        "Signals that were handed over, by their final result. Each item of a batch is one.";
      return new Counter({
        name,
        help,
        labelNames: ["result", "http_code", "producer_id"],
        registers,
      });
    }),
    duration: registered(registry, "signals_posted_duration_seconds", Histogram, (name) => {
      const help =
        "From the handing over of a signal to its final result, retries and waits included.";
      const buckets = [0.01, 0.05, 0.1, 0.5, 1, 2.5, 5];
      return new Histogram({
        name,
        help,
        labelNames: ["result", "producer_id"],
        buckets,
        registers,
      });
    }),
    retries: registered(registry, "signals_post_retries_total", Counter, (name) => {
      const help = "Attempts that failed and were repeated, by the reason of the failure.";
      return new Counter({ name, help, labelNames: ["reason", "producer_id"], registers });
    }),
    circuits: registered(registry, "signals_circuit_state", Gauge, (name) => {
      const help = "Clients whose circuit is closed, half_open or open.";
      return new Gauge({ name, help, labelNames: ["state", "producer_id"], registers });
    }),
  };
}

/** Those made here. One of somebody else may have other labels, and means something else. */
const OWN = new WeakSet<object>();

/**
 * The metric that another client or outbox has registered, or else a new one: a registry
 * takes each name once.
 *
 * @throws Error of prom-client if a metric of somebody else has the name.
 */
export function registered<M extends object>(
  registry: Registry,
  name: string,
  kind: new (...args: never[]) => M,
  make: (name: string) => M,
): M {
  const existing: unknown = registry.getSingleMetric(name);
  if (existing instanceof kind && OWN.has(existing)) return existing;
  // If the name is taken, prom-client says so.
  const metric = make(name);
  OWN.add(metric);
  return metric;
}
