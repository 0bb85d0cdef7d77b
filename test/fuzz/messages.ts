/** Valid messages for each method, to be spoiled. */
import {
  create,
  type DescField,
  type DescMessage,
  ScalarType,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf";
import fc from "fast-check";
import {
  IngestBatchRequestSchema,
  IngestRequestSchema,
} from "../../gen/signals/v1/ingest_service_pb.ts";
import { type Signal, signalToProto } from "../../src/signal/index.ts";
import {
  arbitrarySignal,
  restBody,
  restFields,
  SIGNAL_TIME,
  validSignal,
} from "../support/signals.ts";
import type { Dice } from "./dice.ts";

/** Of a message that has more, the server would be kept busy with one case. */
const BATCH_MAX = 8;
/** The one producer that calls with a token may change. */
export const VICTIM = "victim";
/** A message in a message in a message is enough. */
const DEPTH_MAX = 3;

/** Signals out to the bounds of every rule. To make one takes longer than to send it. */
const SIGNALS = fc.sample(arbitrarySignal({ now: SIGNAL_TIME, isUnexpired: true }), {
  seed: 1,
  numRuns: 100,
});

/** A valid message of any type. @param key an idempotency key that nobody else has. */
export function validMessage(
  desc: DescMessage,
  codec: "proto" | "json",
  key: string,
  dice: Dice,
): Buffer {
  const message = create(desc, fieldsOf(desc, key, dice, 0));
  return Buffer.from(codec === "json" ? toJsonString(desc, message) : toBinary(desc, message));
}

/** A valid body of REST. */
export function validRest(key: string, dice: Dice): Buffer {
  const key_field = dice.chance(0.7) ? { idempotency_key: key } : {};
  if (dice.chance(0.5)) return Buffer.from(restBody({ comment: key, ...key_field }));
  return Buffer.from(JSON.stringify({ ...restFields(anySignal(key, dice)), ...key_field }));
}

function fieldsOf(
  desc: DescMessage,
  key: string,
  dice: Dice,
  depth: number,
): Record<string, unknown> {
  switch (desc.typeName) {
    case IngestRequestSchema.typeName:
      return {
        signal: signalToProto(anySignal(key, dice)),
        idempotencyKey: dice.chance(0.7) ? key : "",
        validateOnly: dice.chance(0.05),
      };
    case IngestBatchRequestSchema.typeName: {
      const keys = Array.from(
        { length: 1 + dice.upTo(BATCH_MAX - 1) },
        (_, item) => `${key}.${item}`,
      );
      return { requests: keys.map((item) => fieldsOf(IngestRequestSchema, item, dice, depth)) };
    }
    default: {
      const chosen = desc.fields.filter(() => dice.chance(0.7));
      return Object.fromEntries(
        chosen.map((field) => [field.localName, fieldValue(field, key, dice, depth)]),
      );
    }
  }
}

/** Most are alike, since what is random is rarely what a mutation needs. */
function anySignal(key: string, dice: Dice): Signal {
  if (dice.chance(0.6)) return validSignal({ comment: key });
  return dice.pick(SIGNALS);
}

/** A value of a field of a message that is not known here. */
function fieldValue(field: DescField, key: string, dice: Dice, depth: number): unknown {
  if (field.fieldKind === "map") return undefined;
  if (field.fieldKind !== "list") return singleValue(field, key, dice, depth);
  return Array.from({ length: dice.upTo(2) }, () => singleValue(field, key, dice, depth));
}

function singleValue(
  { name, message, enum: desc, scalar }: DescField,
  key: string,
  dice: Dice,
  depth: number,
): unknown {
  if (message !== undefined) {
    return depth < DEPTH_MAX
      ? create(message, fieldsOf(message, key, dice, depth + 1))
      : create(message);
  }
  if (desc !== undefined) return dice.pick(desc.values).number;
  switch (scalar) {
    case ScalarType.STRING:
      if (name === "paths") return dice.pick(["display_name", "rate_limit_per_second", "enabled"]);
      if (name.startsWith("producer_id") && dice.chance(0.8)) return VICTIM;
      return dice.pick(["", key, VICTIM, "GOLD", "signals.v1.IngestService"]);
    case ScalarType.BOOL:
      return dice.chance(0.5);
    case ScalarType.INT64:
      return BigInt(dice.pick([0, 1, 1_000]));
    default:
      return dice.pick([0, 1, 1_000]);
  }
}
