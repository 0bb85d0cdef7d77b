/**
 * ProducerService: between its messages and the domain.
 */
import {
  CreateProducerResponseSchema,
  DisableProducerResponseSchema,
  EnableProducerResponseSchema,
  GetProducerResponseSchema,
  ListProducersResponseSchema,
  type ProducerService,
  type UpdateProducerRequest,
  UpdateProducerResponseSchema,
} from "../../../gen/signals/v1/producer_service_pb.ts";
import { type ProducerSettings, settingsViolations } from "../../access/index.ts";
import { didYouMean, ok, refuseCall, refused, type Violation } from "../../signal/index.ts";
import { isProducerId } from "../../signing/index.ts";
import type { TokenMethods } from "../rpc/tokenRpc.ts";
import {
  type AdminCall,
  type AdminDependencies,
  adminMethod,
  CALL_AGAIN,
  REPEAT,
} from "./adminMethod.ts";
import { addNewSecret, type Sealing } from "./newSecret.ts";
import { nextPageToken, readPage } from "./pages.ts";
import { faultOf, NO_PRODUCER, shownProducer, shownSecret } from "./producerAnswers.ts";
import { producerToProto, SETTINGS_BY_PATH, settingsFromProto } from "./producerMessages.ts";
import { revokeProducerSecretMethod, rotateProducerSecretMethod } from "./producerSecrets.ts";

type Methods = TokenMethods<typeof ProducerService>;

/** What {@link producerMethods} is made of. */
export interface ProducerMethodsDependencies extends AdminDependencies {
  readonly sealing: Sealing;
}

/** All methods of the service. */
export function producerMethods(dependencies: ProducerMethodsDependencies): Methods {
  return {
    createProducer: createProducerMethod(dependencies),
    getProducer: getProducerMethod(dependencies),
    listProducers: listProducersMethod(dependencies),
    updateProducer: updateProducerMethod(dependencies),
    disableProducer: disableProducerMethod(dependencies),
    enableProducer: enableProducerMethod(dependencies),
    rotateProducerSecret: rotateProducerSecretMethod(dependencies),
    revokeProducerSecret: revokeProducerSecretMethod(dependencies),
  };
}

/** `CreateProducer`: a producer with its first secret. */
function createProducerMethod(
  dependencies: ProducerMethodsDependencies,
): Methods["createProducer"] {
  const { store, sealing, onChanged } = dependencies;
  return adminMethod(dependencies, {
    action: "producer.create",
    output: CreateProducerResponseSchema,
    withoutAnswer:
      "It is not known whether the producer was made. If it is there now, nobody has its secret: rotate it.",
    async handle(request, call) {
      const { producerId } = request;
      const fault = faultOf(producerId, call, settingsViolations(request));
      if (fault !== undefined) return refused(fault);
      const producer = { ...settingsFromProto(request), producerId };
      const added = await addNewSecret<"already_exists">(producerId, sealing, (secret) =>
        store.createProducer(producer, secret, call.actor, call.timeoutMs()),
      );
      if (!added.ok) return added;
      if ("failure" in added.value) return refused(ALREADY_EXISTS);
      await onChanged();
      return shownSecret(added.value.text, store, producerId, call);
    },
  });
}

const ALREADY_EXISTS = refuseCall("ALREADY_EXISTS", "There is a producer of this id already.");

/** `GetProducer`: one producer. */
function getProducerMethod(dependencies: AdminDependencies): Methods["getProducer"] {
  return adminMethod(dependencies, {
    action: "producer.read",
    output: GetProducerResponseSchema,
    withoutAnswer: CALL_AGAIN,
    async handle({ producerId }, call) {
      const fault = faultOf(producerId, call);
      if (fault !== undefined) return refused(fault);
      return shownProducer(dependencies.store, producerId, call);
    },
  });
}

