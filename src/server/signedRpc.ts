/**
 * Signed unary calls: authenticated before anything looks into their bytes, and answered
 * before the protocol library sees them.
 */
import type { DescMessage, DescMethodUnary, DescService, MessageShape } from "@bufbuild/protobuf";
import type { Origin, Refusal } from "../ingest/index.ts";
import type { Authenticate } from "./authenticate.ts";
import { decodeMessage } from "./decode.ts";
import { receiveSigned, type SignedEndpointLimits } from "./receive.ts";
import type { RequestRecord } from "./requestRecord.ts";
import {
  type Admission,
  compressed,
  type RpcCall,
  refused,
  serveRpc,
  unimplemented,
} from "./rpc.ts";
import type { SignalOverrides } from "./unclearFields.ts";
import type { WireForm } from "./wireForm.ts";

/** What a handler is told besides the message. */
export interface SignedCall {
  readonly origin: Origin;
  /** By the monotonic clock, in milliseconds, when the caller stops waiting. */
  readonly deadlineMs: number;
  /** Fields of each signal that replace those of the message. */
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
> extends Omit<SignedEndpointLimits, "path"> {
  handle(message: MessageShape<Input>, call: SignedCall): Promise<Answer<MessageShape<Output>>>;
}

/** An implementation for each method of a service that takes signed requests only. */
export type SignedMethods<Service extends DescService> = {
  readonly [Name in keyof Service["method"]]: Service["method"][Name] extends DescMethodUnary<
    infer Input,
    infer Output
  >
    ? SignedMethod<Input, Output>
    : never;
};

/** What {@link serveSignedRpc} is made of. */
export interface SignedRpcDependencies {
  readonly authenticate: Authenticate;
  readonly monotonicMs: () => number;
}

/**
 * Serves one call to a method that takes signed requests only.
 *
 * @param signed `undefined` if nobody has implemented the method. Who proves to be a producer
 *   is told so.
 */
export function serveSignedRpc(
  call: RpcCall,
  limits: SignedEndpointLimits,
  signed: SignedMethod | undefined,
  dependencies: SignedRpcDependencies,
): Promise<void> {
  return serveRpc(call, (form, timeoutMs) =>
    admit(call, limits, signed, form, timeoutMs, dependencies),
  );
}

async function admit(
  { request, handler, record }: RpcCall,
  limits: SignedEndpointLimits,
  signed: SignedMethod | undefined,
  form: WireForm,
  timeoutMs: number,
  { authenticate, monotonicMs }: SignedRpcDependencies,
): Promise<Admission | undefined> {
  const deadlineMs = monotonicMs() + timeoutMs;
  const { isFramed } = form;
  const received = await receiveSigned(request, limits, isFramed, timeoutMs, authenticate, record);
  switch (received.kind) {
    case "aborted":
      return undefined;
    case "compressed":
      return compressed(record);
    case "refused":
      return refused(received.refusal, record);
  }
  if (signed === undefined) return unimplemented("This method is not implemented.", record);
  const decoding = decodeMessage(handler.method.input, form.codec, received.message);
  if (!decoding.decoded) return refused(decoding.refusal, record);
  const { origin } = received;
  const { message, overrides } = decoding;
  const answer = await signed.handle(message, { origin, deadlineMs, overrides, record });
  return answer.answered ? { answer: answer.message } : refused(answer.refusal, record);
}
