/** How calls about one producer are refused, and answered with that producer. */
import type { Producer } from "../../../gen/signals/v1/producer_service_pb.ts";
import { type AccessStore, producerIdViolations, seesProducer } from "../../access/index.ts";
import {
  invalidRequest,
  ok,
  type Refusal,
  type Result,
  refuseCall,
  refused,
  type Violation,
} from "../../signal/index.ts";
import type { AdminCall } from "./adminMethod.ts";
import { producerToProto } from "./producerMessages.ts";

/** There is none, or none that the caller may see: nobody can tell which. */
export const NO_PRODUCER = refuseCall(
  "NOT_FOUND",
  "There is no producer of this id that this token may see.",
);

/**
 * Why nothing is done about a producer, before the store is asked.
 *
 * @param violations of the other fields, told with those of the id.
 * @param field where the id is.
 */
export function faultOf(
  producerId: string,
  { token }: AdminCall,
  violations: readonly Violation[] = [],
  field = "producer_id",
): Refusal | undefined {
  const all = [...producerIdViolations(producerId, field), ...violations];
  if (all.length > 0) return invalidRequest(all);
  return seesProducer(token, producerId) ? undefined : NO_PRODUCER;
}

/** The answer to a call that shows one producer. @throws StoreUnavailableError */
export async function shownProducer(
  store: AccessStore,
  producerId: string,
  { timeoutMs }: AdminCall,
): Promise<Result<{ readonly producer: Producer }>> {
  const producer = await store.getProducer(producerId, timeoutMs());
  return producer === undefined
    ? refused(NO_PRODUCER)
    : ok({ producer: producerToProto(producer) });
}

/**
 * The answer to a call that made a secret, with the producer as it is by now. The secret can be
 * told only here, so that it is also where the producer cannot be read any more.
 */
export async function shownSecret(
  secret: string,
  store: AccessStore,
  producerId: string,
  call: AdminCall,
): Promise<Result<{ readonly secret: string; readonly producer?: Producer }>> {
  const shown = await shownProducer(store, producerId, call).catch(() => undefined);
  return ok({ secret, ...(shown?.ok && shown.value) });
}
