/**
 * Between the generated protobuf messages and the domain's types. Client and server
 * share it, so that both mean the same by each field.
 */
import { create, type Message } from "@bufbuild/protobuf";
import { type Timestamp, TimestampSchema } from "@bufbuild/protobuf/wkt";
import {
  Side as ProtoSide,
  type Signal as ProtoSignal,
  SignalStatus as ProtoSignalStatus,
  SignalSchema,
} from "../../gen/signals/v1/signal_pb.ts";
import { type FieldKind, SIGNAL_FIELD_LIST, type Signal, type UncheckedSignal } from "./fields.ts";
import {
  INVALID_TIME,
  type Instant,
  type JsonObject,
  type JsonValue,
  type Side,
  type SignalStatus,
} from "./values.ts";

const NANOS_PER_SECOND = 1_000_000_000n;

const SIDE_FROM_PROTO: ReadonlyMap<ProtoSide, Side> = new Map([
  [ProtoSide.BUY, "buy"],
  [ProtoSide.SELL, "sell"],
]);

const STATUS_TO_PROTO: Readonly<Record<SignalStatus, ProtoSignalStatus>> = {
  received: ProtoSignalStatus.RECEIVED,
  pending_approval: ProtoSignalStatus.PENDING_APPROVAL,
  approved: ProtoSignalStatus.APPROVED,
  rejected: ProtoSignalStatus.REJECTED,
  expired: ProtoSignalStatus.EXPIRED,
};

/**
 * All fields of a message, none of them optional: the compiler asks whoever makes a message
 * of them for one that was added to the contract.
 */
export type MessageFields<Whole extends Message> = {
  [Field in Exclude<keyof Whole, keyof Message>]: Whole[Field];
};

/**
 * A message for a reader who reads these fields: it compiles only if there are no others, so
 * that one that was added to the contract is not passed over in silence.
 */
export type WithoutOtherFields<Whole extends Message, Read extends keyof Whole> = Whole &
  Record<Exclude<keyof MessageFields<Whole>, Read>, never>;

/** A value of each kind as the domain has it, where a message has it otherwise. */
const FROM_PROTO: Conversions = {
  // SIDE_UNSPECIFIED and numbers that the enum lacks become undefined: no direction.
  side: (side: ProtoSide) => SIDE_FROM_PROTO.get(side),
  time: instantFromProto,
};
const TO_PROTO: Conversions = {
  side: (side: Side) => (side === "buy" ? ProtoSide.BUY : ProtoSide.SELL),
  time: instantToProto,
  object: sortedObject,
};
type Conversions = Readonly<Partial<Record<FieldKind, (value: never) => unknown>>>;

/** Takes a decoded message apart. Judges nothing: {@link validateSignal} does. */
export function signalFromProto(message: ProtoSignal): UncheckedSignal {
  return converted(message, FROM_PROTO);
}

/**
 * Makes the message of a signal, always the same bytes for the same signal: the keys
 * of the payload are sorted, since protobuf maps keep the order of a JavaScript object,
 * and −0 becomes 0, since JSON and the content digest know no −0.
 */
export function signalToProto(signal: Signal): ProtoSignal {
  return Object.assign(create(SignalSchema), converted(signal, TO_PROTO));
}

/** To begin with: an object to which fields are added one by one takes longer to make. */
const NO_FIELDS = Object.fromEntries(
  SIGNAL_FIELD_LIST.map(({ field }) => [field, undefined as unknown]),
);

/** Every field of a signal, each converted by its kind. */
function converted(from: ProtoSignal | Signal, conversions: Conversions): object {
  const fields = { ...NO_FIELDS };
  for (const { field, kind } of SIGNAL_FIELD_LIST) {
    const value = from[field];
    const convert = conversions[kind];
    fields[field] = convert === undefined || value === undefined ? value : convert(value as never);
  }
  return fields;
}

/** The protobuf form of a status. */
export function statusToProto(status: SignalStatus): ProtoSignalStatus {
  return STATUS_TO_PROTO[status];
}

/** The protobuf form of a point in time. */
export function instantToProto(instant: Instant): Timestamp {
  const nanos = ((instant % NANOS_PER_SECOND) + NANOS_PER_SECOND) % NANOS_PER_SECOND;
  return create(TimestampSchema, {
    seconds: (instant - nanos) / NANOS_PER_SECOND,
    nanos: Number(nanos),
  });
}

/** The protobuf form of a point in time that there may not be. */
export function optionalTime(instant: Instant | undefined): Timestamp | undefined {
  return instant === undefined ? undefined : instantToProto(instant);
}

/**
 * A message's time, or {@link INVALID_TIME} if its nanoseconds are not those of a
 * timestamp: the binary format does not check them.
 */
export function instantFromProto(timestamp: Timestamp): Instant | typeof INVALID_TIME {
  if (timestamp.nanos < 0 || timestamp.nanos > 999_999_999) return INVALID_TIME;
  return timestamp.seconds * NANOS_PER_SECOND + BigInt(timestamp.nanos);
}

function sortedObject(object: JsonObject): JsonObject {
  const keys = Object.keys(object).sort();
  // Object.fromEntries defines keys, so that even "__proto__" stays a key.
  return Object.fromEntries(keys.map((key) => [key, sorted(object[key] as JsonValue)]));
}

function sorted(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === 0) return 0;
  return typeof value === "object" && value !== null ? sortedObject(value) : value;
}
