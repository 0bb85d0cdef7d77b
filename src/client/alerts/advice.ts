/**
 * What a person does about a signal that was not delivered. Pure.
 */
import type { SignalErrorReason } from "../errorReason.ts";

/** What to do after a failure for one reason. */
interface Advice {
  /** What is known of the signal and what to mend. If it may be sent again, without its end. */
  readonly text: string;
  /** Whether to send the very same signal again makes sense once that is done. */
  readonly isMendable: boolean;
  /** What is true of a dead letter only. */
  readonly ofDeadLetter?: string;
}

const MEND_SIGNAL = final("Nothing was stored. Mend what the strategy sends, and decide by hand.");

/** A reason that may have left the signal stored is not among them, or says so. */
const ADVICE_BY_REASON: Readonly<Partial<Record<SignalErrorReason, Advice>>> = {
  MALFORMED_BODY: MEND_SIGNAL,
  INVALID_SIGNAL: MEND_SIGNAL,
  BODY_TOO_LARGE: MEND_SIGNAL,
  PAYLOAD_TOO_LARGE: MEND_SIGNAL,
  UNAUTHENTICATED: mendable(
    "Nothing was stored. See that the producer id and the secret are those that the server knows",
  ),
  PRODUCER_DISABLED: mendable(
    "Nothing was stored. Have the operator of the server enable the producer",
  ),
  INSTRUMENT_NOT_ALLOWED: mendable(
    "Nothing was stored. Have the operator of the server allow this producer the instrument",
  ),
  SCOPE_MISSING: mendable(
    "Nothing was stored. Have the operator of the server allow this producer the call",
  ),
  REFUSED: mendable(
    "Nothing was stored. See that the URL is that of the server, and that nothing on the way " +
      "refuses the call",
  ),
  CLOCK_SKEW: mendable("Nothing was stored. Set the clock of this machine"),
  IDEMPOTENCY_KEY_REUSED: final(
    "Another signal has this key, and this one is not stored. Decide by hand, and mend how the " +
      "bot makes keys: each signal needs one of its own.",
  ),
  SIGNAL_EXPIRED: {
    ...final("It is too late for this signal. Decide by hand whether to trade still."),
    ofDeadLetter:
      "An attempt whose answer was lost may have stored it: look it up on the server before you " +
      "trade by hand.",
  },
};

function mendable(text: string): Advice {
  return { text, isMendable: true };
}

function final(text: string): Advice {
  return { text, isMendable: false };
}

const NOT_TAKEN = "The outbox did not take it, and nothing was sent. Decide by hand.";
const LOOK_UP =
  "It is not known whether it was stored. Look it up on the server before it is sent again " +
  "or traded by hand; to send it again safely, use the same idempotency key.";
const LOOK_UP_DEAD_LETTER =
  "It may have been stored by an attempt whose answer was lost: look it up on the server before " +
  "you trade by hand. If it is still wanted, retry it; under its key it is stored once at most.";
const DROP = "To retry it would only fail again: drop it.";

/** What to do about a signal that a call or an outbox could not deliver. */
export function adviceFor(reason: unknown, isDeadLetter: boolean): string {
  if (typeof reason === "string" && reason.startsWith("OUTBOX_")) return NOT_TAKEN;
  const advice = knownAdvice(reason);
  if (advice === undefined) return isDeadLetter ? LOOK_UP_DEAD_LETTER : LOOK_UP;
  const { text, isMendable, ofDeadLetter } = advice;
  if (isMendable) {
    const again = isDeadLetter
      ? "retry it, or drop it if it is no longer wanted"
      : "send it again under the same idempotency key";
    return `${text}, then ${again}.`;
  }
  if (!isDeadLetter) return text;
  return [text, ofDeadLetter, DROP].filter((part) => part !== undefined).join(" ");
}

/** Whether a retry of a dead letter may succeed, once a person has done what is advised. */
export function isWorthRetrying(reason: unknown): boolean {
  return knownAdvice(reason)?.isMendable ?? true;
}

function knownAdvice(reason: unknown): Advice | undefined {
  const isKnown = typeof reason === "string" && Object.hasOwn(ADVICE_BY_REASON, reason);
  return isKnown ? ADVICE_BY_REASON[reason as SignalErrorReason] : undefined;
}
