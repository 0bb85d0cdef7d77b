/**
 * What the domain can answer, in every protocol: successes, refusals and faults.
 */
import { REASONS, type Reason, signalToProto } from "../../../src/signal/index.ts";
import { validSignal } from "../../support/signals.ts";
import { HTTP_VERSIONS, type HttpVersion } from "../support/client.ts";
import { BINARY_FORMS, FORMS, type Form, JSON_FORMS, PROTOCOLS } from "../support/forms.ts";
import { asking, batchAsking, bytes, checking, signal } from "../support/messages.ts";
import { HEALTH_CHECK, INGEST_BATCH, inEach, type Row } from "../support/row.ts";
import { ASK, STRANGER } from "../support/servers.ts";

export function answers(): Row[] {
  const everyField = signalToProto(
    validSignal({
      comment: ASK.allFields,
      reason: "Ausbruch über 2 650 – 金 🥇",
      expireTime: 1_961_402_645_000_000_001n,
    }),
  );
  const batch = batchAsking("", "refuse INVALID_SIGNAL", ASK.refuseInManyScripts, ASK.duplicate);
  return [
    ...inEach(FORMS, "a signal", signal),
    ...inEach(FORMS, "every field, there and back", (form) =>
      signal(form, { signal: everyField, idempotencyKey: "key-1" }),
    ),
    ...inEach(FORMS, "a duplicate", asking(ASK.duplicate)),
    ...inEach(FORMS, "validation only", (form) => signal(form, { validateOnly: true })),
    ...inEach(FORMS, "a batch", batch, { path: INGEST_BATCH }),
    ...inEach(FORMS, "a health check", checking(""), { path: HEALTH_CHECK }),
  ];
}

/** The reasons whose HTTP status over Connect is not that of their code. */
const STATUS_OF_ITS_OWN: readonly Reason[] = ["BODY_TOO_LARGE", "PAYLOAD_TOO_LARGE"];

export function refusals(): Row[] {
  const forReasons = REASONS.flatMap((reason) =>
    inEach(PROTOCOLS, `refused for ${reason}`, asking(`refuse ${reason}`), ({ kind }) => ({
      differences: kind === "connect" && STATUS_OF_ITS_OWN.includes(reason) ? ["413"] : [],
    })),
  );
  return [
    ...forReasons,
    ...inEach(FORMS, "refused in many scripts", asking(ASK.refuseInManyScripts)),
    ...inEach(
      FORMS,
      "refused with half a character",
      asking(ASK.refuseWithHalfACharacter),
      ({ kind }) => ({
        differences: [kind === "connect" ? "half a character, escaped" : "half a character"],
      }),
    ),
    ...inEach(FORMS, "a batch refused as a whole", batchAsking("", "refuse STORE_UNAVAILABLE"), {
      path: INGEST_BATCH,
    }),
    ...inEach(FORMS, "a batch of none", batchAsking(), { path: INGEST_BATCH }),
    ...inEach(FORMS, "a health check of what is not there", checking("nobody"), {
      path: HEALTH_CHECK,
    }),
    ...inEach(FORMS, "from a stranger", signal, { headers: { "x-producer-id": STRANGER } }),
    ...inEach(BINARY_FORMS, "malformed, from a stranger", bytes("\xff"), {
      headers: { "x-producer-id": STRANGER },
      differences: ["sender first"],
    }),
    ...inEach(FORMS, "a fault", asking(ASK.fault), { differences: ["fault"] }),
    ...inEach(BINARY_FORMS, "an answer that only JSON cannot hold", asking(ASK.unspeakableInJson)),
    ...unspeakable(JSON_FORMS, ASK.unspeakableInJson),
    ...unspeakable(FORMS, ASK.unspeakableInProtobuf),
  ];
}

/** An answer that cannot be serialised; whoever writes the answer finds that out. */
function unspeakable(forms: readonly Form[], comment: string): Row[] {
  const isByLibrary = ({ kind }: Form, version: HttpVersion) =>
    kind === "grpc-web" || (kind === "grpc" && version === "1.1");
  return HTTP_VERSIONS.flatMap((version) =>
    inEach(forms, comment, asking(comment), (form) => ({
      versions: [version],
      differences: isByLibrary(form, version) ? [] : ["fault"],
    })),
  );
}
