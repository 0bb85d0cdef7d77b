/**
 * Tells a person why an outbox can deliver nothing, and what to mend. Pure.
 */

import { sentence } from "../../alerts/index.ts";
import type { Destination } from "../client.ts";
import { failureRecordOf } from "../errorReason.ts";
import type { SignalError } from "../signalError.ts";

/** The cause in whole sentences, and what to do about it. */
export function describeHold(
  { reason, message, isForeign }: SignalError,
  destination: Destination | undefined,
): string {
  // A cause that has no name is told by its words alone, such as that the client is switched off.
  const cause = reason === "UNKNOWN" ? message.replace("[UNKNOWN] ", "") : message;
  const sender =
    destination && `The producer ${destination.producerId} sends to ${destination.host}.`;
  // An error of a foreign answer says itself what to do.
  const advice = isForeign || reason === "UNKNOWN" ? undefined : failureRecordOf(reason).advice;
  return [sentence(cause), sender, advice].filter((part) => part !== undefined).join(" ");
}
