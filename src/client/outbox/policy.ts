/**
 * What a failure means for the signals in the outbox. Pure.
 */
import type { Disposition } from "../../signal/index.ts";
import { failureRecordOf } from "../errorReason.ts";
import type { SignalError } from "../signalError.ts";

/** What to do after this failure: what answers in place of the server will not stop by itself. */
export function dispositionAfter({ reason, isForeign }: SignalError): Disposition {
  const disposition = failureRecordOf(reason).outbox;
  return isForeign && disposition === "wait" ? "hold" : disposition;
}
