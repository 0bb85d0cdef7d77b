/**
 * What the log will say about one request. Handlers fill it in on the way; it is
 * written as one line when the answer is done.
 */
import type { Reason } from "../../signal/index.ts";
import type { RequestCaller } from "./nodeHttp.ts";

/** The facts of one request. */
export interface RequestRecord {
  /** As in `x-request-id`. */
  readonly requestId: string;
  /** Whose connection it came on. */
  readonly caller: RequestCaller;
  /** `grpc`, `grpc-web`, `connect` or `rest`; `http` until it is known. */
  protocol: "http" | "grpc" | "grpc-web" | "connect" | "rest";
  /** The path that it asked for, if there is something at it. */
  endpoint?: string;
  /** The producer, once it is proven. */
  producerId?: string;
  /** The token, once it is proven. */
  token?: { readonly tokenId: string; readonly name: string };
  /** The id of the signal that was stored or found. */
  signalId?: string;
  /** How the signals of the request came out. */
  stored?: number;
  duplicates?: number;
  refused?: number;
  /** Why the whole request was refused. */
  reason?: Reason;
  /** Whether it was refused as unimplemented, for which there is no reason. */
  isUnimplemented?: boolean;
}

/** Notes the signals' outcomes in the record. */
export function recordResults(
  record: RequestRecord,
  results: readonly {
    readonly kind: string;
    readonly duplicate?: boolean;
    readonly signalId?: string;
  }[],
): void {
  record.stored = results.filter((result) => result.kind === "stored" && !result.duplicate).length;
  record.duplicates = results.filter((result) => result.duplicate === true).length;
  record.refused = results.filter((result) => result.kind === "refused").length;
  const only = results.length === 1 ? results[0] : undefined;
  if (only?.signalId !== undefined) record.signalId = only.signalId;
}
