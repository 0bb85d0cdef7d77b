/**
 * What the public port serves: REST, and the services over gRPC, gRPC-Web and Connect.
 */
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { IngestService } from "../../gen/signals/v1/ingest_service_pb.ts";
import type { Ingest } from "../ingest/index.ts";
import type { Authenticate } from "./auth/authenticate.ts";
import { createBodyBudget } from "./http/bodyBudget.ts";
import type { Endpoint } from "./http/endpoint.ts";
import type { RequestListener } from "./http/nodeHttp.ts";
import { createPendingMemory } from "./http/pendingMemory.ts";
import { type RoutingOptions, routeRequests } from "./http/router.ts";
import { restRoutes } from "./rest/rest.ts";
import { openService, rpcEndpoints, signedService } from "./rpc/rpcEndpoints.ts";
import { healthService } from "./services/healthService.ts";
import { ingestMethods } from "./services/ingestService.ts";
import { createTurns } from "./services/turns.ts";

/** What the public port is made of. */
export interface PublicPortOptions extends RoutingOptions {
  readonly authenticate: Authenticate;
  readonly ingest: Ingest;
  readonly isReady: () => Promise<boolean>;
  readonly version: string;
  /** Ends open streams when it is aborted. */
  readonly shutdownSignal: AbortSignal;
}

/**
 * The memory for bodies whose senders are not known yet: a thousand single signals of the
 * greatest size, and eight batches. Apart, so that batches cannot crowd out single signals.
 */
const SINGLE_BODIES_MAX_BYTES = 64 * 1024 * 1024;
const BATCH_BODIES_MAX_BYTES = 32 * 1024 * 1024;
/**
 * The memory for requests whose senders are known, until they are answered: more single
 * signals of an ordinary size than may be queued, and as many in batches of 1,000. On their
 * way into the database, the greatest batches take eight times their bytes for a moment.
 */
const PENDING_SINGLES_MAX_BYTES = 24 * 1024 * 1024;
const PENDING_BATCHES_MAX_BYTES = 12 * 1024 * 1024;

/** Makes the listener for all requests of the public port. */
export function servePublicPort(options: PublicPortOptions): RequestListener {
  return routeRequests(publicEndpoints(options), options);
}

/** What stands at each path of the public port. */
export function publicEndpoints(options: PublicPortOptions): ReadonlyMap<string, Endpoint> {
  const endpoints = new Map<string, Endpoint>();
  const { monotonicMs } = options;
  const budget = createBodyBudget(SINGLE_BODIES_MAX_BYTES, monotonicMs);
  const singles = { budget, pending: createPendingMemory(PENDING_SINGLES_MAX_BYTES) };
  const batches = {
    budget: createBodyBudget(BATCH_BODIES_MAX_BYTES, monotonicMs),
    pending: createPendingMemory(PENDING_BATCHES_MAX_BYTES),
  };
  const turns = createTurns(monotonicMs);
  for (const [path, { method, handle }] of restRoutes({ ...options, singles })) {
    endpoints.set(path, { method, handle, isStream: false });
  }
  const services = [
    signedService(IngestService, ingestMethods({ ...options, singles, batches, turns })),
    openService(Health, healthService(options.isReady, monotonicMs)),
  ];
  for (const [path, endpoint] of rpcEndpoints(services, { ...options, budget })) {
    endpoints.set(path, endpoint);
  }
  return endpoints;
}
