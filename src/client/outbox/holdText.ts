/**
 * Tells a person why an outbox can deliver nothing, and what to mend. Pure.
 */

import { sentence } from "../../alerts/index.ts";
import type { Destination } from "../client.ts";
import type { SignalErrorReason } from "../errorReason.ts";
import type { SignalError } from "../signalError.ts";

const ADVICE_BY_REASON: Readonly<Partial<Record<SignalErrorReason, string>>> = {
  UNAUTHENTICATED:
    "See that the producer id (PRODUCER_ID) and the secret (HMAC_PRODUCER_SECRET) are those " +
    "that the server knows, and that the URL (OUTBOUND_SERVER_URL) is that of this server.",
  PRODUCER_DISABLED: "Have the operator of the server enable the producer.",
  SCOPE_MISSING: "Have the operator of the server allow the producer this call.",
};

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
  const advice = isForeign ? undefined : ADVICE_BY_REASON[reason];
  return [sentence(cause), sender, advice].filter((part) => part !== undefined).join(" ");
}
