/**
 * Signed unary calls over gRPC, gRPC-Web and Connect.
 *
 * A call is read, authenticated and decoded here, before the protocol library sees it.
 * The library then does what is the protocol's: content types, framing, errors and
 * trailers. What was found out goes to it as the call's admission.
 */
import type { Http2ServerResponse } from "node:http2";
import type { DescMessage, DescMethodUnary, MessageShape } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";
import { createAsyncIterable, type UniversalHandler } from "@connectrpc/connect/protocol";
import {
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import type { Logger } from "pino";
import { type Origin, type Refusal, refuse } from "../ingest/index.ts";
import type { Authenticate } from "./authenticate.ts";
import { takeTimeout, timeoutOf } from "./deadline.ts";
import { type Codec, decodeMessage } from "./decode.ts";
import { connectErrorOf, connectHttpStatus, internalRefusal } from "./errors.ts";
import type { SignalOverrides } from "./jsonOverrides.ts";
import type { NodeRequest, NodeResponse } from "./nodeHttp.ts";
import { receiveSigned, type SignedEndpointLimits } from "./receive.ts";
import type { RequestRecord } from "./requestRecord.ts";
import {
  writeConnectError,
  writeConnectMessage,
  writeGrpcError,
  writeGrpcMessage,
} from "./unaryAnswer.ts";

/** What a handler is told besides the message. */
export interface SignedCall {
  readonly origin: Origin;
  /** By the monotonic clock, in milliseconds, when the caller stops waiting. */
  readonly deadlineMs: number;
  /** Fields of each signal that JSON got wrong. */
  readonly overrides: readonly SignalOverrides[];
  readonly record: RequestRecord;
}

/** The answer to a call, or why there is none. */
export type Answer<Message> =
  | { readonly answered: true; readonly message: Message }
  | { readonly answered: false; readonly refusal: Refusal };

/** A unary method that takes signed requests only. */
export interface SignedMethod<
  Input extends DescMessage = DescMessage,
  Output extends DescMessage = DescMessage,
> extends SignedEndpointLimits {
  readonly method: DescMethodUnary<Input, Output>;
  handle(message: MessageShape<Input>, call: SignedCall): Promise<Answer<MessageShape<Output>>>;
}

/** What the protocol library is told of a call: its answer, or the error to send. */
type Admission = { readonly answer: MessageShape<DescMessage> } | { readonly error: ConnectError };

const admissionKey = createContextKey<Admission | undefined>(undefined);

/** The implementation that the protocol library calls: the answer is there already. */
export function admittedAnswer(context: HandlerContext): MessageShape<DescMessage> {
  const admission = context.values.get(admissionKey);
  if (admission !== undefined && "answer" in admission) return admission.answer;
  throw new ConnectError("the call was not admitted", Code.Internal);
}

/** The gate that the protocol library passes before it parses: it sends the error, if there is one. */
export function admissionGate(context: HandlerContext): void {
  const admission = context.values.get(admissionKey);
  if (admission !== undefined && "error" in admission) throw admission.error;
}

/** What {@link serveSignedRpc} is made of. */
export interface SignedRpcDependencies {
  readonly authenticate: Authenticate;
  readonly monotonicMs: () => number;
  readonly log: Logger;
}

/**
 * Serves one request to a signed method.
 *
 * @param handler the protocol library's handler of this method.
 */
export async function serveSignedRpc(
  request: NodeRequest,
  response: NodeResponse,
  signed: SignedMethod,
  handler: UniversalHandler,
  record: RequestRecord,
  dependencies: SignedRpcDependencies,
): Promise<void> {
  const form = wireForm(request);
  // The library refuses a content type that is not known.
  if (form === undefined) {
    return serveByLibrary(request, response, handler, undefined, undefined, record);
  }
  record.protocol = form.protocol;
  const admission = await admit(request, signed, form, record, dependencies).catch(
    (error: unknown) => {
      dependencies.log.error({ err: error, request_id: record.requestId }, "request failed");
      return refused(internalRefusal(record.requestId), record);
    },
  );
  if (admission === undefined) return;
  if (form.protocol === "connect") writeConnect(response, form.codec, signed, admission, record);
  else if (form.protocol === "grpc" && "stream" in response) {
    writeGrpc(response, form.codec, signed, admission);
  } else await serveByLibrary(request, response, handler, form, admission, record);
}

function writeConnect(
  response: NodeResponse,
  codec: Codec,
  { method }: SignedMethod,
  admission: Admission,
  { reason }: RequestRecord,
): void {
  if ("answer" in admission) writeConnectMessage(response, codec, method.output, admission.answer);
  else writeConnectError(response, admission.error, reason && connectHttpStatus(reason));
}

function writeGrpc(
  response: Http2ServerResponse,
  codec: Codec,
  { method }: SignedMethod,
  admission: Admission,
): void {
  if ("answer" in admission) writeGrpcMessage(response, codec, method.output, admission.answer);
  else writeGrpcError(response, codec, admission.error);
}

/** Leaves the answer to the protocol library. */
async function serveByLibrary(
  request: NodeRequest,
  response: NodeResponse,
  handler: UniversalHandler,
  form: WireForm | undefined,
  admission: Admission | undefined,
  { reason }: RequestRecord,
): Promise<void> {
  const contextValues = createContextValues().set(admissionKey, admission);
  const universal = universalRequestFromNodeRequest(request, response, undefined, contextValues);
  takeTimeout(universal.header);
  // The library gets an empty message: the bytes have been decoded already, and strictly.
  // The length that the caller announced is not that of the empty message, and the
  // library holds a body to its length.
  const body = form === undefined ? [] : [emptyBody(form)];
  universal.header.delete("content-length");
  const answer = await handler({ ...universal, body: createAsyncIterable(body) });
  const isHttpError = answer.status !== 200;
  const status = isHttpError && reason !== undefined ? connectHttpStatus(reason) : answer.status;
  await universalResponseToNodeResponse({ ...answer, status }, response);
}

/** How the body of a call is written. */
interface WireForm {
  readonly protocol: "grpc" | "grpc-web" | "connect";
  readonly codec: Codec;
  readonly isCompressed: boolean;
}

const CONTENT_TYPES: readonly (readonly [RegExp, WireForm["protocol"]])[] = [
  [/^application\/grpc(?:\+(json)(?:; ?charset=utf-?8)?|\+proto)?$/i, "grpc"],
  [/^application\/grpc-web(?:\+(json)(?:; ?charset=utf-?8)?|\+proto)?$/i, "grpc-web"],
  [/^application\/(?:(json)(?:; ?charset=utf-?8)?|proto)$/i, "connect"],
];

const ENCODING_HEADERS = {
  grpc: "grpc-encoding",
  "grpc-web": "grpc-encoding",
  connect: "content-encoding",
} as const;

function wireForm(request: NodeRequest): WireForm | undefined {
  if (request.method !== "POST") return undefined;
  for (const [pattern, protocol] of CONTENT_TYPES) {
    const match = pattern.exec(request.headers["content-type"] ?? "");
    if (match === null) continue;
    const encoding = request.headers[ENCODING_HEADERS[protocol]] ?? "identity";
    const codec = match[1] === undefined ? "binary" : "json";
    return { protocol, codec, isCompressed: encoding !== "identity" };
  }
  return undefined;
}

/** An empty message in the form of the call. */
function emptyBody({ protocol, codec }: WireForm): Uint8Array {
  const message = codec === "json" ? Buffer.from("{}") : Buffer.alloc(0);
  if (protocol === "connect") return message;
  const envelope = Buffer.alloc(5);
  envelope.writeUInt32BE(message.length, 1);
  return Buffer.concat([envelope, message]);
}

/** @returns `undefined` if the caller is gone. */
async function admit(
  request: NodeRequest,
  signed: SignedMethod,
  form: WireForm,
  record: RequestRecord,
  { authenticate, monotonicMs }: SignedRpcDependencies,
): Promise<Admission | undefined> {
  if (form.isCompressed) return compressed();
  const timeoutMs = timeoutOf(request.headers);
  if (timeoutMs === undefined) {
    return refused(refuse("MALFORMED_BODY", "The timeout header is malformed."), record);
  }
  const deadlineMs = monotonicMs() + timeoutMs;
  const isFramed = form.protocol !== "connect";
  const received = await receiveSigned(request, signed, isFramed, timeoutMs, authenticate, record);
  switch (received.kind) {
    case "aborted":
      return undefined;
    case "compressed":
      return compressed();
    case "refused":
      return refused(received.refusal, record);
  }
  const decoding = decodeMessage(signed.method.input, form.codec, received.message);
  if (!decoding.decoded) return refused(decoding.refusal, record);
  const { origin } = received;
  const call = { origin, deadlineMs, overrides: decoding.overrides, record };
  const answer = await signed.handle(decoding.message, call);
  return answer.answered ? { answer: answer.message } : refused(answer.refusal, record);
}

function refused(refusal: Refusal, record: RequestRecord): Admission {
  record.reason = refusal.reason;
  return { error: connectErrorOf(refusal) };
}

function compressed(): Admission {
  const message = "Signed endpoints take no compression: send the body as it was signed.";
  return { error: new ConnectError(message, Code.Unimplemented) };
}
