/**
 * Unary calls with a bearer token: authenticated and allowed before their bodies are read.
 */
import type { DescMessage, DescMethodUnary, DescService, MessageShape } from "@bufbuild/protobuf";
import type { LoadedToken, Scope } from "../../access/index.ts";
import { NOT_STORED, type Refusal, type Result, refuseCall } from "../../signal/index.ts";
import { type AuthenticateToken, BEARER_CHALLENGE } from "../auth/bearer.ts";
import { boundFailure } from "../auth/failedProof.ts";
import type { BodyBudget } from "../http/bodyBudget.ts";
import { readMessage } from "../http/message.ts";
import type { RequestRecord } from "../http/requestRecord.ts";
import { decodeMessage } from "./decode.ts";
import {
  type Admission,
  compressed,
  type RpcCall,
  refused,
  serveRpc,
  unimplemented,
} from "./rpc.ts";
import { framingOf, type WireForm } from "./wireForm.ts";

/** The greatest request of a call with a token, in bytes. */
const TOKEN_REQUEST_MAX_BYTES = 64 * 1024;

/** What a handler is told besides the message. */
export interface TokenCall {
  readonly token: LoadedToken;
  /** By the monotonic clock, in milliseconds, when the caller stops waiting. */
  readonly deadlineMs: number;
  readonly record: RequestRecord;
}

/** A unary method that takes calls with a token only. */
export interface TokenMethod<
  Input extends DescMessage = DescMessage,
  Output extends DescMessage = DescMessage,
> {
  /** What the token must allow. */
  readonly scope: Scope;
  handle(message: MessageShape<Input>, call: TokenCall): Promise<Result<MessageShape<Output>>>;
  /**
   * Told of each refusal of a proven token.
   *
   * @param message `undefined` if it was not read.
   */
  onRefused(refusal: Refusal, token: LoadedToken, message: MessageShape<Input> | undefined): void;
}

/** An implementation for each method of a service that takes calls with a token only. */
export type TokenMethods<Service extends DescService> = {
  readonly [Name in keyof Service["method"]]: Service["method"][Name] extends DescMethodUnary<
    infer Input,
    infer Output
  >
    ? TokenMethod<Input, Output>
    : never;
};

/** What {@link serveTokenRpc} is made of. */
export interface TokenRpcDependencies {
  readonly authenticateToken: AuthenticateToken;
  readonly monotonicMs: () => number;
  /** The memory for bodies until they are decoded. */
  readonly budget: BodyBudget;
}

/**
 * Serves one call to a method that takes calls with a token only.
 *
 * @param path of the method.
 * @param method `undefined` if nobody has implemented it. Who has a live token is told so.
 */
export function serveTokenRpc(
  call: RpcCall,
  path: string,
  method: TokenMethod | undefined,
  dependencies: TokenRpcDependencies,
): Promise<void> {
  return serveRpc(call, (form, timeoutMs) =>
    admit(call, path, method, form, timeoutMs, dependencies),
  );
}

async function admit(
  call: RpcCall,
  path: string,
  method: TokenMethod | undefined,
  form: WireForm,
  timeoutMs: number,
  dependencies: TokenRpcDependencies,
): Promise<Admission | undefined> {
  const { request, record } = call;
  const deadlineMs = dependencies.monotonicMs() + timeoutMs;
  // A token in a query string would be kept in the logs of everything on the way.
  if (request.url !== path) return refused(NO_QUERY, record);
  const proof = dependencies.authenticateToken(request);
  if (!proof.ok) {
    const refusal = await boundFailure(proof.refusal, record.caller);
    return refused(refusal, record, challengeOf(refusal));
  }
  const token = proof.value;
  record.caller.prove(token.standing);
  record.token = token;
  if (method === undefined) return unimplemented("This method is not implemented.", record);

  const outcome = await handle(call, method, form, { token, deadlineMs, record }, dependencies);
  if (outcome === undefined || !("refusal" in outcome)) return outcome;
  method.onRefused(outcome.refusal, token, outcome.message);
  return refused(outcome.refusal, record);
}

/** An answer of 401 names the scheme that would be accepted (RFC 9110, section 11.6.1). */
function challengeOf({ reason }: Refusal): Readonly<Record<string, string>> {
  return reason === "UNAUTHENTICATED" ? BEARER_CHALLENGE : {};
}

const NO_QUERY = refuseCall("MALFORMED_BODY", "This endpoint takes no query string.");

/** A refusal, and the message that was refused, if it was read. */
interface RefusedMessage {
  readonly refusal: Refusal;
  readonly message: MessageShape<DescMessage> | undefined;
}

async function handle(
  { request, handler }: RpcCall,
  method: TokenMethod,
  form: WireForm,
  call: TokenCall,
  { budget, monotonicMs }: TokenRpcDependencies,
): Promise<Admission | RefusedMessage | undefined> {
  const { token, record, deadlineMs } = call;
  if (!token.scopes.includes(method.scope)) {
    return { refusal: scopeMissing(method.scope), message: undefined };
  }
  using reservation = budget.reserve(record.caller.address);
  const limits = { timeoutMs: deadlineMs - monotonicMs(), reservation };
  const reading = await readMessage(request, framingOf(form), TOKEN_REQUEST_MAX_BYTES, limits);
  switch (reading.kind) {
    case "aborted":
      return undefined;
    case "compressed":
      return compressed(record);
    case "refused":
      return { refusal: ofCall(reading.refusal), message: undefined };
  }
  const decoding = decodeMessage(handler.method.input, form.codec, reading.message);
  if (!decoding.ok) return { refusal: ofCall(decoding.refusal), message: undefined };
  const { message } = decoding.value;
  const answer = await method.handle(message, call);
  return answer.ok ? { answer: answer.value } : { refusal: answer.refusal, message };
}

function scopeMissing(scope: Scope): Refusal {
  return refuseCall("SCOPE_MISSING", `This call needs a token with the scope ${scope}.`);
}

/** A refusal without what it says of signals, of which such a call stores none. */
function ofCall(refusal: Refusal): Refusal {
  const message = refusal.message
    .replace(` ${NOT_STORED}`, "")
    .replace(" under the same idempotency key", "");
  return { ...refusal, message };
}
