/**
 * The flat snake_case JSON of REST: what producers already post, read leniently where
 * that is harmless and strictly where money is.
 */
import type { Submission } from "../ingest/index.ts";
import { type DecodedSignal, INVALID_TIME, type Instant, type Violation } from "../signal/index.ts";
import { parseTimestamp } from "../signing/index.ts";

const SIDES: ReadonlyMap<unknown, "buy" | "sell"> = new Map<unknown, "buy" | "sell">([
  ["buy", "buy"],
  ["sell", "sell"],
  [0, "buy"],
  [1, "sell"],
]);

/** The names under which the signal's time may come. */
const TIME_NAMES = ["signal_time", "timestamp", "time"] as const;

const KNOWN_NAMES: ReadonlySet<string> = new Set([
  "instrument",
  "side",
  "entry_price",
  "stop_loss",
  "take_profit",
  "confidence",
  "risk_percent",
  "strategy_name",
  "reason",
  "comment",
  "expire_time",
  "payload",
  "idempotency_key",
  "validate_only",
  ...TIME_NAMES,
]);

const VALIDATE_ONLY_FAULT: Violation = {
  field: "validate_only",
  description: "must be true or false",
};

/** A REST body taken apart. */
export interface RestSubmission {
  readonly submission: Submission;
  /** Wrong fields that are no part of the signal. */
  readonly faults: readonly Violation[];
  /** The names in the body that mean nothing here. */
  readonly unknownNames: readonly string[];
}

/**
 * Takes a REST body apart. Judges nothing: what has the wrong type goes on as it is,
 * for validation to name.
 *
 * @param headerKey the `X-Idempotency-Key` header, which no signature covers: a key in
 *   the body wins over it.
 */
export function restSubmission(
  body: Readonly<Record<string, unknown>>,
  headerKey: string | undefined,
): RestSubmission {
  const bodyKey = present(body.idempotency_key);
  const validateOnly = present(body.validate_only);
  const submission: Submission = {
    signal: decodedSignal(body),
    // A key that is not text becomes text that no key may be, so that it is refused.
    idempotencyKey: bodyKey === undefined ? headerKey : typeof bodyKey === "string" ? bodyKey : "",
    isKeySigned: bodyKey !== undefined,
    // Only who does not ask, or clearly says no, has the signal stored.
    validateOnly: validateOnly !== undefined && validateOnly !== false,
  };
  return {
    submission,
    faults: typeof (validateOnly ?? false) === "boolean" ? [] : [VALIDATE_ONLY_FAULT],
    unknownNames: Object.keys(body).filter((name) => !KNOWN_NAMES.has(name)),
  };
}

function decodedSignal(body: Readonly<Record<string, unknown>>): DecodedSignal {
  return {
    instrument: present(body.instrument),
    side: SIDES.get(body.side) ?? present(body.side),
    entryPrice: present(body.entry_price),
    stopLoss: present(body.stop_loss),
    takeProfit: present(body.take_profit),
    confidence: present(body.confidence),
    riskPercent: present(body.risk_percent),
    strategyName: present(body.strategy_name),
    reason: present(body.reason),
    comment: present(body.comment),
    signalTime: signalTime(body),
    expireTime: time(body.expire_time),
    payload: present(body.payload),
  };
}

/** Many producers write `null` for what they do not have. */
function present(value: unknown): unknown {
  return value === null ? undefined : value;
}

/** Two names with different times leave unclear which is meant, so that is no time. */
function signalTime(body: Readonly<Record<string, unknown>>): DecodedSignal["signalTime"] {
  const times = TIME_NAMES.map((name) => time(body[name])).filter((value) => value !== undefined);
  return new Set(times).size > 1 ? INVALID_TIME : times[0];
}

function time(value: unknown): Instant | typeof INVALID_TIME | undefined {
  if (value === undefined || value === null) return undefined;
  return (typeof value === "string" ? parseTimestamp(value) : undefined) ?? INVALID_TIME;
}
