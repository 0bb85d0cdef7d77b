/**
 * Mutations of protobuf messages that keep most of the message what it was, so that readers get
 * far into it (Protocol Buffers, "Encoding").
 */
import type { Dice } from "../dice.ts";
import { NOT_UTF8 } from "./bytes.ts";

/** One field as it stands in the bytes. Of a message in a field, `value` is what is inside. */
interface RawField {
  readonly number: number;
  readonly wireType: number;
  /** Without its length. */
  readonly value: Buffer;
}

const VARINT = 0;
const BIT64 = 1;
const LENGTH_DELIMITED = 2;
const GROUP_START = 3;
const GROUP_END = 4;
const BIT32 = 5;
/** Fields that hold messages in at least one of our messages; a guess, which may be wrong. */
const DEPTH_MAX = 12;

const VARINTS = ["00", "01", "02", "7f", "8000", "ff01", "ffffffff0f", "ffffffffffffffffff01"]
  .concat(["80808080808080808001", "ffffffffffffffffff7f", "80808080808080808080808000", "80"])
  .map((hex) => Buffer.from(hex, "hex"));

const DOUBLES = [0, -0, -1, 1e12, 1e12 + 1, 5e-324, 1.7976931348623157e308, 100, 1]
  .concat([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
  .map((number) => {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(number);
    return bytes;
  });

const TEXTS = ["", "GOLD", "\0", "x".repeat(129), "é".repeat(501), "🥇".repeat(500), "\u2028\r\n"]
  .map((text) => Buffer.from(text))
  .concat(NOT_UTF8);

type Mutation = (fields: RawField[], dice: Dice) => Buffer;

const MUTATIONS: readonly Mutation[] = [
  (fields, dice) => joined(fields.toSpliced(dice.upTo(fields.length - 1), 1)),
  (fields, dice) =>
    joined(fields.toSpliced(dice.upTo(fields.length), 0, ...pickSome(fields, dice))),
  (fields, dice) => joined([...fields].reverse().slice(dice.upTo(1))),
  (fields, dice) =>
    change(fields, dice, (field) => ({ ...field, number: dice.pick([0, 1, 2, 3, 16, 536870911]) })),
  (fields, dice) => change(fields, dice, (field) => ({ ...field, wireType: dice.upTo(7) })),
  (fields, dice) => change(fields, dice, (field) => ({ ...field, value: otherValue(field, dice) })),
  (fields, dice) => change(fields, dice, (field) => ({ ...field, value: otherValue(field, dice) })),
  function lieAboutLength(fields, dice) {
    const at = dice.upTo(fields.length - 1);
    return Buffer.concat(
      fields.map((field, index) => {
        if (index !== at || field.wireType !== LENGTH_DELIMITED) return written(field);
        const length = field.value.length + dice.pick([-1, 1, 5, 1_000, 2 ** 31, 2 ** 32 - 1]);
        return Buffer.concat([tag(field), varint(Math.max(0, length)), field.value]);
      }),
    );
  },
  (fields, dice) =>
    joined([...fields, { number: 15, wireType: VARINT, value: dice.pick(VARINTS) }]),
  function addGroup(fields, dice) {
    const depth = dice.pick([1, 2, 100, 5_000]);
    const start = tag({ number: 1, wireType: GROUP_START });
    const end = tag({ number: 1, wireType: GROUP_END });
    const starts = Array.from({ length: depth }, () => start);
    const ends = Array.from({ length: dice.pick([0, depth]) }, () => end);
    return Buffer.concat([joined(fields), ...starts, ...ends]);
  },
  function wrapDeeply(fields, dice) {
    let inner = joined(fields);
    const levels = dice.pick([1, 17, 99, 101, 400]);
    for (let level = 0; level < levels && inner.length < 30_000; level++) {
      inner = written({
        number: dice.pick([1, 5, 6, 13]),
        wireType: LENGTH_DELIMITED,
        value: inner,
      });
    }
    return inner;
  },
  // A field whose tag, or whose length, is longer than it has to be.
  (fields, dice) =>
    Buffer.concat([Buffer.from("8a80808000", "hex"), joined(fields).subarray(1 + dice.upTo(1))]),
];

/** Changes a message in one place, at any depth. */
export function mutateProtobuf(bytes: Uint8Array, dice: Dice, depth = 0): Buffer {
  const fields = fieldsOf(Buffer.from(bytes));
  if (fields === undefined || fields.length === 0) return dice.pick([...TEXTS, ...VARINTS]);
  const nested = fields.filter(
    ({ wireType, value }) => wireType === LENGTH_DELIMITED && (fieldsOf(value)?.length ?? 0) > 0,
  );
  if (nested.length === 0 || depth > DEPTH_MAX || dice.chance(0.3)) {
    return dice.pick(MUTATIONS)(fields, dice);
  }
  const chosen = dice.pick(nested);
  return joined(
    fields.map((field) =>
      field === chosen ? { ...field, value: mutateProtobuf(field.value, dice, depth + 1) } : field,
    ),
  );
}

/** @returns `undefined` if the bytes are no message. */
function fieldsOf(bytes: Buffer): RawField[] | undefined {
  const fields: RawField[] = [];
  let at = 0;
  while (at < bytes.length) {
    const [tagValue, afterTag] = readVarint(bytes, at);
    const [number, wireType] = [tagValue >>> 3, tagValue & 7];
    let [start, end] = [afterTag, afterTag];
    if (wireType === VARINT) [, end] = readVarint(bytes, afterTag);
    else if (wireType === BIT64) end = start + 8;
    else if (wireType === BIT32) end = start + 4;
    else if (wireType === LENGTH_DELIMITED) {
      const [length, afterLength] = readVarint(bytes, afterTag);
      [start, end] = [afterLength, afterLength + length];
    } else return undefined;
    if (number === 0 || !(end <= bytes.length)) return undefined;
    fields.push({ number, wireType, value: bytes.subarray(start, end) });
    at = end;
  }
  return fields;
}

/** @returns the value, and where it ended; beyond the bytes if it does not. */
function readVarint(bytes: Buffer, start: number): readonly [number, number] {
  let value = 0;
  for (let at = start; at < start + 10; at++) {
    const byte = bytes[at];
    if (byte === undefined) break;
    value += (byte & 127) * 2 ** (7 * (at - start));
    if (byte < 128) return [value, at + 1];
  }
  return [0, Number.POSITIVE_INFINITY];
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

function tag({ number, wireType }: Pick<RawField, "number" | "wireType">): Buffer {
  return varint(number * 8 + wireType);
}

function written(field: RawField): Buffer {
  const isDelimited = field.wireType === LENGTH_DELIMITED;
  const length = isDelimited ? varint(field.value.length) : Buffer.alloc(0);
  return Buffer.concat([tag(field), length, field.value]);
}

function joined(fields: readonly RawField[]): Buffer {
  return Buffer.concat(fields.map(written));
}

function change(
  fields: readonly RawField[],
  dice: Dice,
  changed: (field: RawField) => RawField,
): Buffer {
  const at = dice.upTo(fields.length - 1);
  return joined(fields.map((field, index) => (index === at ? changed(field) : field)));
}

function pickSome(fields: readonly RawField[], dice: Dice): RawField[] {
  const field = dice.pick(fields);
  const copies = dice.chance(0.05) ? 1_000 : 1;
  return Array.from({ length: copies }, () => field);
}

function otherValue({ wireType, value }: RawField, dice: Dice): Buffer {
  if (wireType === VARINT) return dice.pick(VARINTS);
  if (wireType === BIT64) return dice.pick(DOUBLES);
  if (wireType === BIT32) return dice.bytes(4);
  return dice.chance(0.2) ? Buffer.concat([value, value]) : dice.pick(TEXTS);
}
