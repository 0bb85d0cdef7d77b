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
import {
  serveTokenRpc,
  type TokenMethod,
  type TokenMethods,
  type TokenRpcDependencies,
} from "./tokenRpc.ts";
import { serveUnsignedRpc, UNSIGNED_MAX_BYTES } from "./unsignedRpc.ts";

/** The methods that anyone may call: they change nothing, and tell nothing of signals. */
const OPEN_METHODS: ReadonlySet<DescMethod> = new Set([Health.method.check, Health.method.watch]);

/** The greatest request to a method that nobody has implemented, in bytes. */
const UNIMPLEMENTED_MAX_BYTES = 64 * 1024;

/**
 * A service as it is served.
 *
 * @typeParam Dependencies what its closed methods are served with.
 */
export interface ServedService<Dependencies> {
  /** Serves calls to a method, at this path, that is closed. */
  readonly serveClosed: (
    method: DescMethod,
    path: string,
    dependencies: Dependencies,
  ) => (call: RpcCall) => Promise<void>;
  /** Adds all methods of its descriptor to the protocol library's router. */
  readonly addTo: (router: ConnectRouter) => void;
}

/** What closed methods with a signature are served with. */
type SignedDependencies = SignedRpcDependencies & Pick<RpcDependencies, "budget">;

/** A service that takes signed requests only. */
export function signedService<Service extends DescService>(
  service: Service,
  methods: SignedMethods<Service>,
): ServedService<SignedDependencies> {
  const signed = implemented<SignedMethod>(service, methods);
  return {
    serveClosed: (method, path, dependencies) =>
      serveSigned(signed.get(method), path, dependencies),
    addTo: (router) => addAdmitted(router, service, signed),
  };
}

/** A service that takes calls with a token only. */
export function tokenService<Service extends DescService>(
  service: Service,
  methods: TokenMethods<Service>,
): ServedService<TokenRpcDependencies> {
  const implementations = implemented<TokenMethod>(service, methods);
  return {
    serveClosed: (method, path, dependencies) => (call) =>
      serveTokenRpc(call, path, implementations.get(method), dependencies),
    addTo: (router) => addAdmitted(router, service, implementations),
  };
}

/** A service that the protocol library serves. Those of its methods that are not open are refused. */
export function openService<Service extends DescService>(
  service: Service,
  implementation: ServiceImpl<Service>,
): ServedService<SignedDependencies> {
  return {
    serveClosed: (_, path, dependencies) => serveSigned(undefined, path, dependencies),
    addTo: (router) => router.service(service, implementation),
  };
}

/**
 * The methods of a service that have an implementation.
 *
 * @param methods by their local names. Each is called with the messages of its own descriptor
 *   only.
 */
function implemented<Method>(service: DescService, methods: object): Map<DescMethod, Method> {
  return new Map(
    service.methods
      .filter(({ localName }) => Object.hasOwn(methods, localName))
      .map((method) => [method, (methods as Record<string, Method>)[method.localName] as Method]),
  );
}

/** Adds a service whose answers are there when the protocol library is asked for them. */
function addAdmitted(
  router: ConnectRouter,
  service: DescService,
  methods: ReadonlyMap<DescMethod, unknown>,
): void {
  const answers = [...methods.keys()].map(({ localName }) => [localName, admittedAnswer]);
  router.service(service, Object.fromEntries(answers) as Partial<ServiceImpl<DescService>>);
}

/** @param method `undefined` if nobody has implemented it. */
function serveSigned(
  method: SignedMethod | undefined,
  path: string,
  dependencies: SignedDependencies,
): (call: RpcCall) => Promise<void> {
  const { budget } = dependencies;
  const unimplemented = { maxMessageBytes: UNIMPLEMENTED_MAX_BYTES, isBatch: false, budget };
  const limits = { path, ...(method ?? unimplemented) };
  return (call) => serveSignedRpc(call, limits, method, dependencies);
}

/** What {@link rpcEndpoints} is made of. */
export interface RpcDependencies {
  readonly requestLog: RequestLog;
  /** The memory for the bodies of calls to methods without one of their own. */
  readonly budget: BodyBudget;
  /** Ends open streams when it is aborted. */
  readonly shutdownSignal: AbortSignal;
}

/** The endpoints of all methods of these services, by their path. */
export function rpcEndpoints<Dependencies>(
  services: readonly ServedService<Dependencies>[],
  dependencies: RpcDependencies & Dependencies,
): ReadonlyMap<string, Endpoint> {
  const endpoints = new Map<string, Endpoint>();
  for (const service of services) {
    const router = createConnectRouter({
      shutdownSignal: dependencies.shutdownSignal,
      readMaxBytes: UNSIGNED_MAX_BYTES,
      acceptCompression: [],
      jsonOptions: { ignoreUnknownFields: false },
      requestGate: admissionGate,
    });
    service.addTo(router);
    for (const handler of router.handlers) {
      const serve = serving(handler, service, dependencies);
      endpoints.set(handler.requestPath, {
        method: "POST",
        isStream: handler.method.methodKind !== "unary",
        handle: (request, response, record) =>
          serve({ request, response, handler, record, requestLog: dependencies.requestLog }),
      });
    }
  }
  return endpoints;
}

function serving<Dependencies>(
  { method, requestPath }: UniversalHandler,
  service: ServedService<Dependencies>,
  dependencies: RpcDependencies & Dependencies,
): (call: RpcCall) => Promise<void> {
  if (!OPEN_METHODS.has(method)) return service.serveClosed(method, requestPath, dependencies);
  return (call) => serveUnsignedRpc(call, dependencies.budget);
}
