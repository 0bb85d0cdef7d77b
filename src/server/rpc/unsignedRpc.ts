/**
 * Calls that need no signature: small ones, each of a single message. They are read and
 * decoded as strictly as signed ones, since the protocol library calls a malformed
 * message a fault of the server.
 */
import type { BodyBudget } from "../http/bodyBudget.ts";
import { readMessage } from "../http/message.ts";
import { decodeMessage } from "./decode.ts";
import { type Admission, compressed, type RpcCall, refused, serveRpc } from "./rpc.ts";
import { framingOf, type WireForm } from "./wireForm.ts";

/** The greatest request, in bytes. */
export const UNSIGNED_MAX_BYTES = 4_096;

/** Serves one call to a method that is not signed, unary or with a stream of answers. */
export function serveUnsignedRpc(call: RpcCall, budget: BodyBudget): Promise<void> {
  return serveRpc(call, (form, timeoutMs) => admit(call, form, timeoutMs, budget));
}

async function admit(
  { request, handler, record }: RpcCall,
  form: WireForm,
  timeoutMs: number,
  budget: BodyBudget,
): Promise<Admission | undefined> {
  using reservation = budget.reserve(record.caller.address);
  const limits = { timeoutMs, reservation };
  const reading = await readMessage(request, framingOf(form), UNSIGNED_MAX_BYTES, limits);
  switch (reading.kind) {
    case "aborted":
      return undefined;
    case "compressed":
      return compressed(record);
    case "refused":
      return refused(reading.refusal, record);
  }
  const decoding = decodeMessage(handler.method.input, form.codec, reading.message);
  return decoding.ok ? { body: reading.body } : refused(decoding.refusal, record);
}
