/**
 * The fields that the protobuf library reads otherwise than they were meant: it moves a
 * date that does not exist into the next month, takes "0x1f" for a number, changes numbers
 * that a double does not hold, and refuses a whole batch for one time that is none. So
 * times, numbers and the payload are taken out of the JSON and read here; a wrong one is
 * marked as invalid, and validation names it like any other.
 */
import type { DescMessage } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import {
  type FieldKind,
  INEXACT_NUMBER,
  INVALID_TIME,
  type Instant,
  isKeptByDouble,
  SIGNAL_FIELD_LIST,
  type SignalField,
  type UncheckedSignal,
} from "../../signal/index.ts";
import { parseTimestamp } from "../../signing/index.ts";

/** A number as RFC 8259, section 6 writes it. */
const DECIMAL_NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

/** What replaces the decoded fields of one signal. */
export type SignalOverrides = Partial<UncheckedSignal>;

/** How a value of each kind is read that is not left to the library. */
const READERS: Readonly<Partial<Record<FieldKind, (value: unknown) => unknown>>> = {
  time: timeOf,
  number: numberOf,
  object: (value) => value,
};

const UNCLEAR_FIELDS = SIGNAL_FIELD_LIST.flatMap(({ field, name, kind }) => {
  const read = READERS[kind];
  return read === undefined ? [] : [{ field, name, read }];
});

/**
 * Takes the fields out of the JSON of an IngestRequest, and changes that JSON.
 *
 * @returns what was taken out.
 */
export function takeUnclearFields(request: unknown): SignalOverrides {
  return isObject(request) && isObject(request.signal) ? takeFromSignal(request.signal) : {};
}

/**
 * The first field of a message, by its name in the contract, that should be a time and is none:
 * the library reads a date that does not exist as one of the next month.
 */
export function wrongTimeIn(schema: DescMessage, message: unknown): string | undefined {
  if (!isObject(message)) return undefined;
  return schema.fields.find((field) => {
    if (field.fieldKind !== "message" || field.message.typeName !== TIME) return false;
    const value = message[field.jsonName] ?? message[field.name];
    return typeof value === "string" && timeOf(value) === INVALID_TIME;
  })?.name;
}

const TIME = TimestampSchema.typeName;

function takeFromSignal(signal: Record<string, unknown>): SignalOverrides {
  const overrides: Partial<Record<SignalField, unknown>> = {};
  for (const { field, name, read } of UNCLEAR_FIELDS) {
    const value = take(signal, field, name);
    if (value !== undefined) overrides[field] = read(value);
  }
  return overrides as SignalOverrides;
}

/**
 * ProtoJSON takes a field by its lowerCamelCase or by its proto name, and `null` for one
 * that is absent. A field under both names is left for the library, which refuses it.
 */
function take(signal: Record<string, unknown>, field: string, protoName: string): unknown {
  const isThere = Object.hasOwn(signal, field);
  if (isThere && protoName !== field && Object.hasOwn(signal, protoName)) return undefined;
  const name = isThere ? field : protoName;
  const value = signal[name];
  delete signal[name];
  return value ?? undefined;
}

function timeOf(value: unknown): Instant | typeof INVALID_TIME {
  return (typeof value === "string" ? parseTimestamp(value) : undefined) ?? INVALID_TIME;
}

/** ProtoJSON writes a number as such or as text. */
function numberOf(value: unknown): unknown {
  if (typeof value === "number" || value === INEXACT_NUMBER) return value;
  if (typeof value !== "string" || !DECIMAL_NUMBER.test(value)) return Number.NaN;
  return isKeptByDouble(value) ? Number(value) : INEXACT_NUMBER;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
