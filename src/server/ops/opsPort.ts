/**
 * The operations port: metrics, health and the services that administer, for those who run the
 * server. It is a port of its own so that no rule of a proxy decides who sees how much is
 * traded, or gets as far as a token.
 */
import type { ServerResponse } from "node:http";
import type { Endpoint } from "../http/endpoint.ts";
import type { RequestListener } from "../http/nodeHttp.ts";
import { type RoutingOptions, routeRequests } from "../http/router.ts";
import { statusRoutes } from "../rest/status.ts";
import { METRICS_CONTENT_TYPE } from "./metricsSum.ts";

/** What the operations port is made of. */
export interface OpsPortOptions extends RoutingOptions {
  /** The metrics in the text format of Prometheus. */
  readonly metricsText: () => Promise<string>;
  readonly isReady: () => Promise<boolean>;
  readonly version: string;
  /** What stands there besides, by its path. */
  readonly services: ReadonlyMap<string, Endpoint>;
}

/** Makes the listener for all requests of the operations port. */
export function serveOpsPort(options: OpsPortOptions): RequestListener {
  return routeRequests(opsEndpoints(options), { ...options, isSameSiteOnly: true });
}

/** What stands at each path of the operations port. */
export function opsEndpoints(options: OpsPortOptions): ReadonlyMap<string, Endpoint> {
  const endpoints = new Map(options.services);
  const metricsText = sharedWhileAsked(options.metricsText);
  for (const [path, route] of statusRoutes(options)) {
    endpoints.set(path, { ...route, isStream: false });
  }
  endpoints.set("/metrics", {
    method: "GET",
    isStream: false,
    async handle(_, response) {
      const body = Buffer.from(await metricsText());
      // Both kinds of response take the same arguments, but their types differ.
      (response as ServerResponse).writeHead(200, {
        "content-type": METRICS_CONTENT_TYPE,
        "content-length": body.length,
      });
      response.end(body);
    },
  });
  return endpoints;
}

/** Asks once for all who ask at the same time, so that no flood of them reaches the workers. */
function sharedWhileAsked(ask: () => Promise<string>): () => Promise<string> {
  let answer: Promise<string> | undefined;
  return () => {
    answer ??= ask().finally(() => {
      answer = undefined;
    });
    return answer;
  };
}
