import type { Registry } from "prom-client";

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
  // biome-ignore lint/suspicious/noExplicitAny: only a constructor of anything fits every metric.
  kind: new (...args: any[]) => M,
  make: (name: string) => M,
): M {
  const existing: unknown = registry.getSingleMetric(name);
  if (existing instanceof kind && OWN.has(existing)) return existing;
  // If the name is taken, prom-client says so.
  const metric = make(name);
  OWN.add(metric);
  return metric;
}
