/** The methods of ProducerService that change a producer's secrets. */
import {
  type ProducerService,
  RevokeProducerSecretResponseSchema,
  RotateProducerSecretResponseSchema,
} from "../../../gen/signals/v1/producer_service_pb.ts";
import { GRACE_SECONDS_DEFAULT, graceViolations, type ProducerInfo } from "../../access/index.ts";
import { type Refusal, refuseCall, refused, type Violation } from "../../signal/index.ts";
import { formatTimestamp } from "../../signing/index.ts";
import type { TokenMethods } from "../rpc/tokenRpc.ts";
import { type AdminDependencies, adminMethod, REPEAT } from "./adminMethod.ts";
import { addNewSecret, type Sealing } from "./newSecret.ts";
import { faultOf, NO_PRODUCER, shownProducer, shownSecret } from "./producerAnswers.ts";

type Methods = TokenMethods<typeof ProducerService>;

/** `RotateProducerSecret`: another secret, and for a while the one before. */
export function rotateProducerSecretMethod(
  dependencies: AdminDependencies & { readonly sealing: Sealing },
): Methods["rotateProducerSecret"] {
  const { store, sealing, onChanged } = dependencies;
  return adminMethod(dependencies, {
    action: "producer_secret.rotate",
    output: RotateProducerSecretResponseSchema,
    withoutAnswer:
      "It is not known whether the secret was rotated. If it was, nobody has the new one: rotate again, with force.",
    async handle(request, call) {
      const { producerId, force, graceSeconds = GRACE_SECONDS_DEFAULT } = request;
      const fault = faultOf(producerId, call, graceViolations(graceSeconds));
      if (fault !== undefined) return refused(fault);
      const added = await addNewSecret<"not_found" | "under_way">(producerId, sealing, (secret) =>
        store.rotateProducerSecret(
          producerId,
          secret,
          { graceSeconds, force },
          call.actor,
          call.timeoutMs(),
        ),
      );
      if (!added.ok) return added;
      if ("text" in added.value) {
        await onChanged();
        return shownSecret(added.value.text, store, producerId, call);
      }
      if (added.value.failure === "not_found") return refused(NO_PRODUCER);
      return refused(underWay(await store.getProducer(producerId, call.timeoutMs())));
    },
  });
}

function underWay(producer: ProducerInfo | undefined): Refusal {
  const [, before] = producer?.secrets ?? [];
  const until =
    before?.expireTime === undefined
      ? "without an end"
      : `until ${formatTimestamp(before.expireTime)}`;
  const which = before === undefined ? "the secret before" : `the secret ${before.secretId}`;
  return refuseCall(
    "ROTATION_UNDER_WAY",
    `A rotation is under way: ${which} signs ${until}. Wait for its end, revoke it, or set force, which keeps only the newest for the grace period.`,
    {
      metadata: {
        ...(before !== undefined && { secret_id: before.secretId }),
        ...(before?.expireTime !== undefined && {
          expire_time: formatTimestamp(before.expireTime),
        }),
      },
    },
  );
}

/** `RevokeProducerSecret`: a secret ends now. */
export function revokeProducerSecretMethod(
  dependencies: AdminDependencies,
): Methods["revokeProducerSecret"] {
  const { store, onChanged } = dependencies;
  return adminMethod(dependencies, {
    action: "producer_secret.revoke",
    output: RevokeProducerSecretResponseSchema,
    withoutAnswer: REPEAT,
    async handle({ producerId, secretId }, call) {
      const fault = faultOf(producerId, call, secretIdViolations(secretId));
      if (fault !== undefined) return refused(fault === NO_PRODUCER ? NO_SECRET : fault);
      const { actor, timeoutMs } = call;
      const outcome = await store.revokeProducerSecret(producerId, secretId, actor, timeoutMs());
      if (outcome === "not_found") return refused(NO_SECRET);
      await onChanged();
      return shownProducer(store, producerId, call);
    },
  });
}

/** Also where there is no such producer, or none that the caller may see. */
const NO_SECRET = refuseCall(
  "NOT_FOUND",
  "There is no secret of this id of a producer that this token may see.",
);

/** Of generated secrets, and the UUIDs of those that a configuration names. */
const SECRET_ID = /^[0-9A-Za-z-]{1,64}$/;

function secretIdViolations(secretId: string): Violation[] {
  if (SECRET_ID.test(secretId)) return [];
  return [{ field: "secret_id", description: "must be the id of a secret, as in its producer" }];
}
