/**
 * Nothing is served to those who do not prove who they are, but for what is listed here. The
 * walk takes the paths from the router itself, so that no path can be left out of it.
 */
import {
  clone,
  create,
  createFileRegistry,
  type DescService,
  type FileRegistry,
} from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  type MethodDescriptorProto,
  MethodDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { createContextValues, type HandlerContext } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import { Health } from "../../../gen/grpc/health/v1/health_pb.ts";
import { AuditService } from "../../../gen/signals/v1/audit_service_pb.ts";
import {
  file_signals_v1_ingest_service,
  IngestService,
} from "../../../gen/signals/v1/ingest_service_pb.ts";
import { ProducerService } from "../../../gen/signals/v1/producer_service_pb.ts";
import { file_signals_v1_signal } from "../../../gen/signals/v1/signal_pb.ts";
import { TokenService } from "../../../gen/signals/v1/token_service_pb.ts";
import { authenticateBySignature } from "../../../src/server/auth/authenticate.ts";
import { systemClock } from "../../../src/server/clock.ts";
import { createBodyBudget } from "../../../src/server/http/bodyBudget.ts";
import { listen } from "../../../src/server/http/listener.ts";
import type { RequestListener } from "../../../src/server/http/nodeHttp.ts";
import { createPendingMemory } from "../../../src/server/http/pendingMemory.ts";
import { routeRequests } from "../../../src/server/http/router.ts";
import { admissionGate, admittedAnswer } from "../../../src/server/rpc/rpc.ts";
import {
  openService,
  rpcEndpoints,
  type ServedService,
  signedService,
  tokenService,
} from "../../../src/server/rpc/rpcEndpoints.ts";
import type { SignedMethods, SignedRpcDependencies } from "../../../src/server/rpc/signedRpc.ts";
import type { TokenMethods, TokenRpcDependencies } from "../../../src/server/rpc/tokenRpc.ts";
import { ingestMethods } from "../../../src/server/services/ingestService.ts";
import { createTurns } from "../../../src/server/services/turns.ts";
import { serveFile } from "../../support/serveFile.ts";
import { TEST_PRODUCER_ID, testHeaders } from "../../support/server.ts";
import { CALL_FORMS, call, emptyMessage, pathOf } from "../support/closedCalls.ts";
import { directoryOf } from "../support/directory.ts";
import { NO_LIMIT } from "../support/noLimit.ts";
import { emptyPort, never, OPS_ENDPOINTS, OWN_TOKEN, PUBLIC_ENDPOINTS } from "../support/served.ts";
import { aToken } from "../support/tokens.ts";

/** The services that the walk knows, on the public port. */
const SERVICES: readonly DescService[] = [IngestService, Health];
/** And on the operations port. */
const SERVICES_ON_OPS: readonly DescService[] = [ProducerService, TokenService, AuditService];

/** What anyone may ask for. */
const OPEN: readonly string[] = [
  "/grpc.health.v1.Health/Check",
  "/grpc.health.v1.Health/Watch",
  "/api/v1/health",
  "/api/v1/ready",
  "/api/v1/version",
  "/errors",
];

/** What the operations port shows to those who can reach it. */
const OPEN_ON_OPS = ["/api/v1/health", "/api/v1/ready", "/api/v1/version", "/errors", "/metrics"];

const methodsOf = (services: readonly DescService[]) =>
  services.flatMap((service) =>
    service.methods.map((method) => ({ path: pathOf(method), methodKind: method.methodKind })),
  );
const methods = methodsOf(SERVICES);
const methodsOnOps = methodsOf(SERVICES_ON_OPS);

const isRpc = (path: string) => /^\/[a-z0-9_.]+\.[A-Z]\w*\/\w+$/.test(path);
const UNAUTHENTICATED = { code: "unauthenticated", reason: "UNAUTHENTICATED" };

/** Headers that prove nothing. */
const NO_PROOFS: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  ["no headers", {}],
  ["a token that is none", { authorization: "Bearer cs_tok_0001" }],
  ["a token that nobody knows", { authorization: `Bearer ${aToken().text}` }],
  [
    "another's signature",
    testHeaders("/", Buffer.alloc(0), { secret: "another-secret-0123456789" }),
  ],
  ["the signature of another path", testHeaders("/another", Buffer.from("{}"))],
];

const file = serveFile();

