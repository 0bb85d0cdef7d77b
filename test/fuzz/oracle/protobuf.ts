/**
 * Reads an IngestRequest and an IngestBatchRequest in protobuf, by the specification alone and
 * without the library: only fields that the contract defines, each in its own wire type. Of a
 * field that is there twice the last counts, and messages are merged, which is what their bytes
 * say one after the other (Protocol Buffers, "Encoding", "Last One Wins").
 */
import { isUtf8 } from "node:buffer";
import type { JsonObject, JsonValue, Signal } from "../../../src/signal/index.ts";
import { type Asked, Invalid, ITEM_MAX_BYTES, readItems } from "./asked.ts";

/** @throws Error if the bytes are not exactly a message of the contract. */
export function readBatchProtobuf(bytes: Buffer): Asked[] {
  return readItems(
    new Fields(bytes, { 1: 2 }).all(1),
    readProtobuf,
    ({ length }) => length > ITEM_MAX_BYTES,
  );
}

/** @throws Error if the bytes are not exactly a message of the contract. */
export function readProtobuf(bytes: Buffer): Asked {
  const request = new Fields(bytes, { 1: 2, 2: 2, 3: 0 });
  const fields = new Fields(request.message(1) ?? missing("signal"), SIGNAL);
  const payload = fields.message(13);
  const signal: Signal = {
    instrument: fields.text(1),
    side: fields.varint(2) === 1n ? "buy" : fields.varint(2) === 2n ? "sell" : missing("side"),
    entryPrice: fields.double(3) ?? missing("entry_price"),
    stopLoss: fields.double(4),
    takeProfit: fields.double(5),
    confidence: fields.double(6),
    riskPercent: fields.double(7),
    strategyName: fields.text(8),
    reason: fields.text(9),
    comment: fields.text(10),
    signalTime: time(fields.message(11)) ?? missing("signal_time"),
    expireTime: time(fields.message(12)),
    payload: payload && struct(payload),
  };
  const key = request.text(2);
  return { signal, key: key === "" ? undefined : key, validateOnly: request.varint(3) !== 0n };
}

/** The wire type of each field of a Signal: 0 varint, 1 eight bytes, 2 with a length. */
const SIGNAL = {
  ...{ 1: 2, 2: 0, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1 },
  ...{ 8: 2, 9: 2, 10: 2, 11: 2, 12: 2, 13: 2 },
} as const;

/** The fields of a message, as they stand in it. */
class Fields {
  readonly #values = new Map<number, Buffer[]>();

  constructor(bytes: Buffer, wireTypes: Readonly<Record<number, number>>) {
    for (let at = 0; at < bytes.length; ) {
      const tag = readVarint(bytes, at);
      const [number, wireType] = [
        Number(BigInt.asUintN(32, tag.value) >> 3n),
        Number(tag.value & 7n),
      ];
      if (wireTypes[number] !== wireType) throw new Error(`no field ${number} of ${wireType}`);
      let [start, end] = [tag.end, tag.end + 8];
      if (wireType === 0) end = readVarint(bytes, start).end;
      if (wireType === 2) {
        const length = readVarint(bytes, start);
        [start, end] = [length.end, length.end + Number(BigInt.asUintN(32, length.value))];
      }
      if (end > bytes.length) throw new Error("cut off");
      this.#values.set(number, [...this.all(number), bytes.subarray(start, end)]);
      at = end;
    }
  }

  all(number: number): Buffer[] {
    return this.#values.get(number) ?? [];
  }

  message(number: number): Buffer | undefined {
    const all = this.all(number);
    return all.length === 0 ? undefined : Buffer.concat(all);
  }

  text(number: number): string {
    const all = this.all(number);
    for (const bytes of all) if (!isUtf8(bytes)) throw new Error("not UTF-8");
    return all.at(-1)?.toString("utf8") ?? "";
  }

  double(number: number): number | undefined {
    return this.all(number).at(-1)?.readDoubleLE();
  }

  varint(number: number): bigint {
    const bytes = this.all(number).at(-1);
    return bytes === undefined ? 0n : readVarint(bytes, 0).value;
  }
}

function readVarint(
  bytes: Buffer,
  start: number,
): { readonly value: bigint; readonly end: number } {
  let value = 0n;
  for (let at = start; at < start + 10; at++) {
    const byte = bytes[at];
    if (byte === undefined) throw new Error("cut off");
    value |= BigInt(byte & 127) << BigInt(7 * (at - start));
    if (byte < 128) return { value: BigInt.asUintN(64, value), end: at + 1 };
  }
  throw new Error("a varint of more than ten bytes");
}

function time(bytes: Buffer | undefined): bigint | undefined {
  if (bytes === undefined) return undefined;
  const fields = new Fields(bytes, { 1: 0, 2: 0 });
  const nanos = BigInt.asIntN(32, fields.varint(2));
  if (nanos < 0n || nanos > 999_999_999n) throw new Invalid("no nanoseconds of a time");
  return BigInt.asIntN(64, fields.varint(1)) * 1_000_000_000n + nanos;
}

function struct(bytes: Buffer): JsonObject {
  const entries = new Fields(bytes, { 1: 2 }).all(1).map((entry): [string, JsonValue] => {
    const fields = new Fields(entry, { 1: 2, 2: 2 });
    const value = fields.message(2);
    if (value === undefined) throw new Error("an entry without a value");
    return [fields.text(1), jsonValue(value)];
  });
  return Object.fromEntries(entries);
}

function jsonValue(bytes: Buffer): JsonValue {
  const fields = new Fields(bytes, { 1: 0, 2: 1, 3: 2, 4: 0, 5: 2, 6: 2 });
  const kinds = [1, 2, 3, 4, 5, 6].filter((number) => fields.all(number).length > 0);
  switch (kinds.length === 1 ? kinds[0] : undefined) {
    case 1:
      return null;
    case 2:
      return fields.double(2) as number;
    case 3:
      return fields.text(3);
    case 4:
      return fields.varint(4) !== 0n;
    case 5:
      return struct(fields.message(5) as Buffer);
    case 6:
      return new Fields(fields.message(6) as Buffer, { 1: 2 }).all(1).map(jsonValue);
    default:
      throw new Error("not one kind of value");
  }
}

function missing(what: string): never {
  throw new Invalid(`no ${what}`);
}
