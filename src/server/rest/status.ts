/**
 * The routes that tell how the server is and what its errors mean, on either port.
 */
import type { Endpoint } from "../http/endpoint.ts";
import { ERRORS_PATH, sendJson } from "../http/problem.ts";
import { sendErrorsPage } from "./errorsPage.ts";

/** What stands at a path: never a stream. */
export type RestRoute = Omit<Endpoint, "isStream">;

/** What the routes tell. */
export interface StatusDependencies {
  /** Whether the server can do its work now. */
  readonly isReady: () => Promise<boolean>;
  readonly version: string;
}

/** The routes that tell how the server is, by their path. */
export function statusRoutes({
  isReady,
  version,
}: StatusDependencies): ReadonlyMap<string, RestRoute> {
  return new Map<string, RestRoute>([
    [ERRORS_PATH, { method: "GET", handle: async (_, response) => sendErrorsPage(response) }],
    [
      "/api/v1/health",
      {
        method: "GET",
        handle: async (_, response) => sendJson(response, 200, { status: "ok" }),
      },
    ],
    [
      "/api/v1/ready",
      {
        method: "GET",
        handle: async (_, response) => {
          const ready = await isReady();
          sendJson(response, ready ? 200 : 503, { status: ready ? "ready" : "not_ready" });
        },
      },
    ],
    [
      "/api/v1/version",
      {
        method: "GET",
        handle: async (_, response) => sendJson(response, 200, { name: "countersign", version }),
      },
    ],
  ]);
}
