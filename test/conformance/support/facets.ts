/**
 * What an answer says, facet by facet, whatever its protocol, so that two answers can be
 * compared and a difference has a name.
 */
import { connectError, framesOf, grpcError } from "../../server/support/wire.ts";
import type { WireAnswer } from "./client.ts";

/** The facets of an answer. */
export interface Facets {
  /** The HTTP status, or how the exchange broke off. */
  readonly status: string;
  readonly contentType: string | undefined;
  /** `ok` or the code of the error as Connect names it; `http` if the answer is of no RPC protocol. */
  readonly code: string;
  /** The message of the error, or the text of a plain answer. */
  readonly message: string;
  /** The reason in the details of the error. */
  readonly reason: string | undefined;
  /** All details of the error, decoded. */
  readonly details: string;
  /** The messages of a success, as they came. */
  readonly result: string;
  /** The header fields and trailers that no other facet tells. */
  readonly fields: string;
  /** In which parts the answer came, and whether its length was told. */
  readonly shape: string;
  readonly requestId: string | undefined;
  /** Everything to the byte. What another facet tells may show here again. */
  readonly wire: string;
}

export type Facet = keyof Facets;

/** Fields that differ from answer to answer, or are the connection's. */
const VOLATILE: ReadonlySet<string> = new Set(["date", "x-request-id"]);
/** Fields that another facet tells. */
const TOLD: ReadonlySet<string> = new Set([
  "content-type",
  "content-length",
  "grpc-status",
  "grpc-message",
  "grpc-status-details-bin",
]);
const GRPC_WEB_TRAILER_FLAG = 0x80;
const CONNECT_END_FLAG = 0x02;

/** Reads an answer. */
export function facetsOf(answer: WireAnswer): Facets {
  const { headers, body, trailers } = answer;
  const contentType = headers["content-type"];
  const { code, message, reason, details, result, metadata } = rpcOf(answer, contentType ?? "");
  const parts = [
    `length ${headers["content-length"] === undefined ? "untold" : "told"}`,
    ...(body.length > 0 ? ["body"] : []),
    ...(Object.keys(trailers).length > 0 ? ["trailers"] : []),
  ];
  return {
    status: `${answer.status}`,
    contentType,
    code,
    message,
    reason,
    details,
    result,
    fields: JSON.stringify([sorted(headers, TOLD), sorted({ ...trailers, ...metadata }, TOLD)]),
    shape: parts.join(", "),
    requestId: headers["x-request-id"],
    wire: JSON.stringify([sorted(headers), body.toString("latin1"), sorted(trailers)]),
  };
}

interface Rpc extends Pick<Facets, "code" | "message" | "reason" | "details" | "result"> {
  /** The trailers that came in the body. */
  readonly metadata: Readonly<Record<string, string>>;
}

function rpcOf({ status, body, trailers }: WireAnswer, contentType: string): Rpc {
  const text = body.toString("utf8");
  if (contentType.startsWith("application/grpc-web")) {
    const frames = framesOf(body);
    const last = frames.find(({ flags }) => flags === GRPC_WEB_TRAILER_FLAG)?.bytes;
    const metadata = Object.fromEntries(
      (last?.toString("utf8") ?? "")
        .split("\r\n")
        .filter((line) => line !== "")
        .map((line) => line.split(/: (.*)/s).slice(0, 2)),
    );
    const messages = frames.filter(({ flags }) => flags !== GRPC_WEB_TRAILER_FLAG);
    return { ...grpcRpc(metadata, messages.map(hex).join()), metadata };
  }
  if (contentType.startsWith("application/grpc")) {
    return { ...grpcRpc(trailers, framesOf(body).map(hex).join()), metadata: {} };
  }
  if (contentType.startsWith("application/connect+")) {
    const frames = framesOf(body);
    const last = frames.find(({ flags }) => flags === CONNECT_END_FLAG)?.bytes;
    const { error } = JSON.parse(last?.toString("utf8") ?? "{}");
    const messages = frames.filter(({ flags }) => flags !== CONNECT_END_FLAG);
    const result = messages.map(hex).join();
    return error === undefined
      ? success(result)
      : { ...connectRpc(Buffer.from(JSON.stringify(error))), result };
  }
  if (contentType === "application/json" && status !== 200) return connectRpc(body);
  if (contentType === "application/json") return success(text);
  if (contentType === "application/proto") return success(body.toString("hex"));
  return { ...success(""), code: "http", message: text };
}

function grpcRpc(
  trailers: Readonly<Record<string, string>>,
  result: string,
): Omit<Rpc, "metadata"> {
  // Without a status a gRPC call has no outcome, whatever else came.
  if (trailers["grpc-status"] === undefined) return { ...success(result), code: "none" };
  const error = grpcError(trailers);
  return error === undefined ? success(result) : { ...failure(error), result };
}

function connectRpc(body: Buffer): Rpc {
  return { ...failure(connectError(body)), result: "" };
}

function success(result: string): Rpc {
  return { code: "ok", message: "", reason: undefined, details: "", result, metadata: {} };
}

function failure({ code, message, ...details }: ReturnType<typeof connectError>) {
  return {
    code: code ?? "none",
    message,
    reason: details.reason,
    details: JSON.stringify(details),
    metadata: {},
  };
}

function hex({ flags, bytes }: ReturnType<typeof framesOf>[number]): string {
  return `${flags}:${bytes.toString("hex")}`;
}

function sorted(
  fields: Readonly<Record<string, string>>,
  without: ReadonlySet<string> = VOLATILE,
): [string, string][] {
  return Object.entries(fields)
    .filter(([name]) => !VOLATILE.has(name) && !without.has(name))
    .sort(([one], [other]) => (one < other ? -1 : 1));
}
