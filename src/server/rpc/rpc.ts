/**
 * Calls over gRPC, gRPC-Web and Connect.
 *
 * A call is read and decoded here, strictly, before the protocol library sees it. The
 * library then does what is the protocol's: content types, framing, errors and trailers;
 * what was found out goes to it as the call's admission. The two most common forms of
 * answer are written without it, at a fifth of its cost.
 */

import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
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
import { type Refusal, recordOf, refuse } from "../../signal/index.ts";
import { timeoutOf } from "../http/deadline.ts";
import type { Caller, NodeRequest, NodeResponse } from "../http/nodeHttp.ts";
import { internalRefusal } from "../http/problem.ts";
import type { RequestLog } from "../http/requestLog.ts";
import type { RequestRecord } from "../http/requestRecord.ts";
import { connectErrorOf } from "./errors.ts";
import { writeUnaryAnswer } from "./unaryAnswer.ts";
import { emptyBody, type WireForm, wireForm } from "./wireForm.ts";

/**
 * What the protocol library is told of a call: the answer that is there already, the
 * body that its handler shall get, or the error to send.
 */
export type Admission =
  | { readonly answer: MessageShape<DescMessage> }
  | { readonly body: Uint8Array }
  | { readonly error: ConnectError };

/** Who calls; `undefined` where calls do not come from our router. */
export const callerKey = createContextKey<Caller | undefined>(undefined);

const admissionKey = createContextKey<Admission | undefined>(undefined);

/** The implementation of a method whose answer is there already. */
export function admittedAnswer(_: unknown, context: HandlerContext): MessageShape<DescMessage> {
  const admission = context.values.get(admissionKey);
  if (admission !== undefined && "answer" in admission) return admission.answer;
  throw notAdmitted();
}

function notAdmitted(): ConnectError {
  return new ConnectError("the call was not admitted", Code.Internal);
}

/**
 * The gate that the protocol library passes before it parses: it sends the error, if there is
 * one. A call on which nothing was decided goes no further.
 */
export function admissionGate(context: HandlerContext): void {
  const admission = context.values.get(admissionKey);
  if (admission === undefined) throw notAdmitted();
  if ("error" in admission) throw admission.error;
}

/**
 * The error of a refusal, noted for the log.
 *
 * @param headers of the answer, besides those that the refusal asks for.
 */
export function refused(
  refusal: Refusal,
  record: RequestRecord,
  headers: Readonly<Record<string, string>> = {},
): { readonly error: ConnectError } {
  record.reason = refusal.reason;
  // A message may quote half a character of the caller's, which gRPC cannot write.
  const message = refusal.message.toWellFormed();
  return { error: connectErrorOf({ ...refusal, message }, headers) };
}

/** The error for a message that is compressed. */
export function compressed(record: RequestRecord): Admission {
  return unimplemented("Compressed requests are not taken: send the body as it is.", record);
}

/** The error for what is not implemented, noted for the metrics. */
export function unimplemented(message: string, record: RequestRecord): Admission {
  record.isUnimplemented = true;
  return { error: new ConnectError(message, Code.Unimplemented) };
}

/** One call on its way in. */
export interface RpcCall {
  readonly request: NodeRequest;
  readonly response: NodeResponse;
  /** The protocol library's handler of the method. */
  readonly handler: UniversalHandler;
  readonly record: RequestRecord;
  readonly requestLog: RequestLog;
}

/**
 * Serves one call.
 *
 * @param admit reads the call and decides on it; `undefined` if the caller is gone.
 */
export async function serveRpc(
  call: RpcCall,
  admit: (form: WireForm, timeoutMs: number) => Promise<Admission | undefined>,
): Promise<void> {
  const { request, handler, record } = call;
  const form = wireForm(request, handler.method);
  // A content type that is not known is the library's to refuse.
  if (form === undefined) return serveByLibrary(call, [], undefined);
  record.protocol = form.protocol;
  const { timeoutHeader } = form;
  const timeoutMs = timeoutOf({ [timeoutHeader]: request.headers[timeoutHeader] });
  const admission = await admitForm(form, timeoutMs, record, admit).catch((error: unknown) =>
    failed(call, error),
  );
  if (admission === undefined) return;
  if ("body" in admission) return serveByLibrary(call, [admission.body], admission);
  // The library gets an empty message, since the bytes have been decoded for good.
  if (!write(call, form, admission)) await serveByLibrary(call, [emptyBody(form)], admission);
}

/** Writes what was decided without the protocol library, if it can be written so. */
function write(
  call: RpcCall,
  form: WireForm,
  admission: Exclude<Admission, { readonly body: Uint8Array }>,
): boolean {
  const { response, handler, record } = call;
  const { output } = handler.method;
  try {
    return writeUnaryAnswer(response, form, output, admission, record);
  } catch (error) {
    if (response.headersSent) throw error;
    // An answer that cannot be serialised is an error of the call's protocol like any other.
    return writeUnaryAnswer(response, form, output, failed(call, error), record);
  }
}

/** The error for a fault of the server, which the log tells. */
function failed({ record, requestLog }: RpcCall, error: unknown): { readonly error: ConnectError } {
  requestLog.requestFailed(record, error);
  return refused(internalRefusal(record.requestId), record);
}

/** Leaves a call to the protocol library. */
async function serveByLibrary(
  { request, response, handler, record: { reason, caller } }: RpcCall,
  body: readonly Uint8Array[],
  admission: Admission | undefined,
): Promise<void> {
  const contextValues = createContextValues().set(admissionKey, admission).set(callerKey, caller);
  const universal = universalRequestFromNodeRequest(request, response, undefined, contextValues);
  // The server's own deadline, which is answered with a reason, is the only one. (And a
  // timeout of 99999999 hours would overflow the library's timer and end the call at once.)
  universal.header.delete("grpc-timeout");
  universal.header.delete("connect-timeout-ms");
  // The body is not always the one whose length the caller announced.
  universal.header.delete("content-length");
  const answer = await handler({ ...universal, body: createAsyncIterable([...body]) });
  const isHttpError = answer.status !== 200;
  const status = isHttpError && reason !== undefined ? recordOf(reason).httpStatus : answer.status;
  await universalResponseToNodeResponse({ ...answer, status }, response);
}

async function admitForm(
  form: WireForm,
  timeoutMs: number | undefined,
  record: RequestRecord,
  admit: (form: WireForm, timeoutMs: number) => Promise<Admission | undefined>,
): Promise<Admission | undefined> {
  if (form.isCompressed) return compressed(record);
  if (timeoutMs === undefined) {
    return refused(refuse("MALFORMED_BODY", "The timeout header is malformed."), record);
  }
  return admit(form, timeoutMs);
}
