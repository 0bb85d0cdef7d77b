/**
 * Reads the JSON of an IngestRequest, of an IngestBatchRequest (ProtoJSON) and of REST by
 * `JSON.parse`, by what the contract says of each field, and without the server's code.
 */
import type { JsonObject, Signal } from "../../../src/signal/index.ts";
import { type Asked, Invalid, ITEM_MAX_BYTES, readItems } from "./asked.ts";

type Values = Readonly<Record<string, unknown>>;

/** @throws Error if the text is not exactly a message of the contract. */
export function readBatchJson(bytes: Buffer): Asked[] {
  const body = members(parse(bytes), ["requests"]);
  if (!Array.isArray(body.requests)) throw new Error("no requests");
  // How long an item was as it was written is not known any more.
  return readItems(body.requests, readRequest, () => bytes.length > ITEM_MAX_BYTES);
}

/** @throws Error if the text is not exactly a message of the contract. */
export function readJson(bytes: Buffer): Asked {
  return readRequest(parse(bytes));
}

function readRequest(value: unknown): Asked {
  const request = members(value, ["signal", "idempotency_key", "validate_only"], camel);
  const fields = members(request.signal, FIELDS, camel);
  const signal = signalOf({
    ...fields,
    ...Object.fromEntries(NUMBERS.map((name) => [name, numberOf(fields[name])])),
    side: SIDES.get(fields.side),
  });
  return { signal, ...beside(request) };
}

/** @throws Error if the text says no signal, or one that is not clear. */
export function readRest(bytes: Buffer): Asked {
  const body = parse(bytes);
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw new Error("no object");
  const fields = withoutNulls(body as Values);
  const misspelt = Object.keys(fields).find((name) => !REST_NAMES.has(name) && isMisspelt(name));
  if (misspelt !== undefined) throw new Error(`${misspelt} is misspelt`);
  const times = [fields.signal_time, fields.timestamp, fields.time].filter(
    (time) => time !== undefined,
  );
  if (new Set(times.map(timeOf)).size > 1) throw new Error("two times");
  const signal = signalOf({ ...fields, signal_time: times[0], side: REST_SIDES.get(fields.side) });
  return { signal, ...beside(fields) };
}

const NUMBERS = ["entry_price", "stop_loss", "take_profit", "confidence", "risk_percent"] as const;
const FIELDS = [
  ...["instrument", "side", ...NUMBERS, "strategy_name", "reason", "comment"],
  ...["signal_time", "expire_time", "payload"],
];
const REST_NAMES: ReadonlySet<string> = new Set([
  ...FIELDS,
  ...["timestamp", "time", "idempotency_key", "validate_only"],
]);
/** Whose loss would cost money. */
const MONEY = ["stop_loss", "take_profit", "risk_percent", "expire_time"];
const SIDES: ReadonlyMap<unknown, "buy" | "sell"> = new Map<unknown, "buy" | "sell">([
  ["SIDE_BUY", "buy"],
  ["SIDE_SELL", "sell"],
  [1, "buy"],
  [2, "sell"],
]);
const REST_SIDES: ReadonlyMap<unknown, "buy" | "sell"> = new Map<unknown, "buy" | "sell">([
  ["buy", "buy"],
  ["sell", "sell"],
  [0, "buy"],
  [1, "sell"],
]);

function signalOf(fields: Values): Signal {
  const number = (name: (typeof NUMBERS)[number]) => typed<number>(fields[name], "number");
  const text = (name: string) => typed<string>(fields[name], "string") ?? "";
  const { side, payload } = fields;
  if (side !== "buy" && side !== "sell") throw new Invalid("no side");
  if (payload !== undefined && (typeof payload !== "object" || Array.isArray(payload))) {
    throw new Invalid("no payload");
  }
  return {
    instrument: text("instrument"),
    side,
    entryPrice: number("entry_price") ?? Number.NaN,
    stopLoss: number("stop_loss"),
    takeProfit: number("take_profit"),
    confidence: number("confidence"),
    riskPercent: number("risk_percent"),
    strategyName: text("strategy_name"),
    reason: text("reason"),
    comment: text("comment"),
    signalTime: timeOf(fields.signal_time),
    expireTime: fields.expire_time === undefined ? undefined : timeOf(fields.expire_time),
    payload: payload as JsonObject | undefined,
  };
}

