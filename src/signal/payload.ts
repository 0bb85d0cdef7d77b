/**
 * The rules of a signal's payload: a JSON object that JSON, protobuf and PostgreSQL's
 * jsonb can all carry without changing it.
 */
import { INEXACT_NUMBER } from "./exactNumber.ts";
import type { Violation } from "./values.ts";

const DEPTH_MAX = 16;

/**
 * The most values in a payload: every object, list, text, number, truth value and null in it.
 * Each costs time and memory of its own, however few bytes it takes. A payload of 32,768
 * bytes has more of them only if they take four bytes each, names and commas included: rows of
 * prices take six to ten.
 */
export const PAYLOAD_VALUES_MAX = 8_000;
/** What a payload with more breaks. */
export const PAYLOAD_VALUES_RULE = `must hold at most ${PAYLOAD_VALUES_MAX} values`;

const OBJECT_RULE = "must be a JSON object";
const DEPTH_RULE = `must be at most ${DEPTH_MAX} levels deep`;
const NUMBER_RULE = "must hold finite numbers only";
const TEXT_RULE = "must hold no NUL character and no unpaired surrogate";
const VALUE_RULE = "must hold JSON values only";
const EXACT_RULE = "has more digits than a double holds: send it as a string";

/** So many numbers are named that would change. Who has more of them learns enough from these. */
const INEXACT_NAMED_MAX = 5;
/** A key is named by so many of its characters. */
const NAMED_KEY_MAX_LENGTH = 40;

/** What is wrong with a payload. */
export interface PayloadFaults {
  /**
   * Of the whole as `payload`, and of a number that would change by its path, such as
   * `payload.order.id`. Empty if the payload is sound or absent.
   */
  readonly violations: readonly Violation[];
  /** Whether its size is all that is wrong. */
  readonly isOnlyTooLarge: boolean;
}

/** What the walk through a payload has found so far. */
interface Findings {
  readonly faults: Set<string>;
  readonly maxBytes: number;
  /** How many values of it were visited. */
  values: number;
  /** A lower bound of the payload's size: what its values take without escapes. */
  leastBytes: number;
  hasInexactNumber: boolean;
}

/**
 * Judges a payload; `undefined` is sound, since the field is optional.
 *
 * The work is bounded whatever the payload is, also for one that refers to itself: after
 * {@link PAYLOAD_VALUES_MAX} values, what lies beyond is not looked at. Every value takes a
 * byte at least, so after `maxBytes` of them it is too large.
 */
export function payloadFaults(payload: unknown, maxBytes: number): PayloadFaults {
  if (payload === undefined) return { violations: [], isOnlyTooLarge: false };
  const findings: Findings = {
    faults: new Set(),
    maxBytes,
    // The payload itself is none of the values in it.
    values: -1,
    leastBytes: 0,
    hasInexactNumber: false,
  };
  if (isPlainObject(payload)) judge(payload, 1, findings);
  else findings.faults.add(OBJECT_RULE);
  if (findings.values > PAYLOAD_VALUES_MAX) findings.faults.add(PAYLOAD_VALUES_RULE);
  const violations = [...findings.faults].map(ofPayload);
  if (findings.hasInexactNumber) violations.push(...inexactNumbers(payload));
  // A payload of unbounded depth or of foreign values could not be serialised safely.
  if (violations.length > 0) return { violations, isOnlyTooLarge: false };
  const isTooLarge =
    findings.leastBytes > maxBytes || Buffer.byteLength(JSON.stringify(payload)) > maxBytes;
  if (!isTooLarge) return { violations: [], isOnlyTooLarge: false };
  const description = `must be at most ${maxBytes} bytes as compact UTF-8 JSON`;
  return { violations: [ofPayload(description)], isOnlyTooLarge: true };
}

function ofPayload(description: string): Violation {
  return { field: "payload", description };
}

function judge(value: unknown, depth: number, findings: Findings): void {
  findings.values++;
  findings.leastBytes++;
  const { faults } = findings;
  if (typeof value === "string") judgeText(value, findings);
  else if (typeof value === "number") {
    if (!Number.isFinite(value)) faults.add(NUMBER_RULE);
  } else if (Array.isArray(value)) {
    if (depth > DEPTH_MAX) faults.add(DEPTH_RULE);
    else judgeArray(value, depth, findings);
  } else if (isPlainObject(value)) {
    if (depth > DEPTH_MAX) faults.add(DEPTH_RULE);
    else judgeObject(value, depth, findings);
  } else if (value === INEXACT_NUMBER) findings.hasInexactNumber = true;
  else if (value !== null && typeof value !== "boolean") faults.add(VALUE_RULE);
}

function judgeArray(items: readonly unknown[], depth: number, findings: Findings): void {
  for (const item of items) {
    if (isSeenEnough(findings)) return;
    judge(item, depth + 1, findings);
  }
}

function judgeObject(
  object: Readonly<Record<string, unknown>>,
  depth: number,
  findings: Findings,
): void {
  for (const [key, item] of Object.entries(object)) {
    if (isSeenEnough(findings)) return;
    judgeText(key, findings);
    judge(item, depth + 1, findings);
  }
}

function isSeenEnough({ values, maxBytes }: Findings): boolean {
  return values > maxBytes || values > PAYLOAD_VALUES_MAX;
}

/** PostgreSQL refuses NUL, and UTF-8 cannot carry an unpaired surrogate. */
function judgeText(text: string, findings: Findings): void {
  // Each UTF-16 unit takes a byte of UTF-8 at least.
  findings.leastBytes += text.length;
  if (text.includes("\0") || !text.isWellFormed()) findings.faults.add(TEXT_RULE);
}

/** A Date, a Map or any other class would lose its meaning on the way. */
function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** The first numbers that would change. */
function inexactNumbers(payload: unknown): Violation[] {
  const violations: Violation[] = [];
  for (const field of inexactPaths(payload, "payload", 1)) {
    violations.push({ field, description: EXACT_RULE });
    if (violations.length === INEXACT_NAMED_MAX) break;
  }
  return violations;
}

function* inexactPaths(value: unknown, path: string, depth: number): Generator<string> {
  if (value === INEXACT_NUMBER) yield path;
  // What lies deeper is refused for that.
  if (typeof value !== "object" || value === null || depth > DEPTH_MAX) return;
  for (const [key, item] of Object.entries(value)) {
    const step = Array.isArray(value) ? `[${key}]` : pathStep(key);
    yield* inexactPaths(item, path + step, depth + 1);
  }
}

/** A key as part of a path: quoted if it would not be clear otherwise, and short. */
function pathStep(key: string): string {
  const short = key.length > NAMED_KEY_MAX_LENGTH ? `${key.slice(0, NAMED_KEY_MAX_LENGTH)}…` : key;
  return /^[\w-]+$/.test(short) ? `.${short}` : `[${JSON.stringify(short)}]`;
}