test("the walk knows every method of every service that is served, and no other", () => {
  const served = [...PUBLIC_ENDPOINTS.keys()].filter(isRpc);
  expect(served.sort()).toEqual(methods.map(({ path }) => path).sort());
  const servedOnOps = [...OPS_ENDPOINTS.keys()].filter(isRpc);
  expect(servedOnOps.sort()).toEqual(methodsOnOps.map(({ path }) => path).sort());
});

test("what is open is there, and answers", async () => {
  expect([...PUBLIC_ENDPOINTS.keys()]).toEqual(expect.arrayContaining([...OPEN]));
  for (const path of OPEN.filter((name) => !isRpc(name))) {
    expect((await fetch(file.server.url + path)).status, path).toBe(200);
  }
  const check = { path: "/grpc.health.v1.Health/Check", methodKind: "unary" } as const;
  for (const form of CALL_FORMS) {
    expect((await call(file.server.url, check, form, {})).code, form.name).toBeUndefined();
  }
});

describe.each(NO_PROOFS)("with %s", (_, headers) => {
  test.each(methods.filter(({ path }) => !OPEN.includes(path)))(
    "$path is refused over every protocol",
    async (method) => {
      for (const form of CALL_FORMS) {
        const ending = await call(file.server.url, method, form, headers);
        expect(ending, form.name).toMatchObject(UNAUTHENTICATED);
        const isUnaryConnect = form.protocol === "Connect" && method.methodKind === "unary";
        expect(ending.httpStatus, form.name).toBe(isUnaryConnect ? 401 : 200);
      }
    },
  );

  test.each([...PUBLIC_ENDPOINTS].filter(([path]) => !isRpc(path) && !OPEN.includes(path)))(
    "%s is refused over REST",
    async (path, { method }) => {
      const response = await fetch(file.server.url + path, {
        method,
        headers: { "content-type": "application/json", ...headers },
        ...(method === "POST" && { body: "{}" }),
      });
      expect(response.status).toBe(401);
      expect(await response.json()).toMatchObject({ reason: "UNAUTHENTICATED" });
    },
  );
});

describe("the operations port", () => {
  let url: string;
  let close: () => Promise<void>;

  beforeAll(async () => {
    const onRequest = routeRequests(OPS_ENDPOINTS, emptyPort);
    ({ url, close } = await served(onRequest));
  });
  afterAll(() => close());

  test("has nothing else that is open", () => {
    const open = [...OPS_ENDPOINTS.keys()].filter((path) => !isRpc(path));
    expect(open.sort()).toEqual(OPEN_ON_OPS);
  });

  describe.each([...NO_PROOFS, ["a signature", undefined] as const])("with %s", (_, headers) => {
    test.each(methodsOnOps)("refuses $path over every protocol", async (method) => {
      for (const form of CALL_FORMS) {
        const proof = headers ?? testHeaders(method.path, emptyMessage(form));
        const ending = await call(url, method, form, proof);
        expect(ending, form.name).toMatchObject(UNAUTHENTICATED);
        expect(ending.httpStatus, form.name).toBe(form.protocol === "Connect" ? 401 : 200);
      }
    });
  });

  test.each(methodsOnOps)(
    "takes $path with a token, and the public port has none",
    async (method) => {
      const authorization = `Bearer ${OWN_TOKEN.text}`;
      for (const form of CALL_FORMS) {
        const ending = await call(url, method, form, { authorization });
        expect(ending.code, form.name).not.toBe("unauthenticated");
        const { status } = await fetch(file.server.url + method.path, {
          method: "POST",
          headers: { "content-type": "application/json", authorization },
          body: "{}",
        });
        expect(status).toBe(404);
      }
    },
  );
});

/** Serves on a free port. */
async function served(onRequest: RequestListener) {
  const { monotonicMs } = systemClock;
  const options = { host: "127.0.0.1", port: 0, tls: undefined, onRequest, monotonicMs };
  const listener = await listen(options);
  const url = `http://127.0.0.1:${listener.address.port}`;
  return { url, close: () => listener.close(1_000) };
}

/** IngestService, as if somebody had added methods to its contract. */
function extendedIngestService(): DescService {
  const file = clone(FileDescriptorProtoSchema, file_signals_v1_ingest_service.proto);
  const added = (name: string, kind: Partial<MethodDescriptorProto>) =>
    create(MethodDescriptorProtoSchema, {
      name,
      inputType: ".signals.v1.IngestRequest",
      outputType: ".signals.v1.IngestResponse",
      ...kind,
    });
  file.service[0]?.method.push(
    added("Added", {}),
    added("AddedWatch", { serverStreaming: true }),
    added("AddedUpload", { clientStreaming: true }),
  );
  const dependencies = [
    file_google_protobuf_struct,
    file_google_protobuf_timestamp,
    file_signals_v1_signal,
  ].map(({ proto }) => proto);
  const files = create(FileDescriptorSetSchema, { file: [...dependencies, file] });
  const registry: FileRegistry = createFileRegistry(files);
  return registry.getService(IngestService.typeName) as DescService;
}

