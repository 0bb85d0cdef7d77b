/**
 * The answer to a unary call as the two common protocols write it: Connect, and gRPC over
 * HTTP/2. A small part of what the protocol library does, at a small part of its cost;
 * whatever is not exactly this form is left to the library.
 */
import type { ServerResponse } from "node:http";
import type { Http2ServerResponse } from "node:http2";
import { type DescMessage, type MessageShape, toBinary, toJsonString } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import { codeToHttpStatus, errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { recordOf } from "../../signal/index.ts";
import type { NodeResponse } from "../http/nodeHttp.ts";
import type { RequestRecord } from "../http/requestRecord.ts";
import type { Codec } from "./decode.ts";
import { ENVELOPE_BYTES, type WireForm } from "./wireForm.ts";

/**
 * Writes the answer to a unary call, if it is of a form that is known here.
 *
 * @returns false if it is not; then nothing was written.
 * @throws Error before anything was written, if the message cannot be serialised.
 */
export function writeUnaryAnswer<Desc extends DescMessage>(
  response: NodeResponse,
  { protocol, isFramed, codec }: WireForm,
  schema: Desc,
  answer: { readonly answer: MessageShape<Desc> } | { readonly error: ConnectError },
  { reason }: Pick<RequestRecord, "reason">,
): boolean {
  if (protocol === "connect" && !isFramed) {
    if ("answer" in answer) writeConnectMessage(response, codec, schema, answer.answer);
    else writeConnectError(response, answer.error, reason && recordOf(reason).httpStatus);
    return true;
  }
  if (protocol === "grpc" && "stream" in response) {
    if ("answer" in answer) writeGrpcMessage(response, codec, schema, answer.answer);
    else writeGrpcError(response, codec, answer.error);
    return true;
  }
  return false;
}

/** Writes a message as Connect does (Connect protocol, "Unary-Response"). */
function writeConnectMessage<Desc extends DescMessage>(
  response: NodeResponse,
  codec: Codec,
  schema: Desc,
  message: MessageShape<Desc>,
): void {
  // As text, JSON goes to the socket in one piece with the headers.
  const body = codec === "json" ? toJsonString(schema, message) : toBinary(schema, message);
  // Both kinds of response take the same arguments, but their types differ.
  (response as ServerResponse).writeHead(200, {
    "content-type": codec === "json" ? "application/json" : "application/proto",
    "content-length": Buffer.byteLength(body),
  });
  response.end(body);
}

/** Writes an error as Connect does (Connect protocol, "Error end-stream"). */
function writeConnectError(
  response: NodeResponse,
  error: ConnectError,
  status = codeToHttpStatus(error.code),
): void {
  const body = errorToJsonBytes(error, undefined);
  (response as ServerResponse).writeHead(status, {
    ...Object.fromEntries(error.metadata),
    "content-type": "application/json",
    "content-length": body.length,
  });
  response.end(body);
}

/** Writes a message as gRPC does over HTTP/2 (gRPC over HTTP2, "Response"). */
function writeGrpcMessage<Desc extends DescMessage>(
  response: Http2ServerResponse,
  codec: Codec,
  schema: Desc,
  message: MessageShape<Desc>,
): void {
  const bytes =
    codec === "json" ? Buffer.from(toJsonString(schema, message)) : toBinary(schema, message);
  const body = Buffer.allocUnsafe(ENVELOPE_BYTES + bytes.length);
  body.writeUInt8(0, 0);
  body.writeUInt32BE(bytes.length, 1);
  body.set(bytes, ENVELOPE_BYTES);
  response.writeHead(200, { "content-type": grpcContentType(codec) });
  response.addTrailers({ "grpc-status": "0" });
  response.end(body);
}

/** Writes an error as gRPC does over HTTP/2. */
function writeGrpcError(response: Http2ServerResponse, codec: Codec, error: ConnectError): void {
  const trailers = new Headers();
  setTrailerStatus(trailers, error);
  response.writeHead(200, { "content-type": grpcContentType(codec) });
  response.addTrailers(Object.fromEntries(trailers));
  response.end();
}

function grpcContentType(codec: Codec): string {
  return codec === "json" ? "application/grpc+json" : "application/grpc+proto";
}