/** `ListProducers`: all that the token may see, page by page. */
function listProducersMethod({
  store,
  ...dependencies
}: AdminDependencies): Methods["listProducers"] {
  return adminMethod(
    { store, ...dependencies },
    {
      action: "producer.read",
      output: ListProducersResponseSchema,
      withoutAnswer: CALL_AGAIN,
      async handle(request, { token, timeoutMs }) {
        const asked = readPage(request, isProducerId);
        if (!asked.ok) return asked;
        const page = await store.listProducers(token.producerIds, asked.value, timeoutMs());
        return ok({
          producers: page.items.map(producerToProto),
          nextPageToken: nextPageToken(page),
        });
      },
    },
  );
}

/** `UpdateProducer`: the settings that a mask names. */
function updateProducerMethod(dependencies: AdminDependencies): Methods["updateProducer"] {
  const { store, onChanged } = dependencies;
  return adminMethod(dependencies, {
    action: "producer.update",
    output: UpdateProducerResponseSchema,
    withoutAnswer: REPEAT,
    async handle(request, call) {
      const { producerId, changes, violations } = readUpdate(request);
      const fault = faultOf(producerId, call, violations, "producer.producer_id");
      if (fault !== undefined) return refused(fault);
      const { actor, timeoutMs } = call;
      const outcome = await store.updateProducer(producerId, changes, actor, timeoutMs());
      if (outcome === "not_found") return refused(NO_PRODUCER);
      await onChanged();
      return shownProducer(store, producerId, call);
    },
  });
}

const PATHS = Object.keys(SETTINGS_BY_PATH);

/** What an update asks for: the settings that its mask names, and what is wrong with them. */
function readUpdate({ producer, updateMask }: UpdateProducerRequest): {
  readonly producerId: string;
  readonly changes: Partial<ProducerSettings>;
  readonly violations: readonly Violation[];
} {
  const paths = updateMask?.paths ?? [];
  const violations: Violation[] = [];
  const unknown = paths.find((path) => !Object.hasOwn(SETTINGS_BY_PATH, path));
  if (paths.length === 0 || unknown !== undefined) {
    const rule = `must name at least one of ${PATHS.join(", ")}, and nothing else`;
    const meant = unknown === undefined ? "" : didYouMean(unknown, PATHS);
    violations.push({ field: "update_mask", description: `${rule}${meant}` });
  }
  if (producer === undefined) return { producerId: "", changes: {}, violations };
  const names = paths.flatMap((path) => SETTINGS_BY_PATH[path] ?? []);
  violations.push(...settingsViolations(picked(producer, names), "producer."));
  return {
    producerId: producer.producerId,
    changes: picked(settingsFromProto(producer), names),
    violations,
  };
}

function picked<Whole, Name extends keyof Whole>(
  whole: Whole,
  names: readonly Name[],
): Partial<Pick<Whole, Name>> {
  return Object.fromEntries(names.map((name) => [name, whole[name]])) as Partial<Pick<Whole, Name>>;
}

/** `DisableProducer`: takes no more requests of it. */
function disableProducerMethod(dependencies: AdminDependencies): Methods["disableProducer"] {
  return adminMethod(dependencies, {
    action: "producer.disable",
    output: DisableProducerResponseSchema,
    withoutAnswer: REPEAT,
    handle: ({ producerId }, call) => setEnabled(producerId, false, call, dependencies),
  });
}

/** `EnableProducer`: takes its requests again. */
function enableProducerMethod(dependencies: AdminDependencies): Methods["enableProducer"] {
  return adminMethod(dependencies, {
    action: "producer.enable",
    output: EnableProducerResponseSchema,
    withoutAnswer: REPEAT,
    handle: ({ producerId }, call) => setEnabled(producerId, true, call, dependencies),
  });
}

async function setEnabled(
  producerId: string,
  isEnabled: boolean,
  call: AdminCall,
  { store, onChanged }: AdminDependencies,
) {
  const fault = faultOf(producerId, call);
  if (fault !== undefined) return refused(fault);
  const { actor, timeoutMs } = call;
  const outcome = await store.setProducerEnabled(producerId, isEnabled, actor, timeoutMs());
  if (outcome === "not_found") return refused(NO_PRODUCER);
  await onChanged();
  return shownProducer(store, producerId, call);
}
