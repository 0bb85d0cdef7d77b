/**
 * Requests as they are on the wire, so that one can be captured and sent again byte by
 * byte, or be wrong in a way that no client would send.
 */
import { fromBinary } from "@bufbuild/protobuf";
import { IngestResponseSchema } from "../../../gen/signals/v1/ingest_service_pb.ts";
import { framed, http1Post } from "../../server/support/wire.ts";
import { testHeaders } from "../../support/server.ts";
import type { Reply } from "./reply.ts";
import { replyOf } from "./senders.ts";

export { INGEST_BATCH_PATH, INGEST_PATH } from "../../server/support/wire.ts";
export const REST_PATHS = ["/api/v1/signals/ingest", "/api/v1/signals"] as const;

/** One request, whole. */
export interface RawRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** One answer, whole. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** Signs a body as of now. */
export function signed(
  path: string,
  body: Uint8Array | string,
  contentType: string,
  others: Readonly<Record<string, string>> = {},
): RawRequest {
  const bytes = Buffer.from(body);
  const headers = { ...testHeaders(path, bytes), "content-type": contentType, ...others };
  return { path, headers, body: bytes };
}

/** A request to REST, signed as of now. */
export function signedRest(
  body: unknown,
  others: Readonly<Record<string, string>> = {},
  path: string = REST_PATHS[0],
): RawRequest {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return signed(path, text, "application/json", others);
}

/** Sends a request as it is, over HTTP/1.1. */
export async function sendRaw(
  serverUrl: string,
  { path, headers, body }: RawRequest,
): Promise<RawAnswer> {
  const { httpStatus, ...answer } = await http1Post(serverUrl, path, headers, body);
  return { status: httpStatus, headers: answer.headers, body: answer.body };
}

/** The body of an answer in JSON. */
export function jsonOf<Body = Record<string, unknown>>({ body }: RawAnswer): Body {
  return JSON.parse(Buffer.from(body).toString("utf8"));
}

/** The same message in the framing of gRPC-Web: the signature does not cover the frame. */
export function asGrpcWeb({ path, headers, body }: RawRequest): RawRequest {
  const contentType = "application/grpc-web+proto";
  return { path, headers: { ...headers, "content-type": contentType }, body: framed(body) };
}

/** What a successful answer of Connect in protobuf, or of gRPC-Web, says. */
export function replyOfBinary({ headers, body }: RawAnswer): Reply {
  const isFramed = headers["content-type"]?.startsWith("application/grpc-web") === true;
  if (!isFramed) return replyOf(fromBinary(IngestResponseSchema, body));
  const length = Buffer.from(body).readUInt32BE(1);
  return replyOf(fromBinary(IngestResponseSchema, body.subarray(5, 5 + length)));
}
