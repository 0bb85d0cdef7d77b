/**
 * What a port serves, path by path.
 */
import type { NodeRequest, NodeResponse } from "./nodeHttp.ts";
import type { RequestRecord } from "./requestRecord.ts";

/** Serves one request. */
export type RequestHandler = (
  request: NodeRequest,
  response: NodeResponse,
  record: RequestRecord,
) => Promise<void>;

/** What stands at one path. */
export interface Endpoint {
  readonly method: "GET" | "POST";
  /** Whether its answer may be a stream, which lasts longer. */
  readonly isStream: boolean;
  readonly handle: RequestHandler;
}
