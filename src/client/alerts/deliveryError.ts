/**
 * Tells a person that a signal was not delivered: which, why, and what to do now. The
 * caller may have no compiler, and an alert about something broken must not break, so
 * nothing is relied on here: every field may be missing, be of any type, or throw when it
 * is read. Pure.
 */
import type { Reason } from "../../signal/index.ts";
import { formatTimestamp } from "../../signing/index.ts";
import type { SignalErrorReason } from "../errorReason.ts";
import { describeUnknown, readProperty } from "./text.ts";

/** The message of an alert has room for no more; the log has all. */
const VIOLATIONS_TOLD_MAX = 10;

/** Describes the failure in lines. Never throws. */
export function describeDeliveryError(signal: unknown, error: unknown): string {
  const reason = readProperty(error, "reason");
  return [
    describeTrade(signal),
    line("Decided", signal, "signalTime", describeTime),
    line("Expires", signal, "expireTime", describeTime),
    line("Strategy", signal, "strategyName"),
    line("Idempotency key", error, "idempotencyKey") ??
      line("Idempotency key", signal, "idempotencyKey"),
    `Why: ${describeUnknown(readProperty(error, "message") ?? error)}`,
    ...describeViolations(readProperty(error, "violations")),
    line("Request id", error, "requestId"),
    `What to do: ${adviceFor(reason)}`,
  ]
    .filter((part) => part !== undefined)
    .join("\n");
}

/** Whether the failure is that the signal came to its end. */
export function isExpiry(error: unknown): boolean {
  return readProperty(error, "reason") === "SIGNAL_EXPIRED";
}

/** For instance `GOLD buy, entry 4000.5, stop 3990, target 4020`. */
function describeTrade(signal: unknown): string {
  const field = (name: string) => readProperty(signal, name);
  const prices = [
    ["entry", field("entryPrice")],
    ["stop", field("stopLoss")],
    ["target", field("takeProfit")],
  ] as const;
  const told = prices
    .filter(([, price]) => price !== undefined)
    .map(([name, price]) => `, ${name} ${describeUnknown(price)}`);
  const trade = `${describeUnknown(field("instrument"))} ${describeUnknown(field("side"))}`;
  return trade + told.join("");
}

function line(
  label: string,
  owner: unknown,
  name: string,
  describe: (value: unknown) => string = describeUnknown,
): string | undefined {
  const value = readProperty(owner, name);
  return value === undefined ? undefined : `${label}: ${describe(value)}`;
}

/** A time in any form that an author may give it. */
function describeTime(time: unknown): string {
  try {
    if (typeof time === "bigint") return formatTimestamp(time);
    if (time instanceof Date) return time.toISOString();
  } catch {
    // No time at all: shown as what it is.
  }
  return describeUnknown(time);
}

function describeViolations(violations: unknown): string[] {
  const length = readProperty(violations, "length");
  if (typeof length !== "number" || !(length > 0)) return [];
  const told = Array.from({ length: Math.min(length, VIOLATIONS_TOLD_MAX) }, (_, index) => {
    const violation = readProperty(violations, String(index));
    const field = describeUnknown(readProperty(violation, "field"));
    return `- ${field}: ${describeUnknown(readProperty(violation, "description"))}`;
  });
  const rest = length - told.length;
  return rest > 0 ? [...told, `- and ${rest} more`] : told;
}

const MEND_SIGNAL = "Nothing was stored. Mend what the strategy sends, and decide by hand.";
const MEND_ACCESS =
  "Nothing was stored. See that the producer id, the secret and the URL are right, and that " +
  "the server lets this producer send; then send again under the same idempotency key.";
const LOOK_UP =
  "It is not known whether it was stored. Look it up on the server before it is sent again " +
  "or traded by hand; to send it again safely, use the same idempotency key.";

/** What a person does. A reason that may have left the signal stored must say so. */
const ADVICE_BY_REASON: Readonly<Partial<Record<SignalErrorReason, string>>> = {
  MALFORMED_BODY: MEND_SIGNAL,
  INVALID_SIGNAL: MEND_SIGNAL,
  BODY_TOO_LARGE: MEND_SIGNAL,
  PAYLOAD_TOO_LARGE: MEND_SIGNAL,
  UNAUTHENTICATED: MEND_ACCESS,
  PRODUCER_DISABLED: MEND_ACCESS,
  INSTRUMENT_NOT_ALLOWED: MEND_ACCESS,
  SCOPE_MISSING: MEND_ACCESS,
  REFUSED: MEND_ACCESS,
  CLOCK_SKEW: "Nothing was stored. Set the clock of this machine, then send again.",
  IDEMPOTENCY_KEY_REUSED:
    "Another signal is stored under this key, and this one is not. Give each signal a key of its own.",
  SIGNAL_EXPIRED: "It is too late for this signal. Decide by hand whether to trade still.",
} satisfies Partial<Record<Reason | SignalErrorReason, string>>;

const NOT_TAKEN = "The outbox did not take it, and nothing was sent. Decide by hand.";

function adviceFor(reason: unknown): string {
  if (typeof reason === "string" && reason.startsWith("OUTBOX_")) return NOT_TAKEN;
  const known = typeof reason === "string" && Object.hasOwn(ADVICE_BY_REASON, reason);
  return (known && ADVICE_BY_REASON[reason as SignalErrorReason]) || LOOK_UP;
}
