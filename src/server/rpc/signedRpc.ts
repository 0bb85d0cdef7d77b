/**
 * Signed unary calls: authenticated before anything looks into their bytes, and answered
 * before the protocol library sees them.
 */

import type { DescMessage, DescMethodUnary, DescService, MessageShape } from "@bufbuild/protobuf";
import type { Result } from "../../signal/index.ts";
import type { Admitted, Authenticate } from "../auth/authenticate.ts";
import { receiveSigned, type SignedEndpointLimits } from "../auth/receive.ts";
import type { RequestRecord } from "../http/requestRecord.ts";
import type { Codec } from "./decode.ts";
import {
  type Admission,
  compressed,
  type RpcCall,
  refused,
  serveRpc,
  unimplemented,
} from "./rpc.ts";
import { framingOf, type WireForm } from "./wireForm.ts";

/** What a handler is told besides the message. */
export interface SignedCall extends Admitted {
  /** By the monotonic clock, in milliseconds, when the caller stops waiting. */
  readonly deadlineMs: number;
  readonly record: RequestRecord;
}

/** A message as it came. Its sender is proven; nobody has looked into it. */
export interface EncodedMessage {
  readonly codec: Codec;
  readonly bytes: Uint8Array;
}

/** A unary method that takes signed requests only. */
export interface SignedMethod<Output extends DescMessage = DescMessage>
  extends Omit<SignedEndpointLimits, "path"> {
  /** Decodes the request as well, since one of many signals is better not decoded at once. */
  handle(request: EncodedMessage, call: SignedCall): Promise<Result<MessageShape<Output>>>;
}

/** An implementation for each method of a service that takes signed requests only. */
export type SignedMethods<Service extends DescService> = {
  readonly [Name in keyof Service["method"]]: Service["method"][Name] extends DescMethodUnary<
    DescMessage,
    infer Output
  >
    ? SignedMethod<Output>
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
  { request, record }: RpcCall,
  limits: SignedEndpointLimits,
  signed: SignedMethod | undefined,
  form: WireForm,
  timeoutMs: number,
  { authenticate, monotonicMs }: SignedRpcDependencies,
): Promise<Admission | undefined> {
  const deadlineMs = monotonicMs() + timeoutMs;
  const framing = framingOf(form);
  const received = await receiveSigned(request, limits, framing, timeoutMs, authenticate, record);
  switch (received.kind) {
    case "aborted":
      return undefined;
    case "compressed":
      return compressed(record);
    case "refused":
      return refused(received.refusal, record);
  }
  if (signed === undefined) return unimplemented("This method is not implemented.", record);
  const { message: bytes, origin, admitBatch } = received;
  const signedCall = { origin, admitBatch, deadlineMs, record };
  const answer = await signed.handle({ codec: form.codec, bytes }, signedCall);
  return answer.ok ? { answer: answer.value } : refused(answer.refusal, record);
}
