import type { Registry } from "prom-client";

/**
 * The metric that another client or outbox has registered, or else a new one: a registry
 * takes each name once.
 *
 * @throws Error of prom-client if a metric of another kind has the name.
 */
export function registered<M extends object>(
  registry: Registry,
  name: string,
  // biome-ignore lint/suspicious/noExplicitAny: only a constructor of anything fits every metric.
  kind: new (...args: any[]) => M,
  make: (name: string) => M,
): M {
  const existing: unknown = registry.getSingleMetric(name);
  // What is there but of another kind makes prom-client say that the name is taken.
  return existing instanceof kind ? existing : make(name);
}
