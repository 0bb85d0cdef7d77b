/**
 * Tells a person that a signal was not delivered: which, why, and what to do now; and the
 * commands of `countersign outbox` to copy. A field may be missing or of any type, since the
 * caller may have no compiler. Pure.
 */
import { describeUnknown } from "../../alerts/index.ts";
import type { Violation } from "../../signal/index.ts";
import { formatTimestamp } from "../../signing/index.ts";
import type { SignalInput } from "../input.ts";
import type { SignalError } from "../signalError.ts";
import { adviceFor, isWorthRetrying } from "./advice.ts";

/** Where a signal lies that an outbox could not deliver. */
export interface DeadLetterPlace {
  readonly idempotencyKey: string;
  /** The outbox file, as an absolute path: who reads it is in no folder of the bot. */
  readonly outbox: string;
}

/** The message of an alert has room for no more; the log has all. */
const VIOLATIONS_TOLD_MAX = 10;

/** What an error tells, if it is one of a call or of the outbox. */
type Failure = Error & Partial<Pick<SignalError, "violations" | "requestId">> & { reason?: string };

/**
 * Describes the failure in lines.
 *
 * What names the signal comes first, then what to do, so that a cut leaves them. The details
 * come last.
 *
 * @param place where the signal lies, if it is a dead letter of an outbox.
 */
export function describeDeliveryError(
  signal: Partial<SignalInput> & { readonly idempotencyKey?: string },
  error: Failure,
  place?: DeadLetterPlace,
): string {
  return [
    describeTrade(signal),
    line("Idempotency key", place?.idempotencyKey ?? signal.idempotencyKey),
    line("Dead letter in", place?.outbox),
    line("Decided", signal.signalTime, describeTime),
    line("Expires", signal.expireTime, describeTime),
    line("Strategy", signal.strategyName),
    `Why: ${describeUnknown(error.message)}`,
    `What to do: ${adviceFor(error.reason, place !== undefined)}`,
    ...describeCommands(place, error.reason),
    ...describeViolations(error.violations ?? []),
    line("Request id", error.requestId),
  ]
    .filter((part) => part !== undefined)
    .join("\n");
}

/** How to look at a dead letter and settle it, unless a name is such that it cannot be shown. */
function describeCommands(place: DeadLetterPlace | undefined, reason: unknown): string[] {
  if (place === undefined) return [];
  const { outbox: path, idempotencyKey: key } = place;
  if (describeUnknown(path) !== path || describeUnknown(key) !== key) return [];
  return [
    `See it: ${outboxCommand("list --dead", path)}`,
    isWorthRetrying(reason)
      ? `Retry it: ${outboxCommand("retry", path, key)}`
      : `Drop it: ${outboxCommand("drop", path, key)}`,
  ];
}

/** Whether the failure is that the signal came to its end. */
export function isExpiry(error: Failure): boolean {
  return error.reason === "SIGNAL_EXPIRED";
}

/** For instance `GOLD buy, entry 4000.5, stop 3990, target 4020`. */
function describeTrade(signal: Partial<SignalInput>): string {
  const { instrument, side, entryPrice, stopLoss, takeProfit } = signal;
  const prices = Object.entries({ entry: entryPrice, stop: stopLoss, target: takeProfit })
    .filter(([, price]) => price !== undefined)
    .map(([name, price]) => `, ${name} ${describeUnknown(price)}`);
  return `${describeUnknown(instrument)} ${describeUnknown(side)}${prices.join("")}`;
}

function line(
  label: string,
  value: unknown,
  describe: (value: unknown) => string = describeUnknown,
): string | undefined {
  // A field of a message that was not set is read as an empty text.
  return value === undefined || value === "" ? undefined : `${label}: ${describe(value)}`;
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

function describeViolations(violations: readonly Violation[]): string[] {
  if (violations.length === 0) return [];
  const told = violations
    .slice(0, VIOLATIONS_TOLD_MAX)
    .map(
      ({ field, description }) => `- ${describeUnknown(field)}: ${describeUnknown(description)}`,
    );
  const rest = violations.length - told.length;
  return ["Wrong fields:", ...told, ...(rest > 0 ? [`- and ${rest} more`] : [])];
}

/** What a shell takes as it is; a tilde or an equals sign in front would mean something. */
const PLAIN_WORD = /^[A-Za-z0-9_./:@%+,-][A-Za-z0-9_./:@%+,=~-]*$/;

/**
 * A command line of `countersign outbox` for one outbox file.
 *
 * @param verb the subcommand with its options, such as `list --dead`.
 * @param key the idempotency key of the signal that it is about.
 */
export function outboxCommand(verb: string, path: string, key?: string): string {
  const command = `countersign outbox ${verb} --file ${shellWord(path)}`;
  if (key === undefined) return command;
  // Else a key that begins with a dash would be read as an option.
  return `${command} ${key.startsWith("-") ? "-- " : ""}${shellWord(key)}`;
}

/** Quoted if need be, since a key may hold anything that a shell would run. */
function shellWord(text: string): string {
  return PLAIN_WORD.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
