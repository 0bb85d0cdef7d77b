/**
 * What is served over gRPC, gRPC-Web and Connect: every method of every service, told from
 * the services' descriptors.
 *
 * A method is closed unless it is listed as open. Without a proof of who calls, a closed one
 * answers `unauthenticated`; with one, a method that nobody has implemented answers
 * `unimplemented`. So a method that is added in one place and forgotten in another is
 * refused, and never served to strangers.
 */
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { type ConnectRouter, createConnectRouter, type ServiceImpl } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { Health } from "../../../gen/grpc/health/v1/health_pb.ts";
import type { BodyBudget } from "../http/bodyBudget.ts";
import type { Endpoint } from "../http/endpoint.ts";
import type { RequestLog } from "../http/requestLog.ts";
import { admissionGate, admittedAnswer, type RpcCall } from "./rpc.ts";
import {
  type SignedMethod,
  type SignedMethods,
  type SignedRpcDependencies,
  serveSignedRpc,
} from "./signedRpc.ts";
import { serveUnsignedRpc, UNSIGNED_MAX_BYTES } from "./unsignedRpc.ts";

/** The methods that anyone may call: they change nothing, and tell nothing of signals. */
const OPEN_METHODS: ReadonlySet<DescMethod> = new Set([Health.method.check, Health.method.watch]);

/** The greatest request to a method that nobody has implemented, in bytes. */
const UNIMPLEMENTED_MAX_BYTES = 64 * 1024;

/** A service as it is served. */
export interface ServedService {
  /** What answers its signed calls. */
  readonly signed: ReadonlyMap<DescMethod, SignedMethod>;
  /** Adds all methods of its descriptor to the protocol library's router. */
  readonly addTo: (router: ConnectRouter) => void;
}

/** A service that takes signed requests only. */
export function signedService<Service extends DescService>(
  service: Service,
  methods: SignedMethods<Service>,
): ServedService {
  const signed = new Map<DescMethod, SignedMethod>();
  for (const method of service.methods) {
    if (!Object.hasOwn(methods, method.localName)) continue;
    // Each method is called with the messages of its own descriptor only.
    signed.set(method, methods[method.localName as keyof typeof methods] as SignedMethod);
  }
  const answers = Object.fromEntries(
    [...signed.keys()].map(({ localName }) => [localName, admittedAnswer]),
  ) as unknown as Partial<ServiceImpl<Service>>;
  return { signed, addTo: (router) => router.service(service, answers) };
}

/** A service that the protocol library serves. Those of its methods that are not open are refused. */
export function openService<Service extends DescService>(
  service: Service,
  implementation: ServiceImpl<Service>,
): ServedService {
  return { signed: new Map(), addTo: (router) => router.service(service, implementation) };
}

/** What {@link rpcEndpoints} is made of. */
export interface RpcDependencies extends SignedRpcDependencies {
  readonly requestLog: RequestLog;
  /** The memory for the bodies of calls to methods without one of their own. */
  readonly budget: BodyBudget;
  /** Ends open streams when it is aborted. */
  readonly shutdownSignal: AbortSignal;
}

/** The endpoints of all methods of these services, by their path. */
export function rpcEndpoints(
  services: readonly ServedService[],
  dependencies: RpcDependencies,
): ReadonlyMap<string, Endpoint> {
  const router = createConnectRouter({
    shutdownSignal: dependencies.shutdownSignal,
    readMaxBytes: UNSIGNED_MAX_BYTES,
    acceptCompression: [],
    jsonOptions: { ignoreUnknownFields: false },
    requestGate: admissionGate,
  });
  const signed = new Map<DescMethod, SignedMethod>();
  for (const served of services) {
    served.addTo(router);
    for (const [method, implementation] of served.signed) signed.set(method, implementation);
  }
  return new Map(
    router.handlers.map((handler) => {
      const serve = serving(handler, signed.get(handler.method), dependencies);
      const endpoint: Endpoint = {
        method: "POST",
        isStream: handler.method.methodKind !== "unary",
        handle: (request, response, record) =>
          serve({ request, response, handler, record, requestLog: dependencies.requestLog }),
      };
      return [handler.requestPath, endpoint];
    }),
  );
}

function serving(
  { method, requestPath: path }: UniversalHandler,
  signed: SignedMethod | undefined,
  dependencies: RpcDependencies,
): (call: RpcCall) => Promise<void> {
  const { budget } = dependencies;
  if (OPEN_METHODS.has(method)) return (call) => serveUnsignedRpc(call, budget);
  const { maxMessageBytes, budget: ownBudget } = signed ?? {
    maxMessageBytes: UNIMPLEMENTED_MAX_BYTES,
    budget,
  };
  const limits = { path, maxMessageBytes, budget: ownBudget };
  return (call) => serveSignedRpc(call, limits, signed, dependencies);
}
