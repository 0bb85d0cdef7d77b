/**
 * Texts for people: made of anything, cut to a length, and cleaned. Pure.
 */

const CUT_MARK = "… [cut]";

/**
 * The start of a text, marked if there was more. It is well-formed: a lone surrogate becomes
 * U+FFFD, and no pair is cut in two.
 *
 * @param maxUnits how many UTF-16 units the result may have, at least those of the mark.
 */
export function cutText(text: string, maxUnits: number): string {
  if (text.length <= maxUnits) return text.toWellFormed();
  const end = maxUnits - CUT_MARK.length;
  // A pair that loses its second half loses its first one too.
  const head = text.slice(0, isPairAt(text, end - 1) ? end - 1 : end);
  return head.toWellFormed() + CUT_MARK;
}

function isPairAt(text: string, index: number): boolean {
  return (text.codePointAt(index) ?? 0) > 0xffff;
}

const UNKNOWN_TEXT_MAX_UNITS = 500;

/** Anything as a text on one line. Never throws, whatever the value does. */
export function describeUnknown(value: unknown): string {
  return oneLine(cutText(textOf(value), UNKNOWN_TEXT_MAX_UNITS));
}

/** A property of anything; undefined if there is none or if it cannot be read. */
export function readProperty(value: unknown, name: string): unknown {
  try {
    return (value as Record<string, unknown> | null | undefined)?.[name];
  } catch {
    return undefined;
  }
}

/** Anything as a text with its lines. Never throws, whatever the value does. */
export function textOf(value: unknown): string {
  switch (typeof value) {
    case "string":
      return value;
    case "number":
    case "bigint":
    case "boolean":
    case "undefined":
    case "symbol":
      return String(value);
    default:
      return value === null ? "null" : `(${typeof value})`;
  }
}

/** Control characters become blanks, so that a text from outside stays on its line. */
export function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ").trim();
}

/** What comes from outside, such as an HTTP status, often ends without a full stop. */
export function sentence(text: string): string {
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

/** Such as `1 signal` or `2 signals`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** A time as people read it, to the second, such as `2025-10-25 14:30:45 UTC`. */
export function formatUtc(time: Date): string {
  if (Number.isNaN(time.getTime())) return "at an unknown time";
  return `${time.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}
