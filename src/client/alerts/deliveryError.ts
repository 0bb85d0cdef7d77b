/**
 * Tells a person that a signal was not delivered: which, why, and what to do now. The
 * caller may have no compiler, and an alert about something broken must not break, so
 * nothing is relied on here: every field may be missing, be of any type, or throw when it
 * is read. Pure.
 */
import { describeUnknown, readProperty } from "../../alerts/index.ts";
import { formatTimestamp } from "../../signing/index.ts";
import { adviceFor, isWorthRetrying } from "./advice.ts";

/** Where a signal lies that an outbox could not deliver. */
export interface DeadLetterPlace {
  readonly idempotencyKey: string;
  /** The outbox file, as an absolute path: who reads it is in no folder of the bot. */
  readonly outbox: string;
}

/** The message of an alert has room for no more; the log has all. */
const VIOLATIONS_TOLD_MAX = 10;

/**
 * Describes the failure in lines. Never throws.
 *
 * What names the signal comes first, then what to do, so that a cut leaves them. The details
 * come last.
 *
 * @param place where the signal lies, if it is a dead letter of an outbox.
 */
export function describeDeliveryError(
  signal: unknown,
  error: unknown,
  place?: DeadLetterPlace,
): string {
  const reason = readProperty(error, "reason");
  return [
    describeTrade(signal),
    describeKey(place, error, signal),
    line("Dead letter in", place, "outbox"),
    line("Decided", signal, "signalTime", describeTime),
    line("Expires", signal, "expireTime", describeTime),
    line("Strategy", signal, "strategyName"),
    `Why: ${describeUnknown(readProperty(error, "message") ?? error)}`,
    `What to do: ${adviceFor(reason, place !== undefined)}`,
    ...describeCommands(place, reason),
    ...describeViolations(readProperty(error, "violations")),
    line("Request id", error, "requestId"),
  ]
    .filter((part) => part !== undefined)
    .join("\n");
}

/** By the first that knows the key. */
function describeKey(...owners: readonly unknown[]): string | undefined {
  const owner = owners.find((each) => readProperty(each, "idempotencyKey") !== undefined);
  return line("Idempotency key", owner, "idempotencyKey");
}

/** How to look at a dead letter and settle it, unless a name is such that it cannot be shown. */
function describeCommands(place: unknown, reason: unknown): string[] {
  const [path, key] = [readProperty(place, "outbox"), readProperty(place, "idempotencyKey")];
  if (typeof path !== "string" || typeof key !== "string") return [];
  if (describeUnknown(path) !== path || describeUnknown(key) !== key) return [];
  return [
    `See it: ${outboxCommand("list --dead", path)}`,
    isWorthRetrying(reason)
      ? `Retry it: ${outboxCommand("retry", path, key)}`
      : `Drop it: ${outboxCommand("drop", path, key)}`,
  ];
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

function describeViolations(violations: unknown): string[] {
  const length = readProperty(violations, "length");
  if (typeof length !== "number" || !(length > 0)) return [];
  const told = Array.from({ length: Math.min(length, VIOLATIONS_TOLD_MAX) }, (_, index) => {
    const violation = readProperty(violations, String(index));
    const field = describeUnknown(readProperty(violation, "field"));
    return `- ${field}: ${describeUnknown(readProperty(violation, "description"))}`;
  });
  const rest = length - told.length;
  return ["Wrong fields:", ...told, ...(rest > 0 ? [`- and ${rest} more`] : [])];
}

/**
 * Commands for a person to copy out of an alert. Pure.
 */

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
