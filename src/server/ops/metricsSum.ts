/**
 * The metrics of several processes added up, as the operations port shows them.
 *
 * A counter must never fall: Prometheus takes a fall for a restart, and would count all
 * that the other processes have ever counted once more. So what a process last told
 * stays in the sum when it ends, and when it does not answer in time.
 */
import { AggregatorRegistry, Registry } from "prom-client";
import type { MetricsSnapshot } from "./metrics.ts";

/** The content type of {@link metricsText}. */
export const METRICS_CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

/** The sum of snapshots in the text format of Prometheus. */
export function metricsText(snapshots: readonly MetricsSnapshot[]): Promise<string> {
  return AggregatorRegistry.aggregate([...snapshots]).metrics();
}

/** What counts on after a process has ended: its counters and histograms, not its gauges. */
export async function addEnded(
  ended: MetricsSnapshot,
  snapshot: MetricsSnapshot,
): Promise<MetricsSnapshot> {
  const counting = snapshot.filter(({ type }) => isCounting(type));
  return AggregatorRegistry.aggregate([ended, counting]).getMetricsAsJSON();
}

/** prom-client's types say that a metric's type is a number, but it is a word. */
function isCounting(type: unknown): boolean {
  return type === "counter" || type === "histogram";
}
