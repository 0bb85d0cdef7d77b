/**
 * The services that administer, over gRPC, gRPC-Web and Connect. The operations port has them,
 * and the public port does not.
 */
import { AuditService } from "../../gen/signals/v1/audit_service_pb.ts";
import { ProducerService } from "../../gen/signals/v1/producer_service_pb.ts";
import { TokenService } from "../../gen/signals/v1/token_service_pb.ts";
import type { AuthenticateToken } from "./auth/bearer.ts";
import { createBodyBudget } from "./http/bodyBudget.ts";
import type { Endpoint } from "./http/endpoint.ts";
import type { RequestLog } from "./http/requestLog.ts";
import { rpcEndpoints, tokenService } from "./rpc/rpcEndpoints.ts";
import { auditMethods } from "./services/auditService.ts";
import { type ProducerMethodsDependencies, producerMethods } from "./services/producerService.ts";
import { type TokenMethodsDependencies, tokenMethods } from "./services/tokenService.ts";

/** What {@link adminEndpoints} is made of. */
export interface AdminEndpointsOptions
  extends ProducerMethodsDependencies,
    TokenMethodsDependencies {
  readonly authenticateToken: AuthenticateToken;
  readonly requestLog: RequestLog;
  /** Ends open streams when it is aborted. */
  readonly shutdownSignal: AbortSignal;
}

/** The memory for bodies, whose senders are all known: more than a hundred of the greatest. */
const BODIES_MAX_BYTES = 8 * 1024 * 1024;

/** What stands at the path of each method. */
export function adminEndpoints(options: AdminEndpointsOptions): ReadonlyMap<string, Endpoint> {
  const services = [
    tokenService(ProducerService, producerMethods(options)),
    tokenService(TokenService, tokenMethods(options)),
    tokenService(AuditService, auditMethods(options)),
  ];
  const budget = createBodyBudget(BODIES_MAX_BYTES, options.monotonicMs);
  return rpcEndpoints(services, { ...options, budget });
}