function beside(request: Values): Omit<Asked, "signal"> {
  const key = typed<string>(request.idempotency_key, "string");
  const validateOnly = typed<boolean>(request.validate_only, "boolean") ?? false;
  return { key: key === "" ? undefined : key, validateOnly };
}

function typed<Value>(value: unknown, type: string): Value | undefined {
  if (value !== undefined && typeof value !== type)
    throw new (type === "number" ? Invalid : Error)(`no ${type}`);
  return value as Value | undefined;
}

/** The members of an object under their names in the contract; there may be no others. */
function members(value: unknown, names: readonly string[], also = (name: string) => name): Values {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error("no object");
  const known = new Map(
    names.flatMap((name) => [
      [name, name],
      [also(name), name],
    ]),
  );
  const found: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(withoutNulls(value as Values))) {
    const meant = known.get(name);
    if (meant === undefined || meant in found) throw new Error(`no ${name}, or twice`);
    found[meant] = member;
  }
  return found;
}

function withoutNulls(values: Values): Values {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));
}

function camel(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** A name in which one character of a name is wrong, or whose case or hyphens are. */
function isMisspelt(name: string): boolean {
  return MONEY.some((right) => {
    if (name.toLowerCase().replace(/[-_]/g, "") === right.replace("_", "")) return true;
    const wrong = [...right].filter((letter, at) => name[at] !== letter);
    return name.length === right.length && wrong.length === 1;
  });
}

/** ProtoJSON writes a number as such or as text. */
function numberOf(value: unknown): unknown {
  if (typeof value !== "string") return value;
  if (!/^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(value)) throw new Invalid("no number");
  return Number(value);
}

const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/;

/** A time as RFC 3339 writes it. */
function timeOf(value: unknown): bigint {
  const [, seconds = "", fraction = "", zone] = TIME.exec(String(value)) ?? [];
  const millis = Date.parse(`${seconds}${zone}`);
  // A day that the month does not have becomes another.
  const local = Date.parse(`${seconds}Z`);
  const isThere = !Number.isNaN(local) && new Date(local).toISOString().startsWith(seconds);
  if (typeof value !== "string" || Number.isNaN(millis) || !isThere) throw new Invalid("no time");
  return BigInt(millis) * 1_000_000n + BigInt(fraction.padEnd(9, "0"));
}

/** In the place of a whole number that no double is. No valid signal can hold it. */
const INEXACT = "\0";

/** @throws Error if it is no JSON, or has a name twice. */
function parse(bytes: Buffer): unknown {
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  if (!text.startsWith("{")) throw new Error("no object");
  let memberCount = 0;
  type Reviver = (name: string, value: unknown, context: { readonly source?: string }) => unknown;
  const reviver: Reviver = (_, value, { source = "" }) => {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      memberCount += Object.keys(value).length;
    }
    if (typeof value === "number" && /^-?[1-9]\d*$/.test(source) && String(value) !== source) {
      return INEXACT;
    }
    return value;
  };
  let value: unknown;
  try {
    value = (JSON.parse as (text: string, reviver: Reviver) => unknown)(text, reviver);
  } catch (error) {
    // Deeper than functions may call each other: REST passes over what it does not know.
    if (error instanceof RangeError) return JSON.parse(text);
    throw error;
  }
  const colons = text.replace(/"(?:[^"\\]|\\.)*"/g, "").split(":").length - 1;
  if (colons !== memberCount) throw new Error("a name is there twice");
  return value;
}
