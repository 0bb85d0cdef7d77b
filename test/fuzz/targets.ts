/**
 * What there is to be fuzzed: every path of both ports, as the router tells them, and every
 * method of every service, as the generated contract tells them.
 */
import { globSync } from "node:fs";
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { IngestService } from "../../gen/signals/v1/ingest_service_pb.ts";
import { pathOf } from "../server/support/closedCalls.ts";
import { OPS_ENDPOINTS, PUBLIC_ENDPOINTS } from "../server/support/served.ts";

/** The ports of a server. */
export type Port = "public" | "ops";

/** A path of a port. */
export interface Target {
  readonly port: Port;
  readonly path: string;
  readonly method: "GET" | "POST";
  /** The method of a service that stands there; `undefined` for REST. */
  readonly rpc: DescMethod | undefined;
  /** Whether it takes a bearer token, and no signature. */
  readonly takesToken: boolean;
  /** Whether anyone may ask. */
  readonly isOpen: boolean;
  /** How often it is chosen, compared with the others. */
  readonly weight: number;
}

/** What signals go to, as against all else. */
const SIGNAL_WEIGHT = 12;
const TOKEN_WEIGHT = 2;
/** All other services take calls with a token. */
const WITHOUT_TOKEN: readonly string[] = [IngestService.typeName, Health.typeName];

/** All targets, always in the same order. */
export async function findTargets(): Promise<readonly Target[]> {
  const methods = await generatedMethods();
  const ports = { public: PUBLIC_ENDPOINTS, ops: OPS_ENDPOINTS } as const;
  return Object.entries(ports).flatMap(([port, endpoints]) =>
    [...endpoints].map(([path, { method }]): Target => {
      const rpc = methods.get(path);
      const takesToken = rpc !== undefined && !WITHOUT_TOKEN.includes(rpc.parent.typeName);
      const isOpen = method === "GET" || rpc?.parent === Health;
      const takesSignals = !isOpen && !takesToken;
      const weight = takesSignals ? SIGNAL_WEIGHT : takesToken ? TOKEN_WEIGHT : 1;
      return { port: port as Port, path, method, rpc, takesToken, isOpen, weight };
    }),
  );
}

/** Every method of the generated contract, by its path. */
async function generatedMethods(): Promise<ReadonlyMap<string, DescMethod>> {
  const gen = new URL("../../gen/", import.meta.url);
  const files = globSync("**/*_pb.ts", { cwd: gen }).sort();
  const modules = await Promise.all(
    files.map((file): Promise<Record<string, unknown>> => import(new URL(file, gen).href)),
  );
  const services = modules.flatMap(Object.values).filter(isService);
  return new Map(
    services.flatMap(({ methods }) => methods.map((method) => [pathOf(method), method])),
  );
}

function isService(value: unknown): value is DescService {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "service";
}