/** Health, as it is in newer versions of gRPC: with a method more. */
function extendedHealth(): DescService {
  const file = clone(FileDescriptorProtoSchema, Health.file.proto);
  file.service[0]?.method.push(
    create(MethodDescriptorProtoSchema, {
      name: "List",
      inputType: ".grpc.health.v1.HealthCheckRequest",
      outputType: ".grpc.health.v1.HealthCheckResponse",
    }),
  );
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: [file] }));
  return registry.getService(Health.typeName) as DescService;
}

describe("a method that was added to a service's contract", () => {
  const extended = extendedIngestService();
  let calls = 0;
  /** Answers every method, whoever calls. */
  const answerAll = (service: DescService) =>
    Object.fromEntries(
      service.methods.map(({ localName, methodKind }) => [
        localName,
        methodKind === "server_streaming"
          ? async function* () {
              calls += 1;
              yield {};
            }
          : async () => {
              calls += 1;
              return {};
            },
      ]),
    ) as never;
  const budget = createBodyBudget(1024 * 1024, systemClock.monotonicMs);
  const health = extendedHealth();
  const table = ingestMethods({
    ingest: never,
    monotonicMs: systemClock.monotonicMs,
    turns: createTurns(systemClock.monotonicMs),
    singles: { budget, pending: createPendingMemory(1024 * 1024) },
    batches: { budget, pending: createPendingMemory(1024 * 1024) },
  });
  const services: Readonly<
    Record<string, readonly ServedService<SignedRpcDependencies & TokenRpcDependencies>[]>
  > = {
    "but not to the table of signed methods": [signedService(extended, table as never)],
    "but not to the table of methods with a token": [tokenService(extended, {} as never)],
    "and to the protocol library's router, with an answer for everybody": [
      openService(extended, answerAll(extended)),
    ],
    "whose other methods are open": [openService(health, answerAll(health))],
  };

  describe.each(Object.entries(services))("%s", (name, services) => {
    let url: string;
    let close: () => Promise<void>;
    const added = (name.startsWith("whose") ? health : extended).methods.filter(
      (method) => method.name.startsWith("Added") || method.name === "List",
    );

    beforeAll(async () => {
      const authenticate = authenticateBySignature({
        directory: directoryOf(TEST_PRODUCER_ID),
        rateLimit: NO_LIMIT,
        now: systemClock.now,
      });
      const options = { ...emptyPort, authenticate, budget };
      const onRequest = routeRequests(rpcEndpoints(services, options), options);
      ({ url, close } = await served(onRequest));
    });
    afterAll(() => close());

    test.each(added)("$name is refused without a proof", async (method) => {
      const { methodKind } = method;
      for (const form of CALL_FORMS) {
        for (const [, headers] of NO_PROOFS) {
          const ending = await call(url, { path: pathOf(method), methodKind }, form, headers);
          expect(ending, form.name).toMatchObject(UNAUTHENTICATED);
        }
      }
      expect(calls).toBe(0);
    });

    test.each(added)("$name is unimplemented for those who are known", async (method) => {
      const path = pathOf(method);
      for (const form of CALL_FORMS) {
        const authorization = `Bearer ${OWN_TOKEN.text}`;
        const headers = { ...testHeaders(path, emptyMessage(form)), authorization };
        const ending = await call(url, { path, methodKind: method.methodKind }, form, headers);
        expect(ending, form.name).toMatchObject({ code: "unimplemented", reason: undefined });
      }
      expect(calls).toBe(0);
    });
  });

  test("does not pass the protocol library's gate, unless something was decided on it", () => {
    const context = { values: createContextValues() } as HandlerContext;
    expect(() => admissionGate(context)).toThrow("not admitted");
    expect(() => admittedAnswer({}, context)).toThrow("not admitted");
  });

  test("does not compile without an implementation", () => {
    type Methods = SignedMethods<typeof IngestService>;
    expectTypeOf<Pick<Methods, "ingest">>().not.toExtend<Methods>();
    type WithToken = TokenMethods<typeof TokenService>;
    expectTypeOf<Pick<WithToken, "createToken">>().not.toExtend<WithToken>();
  });
});
