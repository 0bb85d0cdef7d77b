/**
 * The rules of a signal's payload: a JSON object that JSON, protobuf and PostgreSQL's
 * jsonb can all carry without changing it.
 */

const DEPTH_MAX = 16;

const OBJECT_RULE = "must be a JSON object";
const DEPTH_RULE = `must be at most ${DEPTH_MAX} levels deep`;
const NUMBER_RULE = "must hold finite numbers only";
const TEXT_RULE = "must hold no NUL character and no unpaired surrogate";
const VALUE_RULE = "must hold JSON values only";

/** What is wrong with a payload. */
export interface PayloadFaults {
  /** Empty if the payload is sound or absent. */
  readonly descriptions: readonly string[];
  /** Whether its size is all that is wrong. */
  readonly isOnlyTooLarge: boolean;
}

/** Judges a payload; `undefined` is sound, since the field is optional. */
export function payloadFaults(payload: unknown, maxBytes: number): PayloadFaults {
  if (payload === undefined) return { descriptions: [], isOnlyTooLarge: false };
  const faults = new Set<string>();
  if (isPlainObject(payload)) judge(payload, 1, faults);
  else faults.add(OBJECT_RULE);
  // A payload of unbounded depth or of foreign values could not be serialised safely.
  if (faults.size > 0) return { descriptions: [...faults], isOnlyTooLarge: false };
  if (Buffer.byteLength(JSON.stringify(payload)) <= maxBytes) {
    return { descriptions: [], isOnlyTooLarge: false };
  }
  const description = `must be at most ${maxBytes} bytes as compact UTF-8 JSON`;
  return { descriptions: [description], isOnlyTooLarge: true };
}

function judge(value: unknown, depth: number, faults: Set<string>): void {
  if (typeof value === "string") judgeText(value, faults);
  else if (typeof value === "number") {
    if (!Number.isFinite(value)) faults.add(NUMBER_RULE);
  } else if (Array.isArray(value)) {
    if (depth > DEPTH_MAX) faults.add(DEPTH_RULE);
    else for (const item of value) judge(item, depth + 1, faults);
  } else if (isPlainObject(value)) {
    if (depth > DEPTH_MAX) faults.add(DEPTH_RULE);
    else {
      for (const [key, item] of Object.entries(value)) {
        judgeText(key, faults);
        judge(item, depth + 1, faults);
      }
    }
  } else if (value !== null && typeof value !== "boolean") faults.add(VALUE_RULE);
}

/** PostgreSQL refuses NUL, and UTF-8 cannot carry an unpaired surrogate. */
function judgeText(text: string, faults: Set<string>): void {
  if (text.includes("\0") || !text.isWellFormed()) faults.add(TEXT_RULE);
}

/** A Date, a Map or any other class would lose its meaning on the way. */
function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
