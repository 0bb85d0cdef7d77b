/**
 * Binary bodies whose bytes are not what the contract defines: refused and never guessed
 * at, however they are broken.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { IngestRequestSchema } from "../../../gen/signals/v1/ingest_service_pb.ts";
import { UpdateProducerRequestSchema } from "../../../gen/signals/v1/producer_service_pb.ts";
import { CreateTokenRequestSchema } from "../../../gen/signals/v1/token_service_pb.ts";
import { decodeMessage } from "../../../src/server/rpc/decode.ts";

const REQUEST = toBinary(
  IngestRequestSchema,
  create(IngestRequestSchema, {
    idempotencyKey: "key-1",
    validateOnly: true,
    signal: {
      instrument: "GOLD",
      side: 1,
      entryPrice: 1950.5,
      stopLoss: 1945,
      strategyName: "trend",
      signalTime: { seconds: 1_761_402_645n, nanos: 1 },
      payload: { a: 1, b: [true, null, { c: "x" }] },
    },
  }),
);

function decode(...bytes: readonly Uint8Array[]) {
  return decodeMessage(IngestRequestSchema, "binary", Buffer.concat(bytes));
}

/** A field that holds these bytes. */
function delimited(field: number, bytes: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(field, WireType.LengthDelimited).bytes(bytes).finish();
}

/** The signal of a request, from the bytes of some of its fields. */
function signalOf(fields: Uint8Array): Uint8Array {
  return delimited(1, fields);
}

const STOP_LOSS = 4;
const TAG_AND_DOUBLE_BYTES = 9;

test("a message as it should be is decoded", () => {
  expect(decode(REQUEST).ok).toBe(true);
});

describe("refused is", () => {
  test.each([
    ["a float", new BinaryWriter().tag(STOP_LOSS, WireType.Bit32).float(1945)],
    ["a whole number", new BinaryWriter().tag(STOP_LOSS, WireType.Varint).uint32(1_945)],
    ["a text", new BinaryWriter().tag(STOP_LOSS, WireType.LengthDelimited).string("1945")],
  ])("%s for a stop loss, though with what follows it could be read as a double", (_, writer) => {
    const stopLoss = writer.finish();
    const text = "x".repeat(TAG_AND_DOUBLE_BYTES - stopLoss.length - 2);
    const comment = new BinaryWriter().tag(10, WireType.LengthDelimited).string(text).finish();
    const fields = Buffer.concat([stopLoss, comment]);
    expect(fields).toHaveLength(TAG_AND_DOUBLE_BYTES);
    expect(decode(REQUEST, signalOf(fields)).ok).toBe(false);
  });

  const UNKNOWN = new BinaryWriter().tag(99, WireType.Varint).uint32(1).finish();
  test.each([
    ["the request", UNKNOWN],
    ["the signal", signalOf(UNKNOWN)],
    ["the payload", signalOf(delimited(13, UNKNOWN))],
    ["an entry of the payload", signalOf(delimited(13, delimited(1, UNKNOWN)))],
    ["a value", signalOf(delimited(13, delimited(1, delimited(2, UNKNOWN))))],
  ])("a field number that is not defined, in %s", (_, bytes) => {
    expect(decode(REQUEST, bytes).ok).toBe(false);
  });

  test.each([WireType.Varint, WireType.Bit64, WireType.Bit32, WireType.StartGroup])(
    "a message of the wire type %i",
    (wireType) => {
      const bytes = Buffer.concat([new BinaryWriter().tag(1, wireType).finish(), Buffer.alloc(9)]);
      expect(decode(REQUEST, bytes).ok).toBe(false);
    },
  );

  test("a field that reaches beyond the message that it is in", () => {
    const comment = new BinaryWriter().tag(10, WireType.LengthDelimited).string("a comment");
    const whole = signalOf(comment.finish());
    expect(decode(REQUEST, whole).ok).toBe(true);
    const short = Uint8Array.from(whole);
    short[1] = (short[1] as number) - 1;
    expect(decode(REQUEST, short).ok).toBe(false);
  });

  test("every beginning of a message that ends within a field", () => {
    for (let length = 1; length < REQUEST.length; length++) {
      const decoding = decode(REQUEST.subarray(0, length));
      if (!decoding.ok) continue;
      // It ends between two fields, so its own bytes are the same.
      expect(toBinary(IngestRequestSchema, decoding.value.message)).toHaveLength(length);
    }
  });

  test.each([
    ["groups within groups", Buffer.alloc(60_000, 0x0b)],
    ["lists within lists", signalOf(delimited(13, nestedLists(5_000)))],
    ["a length beyond all bytes", Buffer.from("0affffffff0f", "hex")],
    ["a number without an end", Buffer.from("18ffffffffffffffffffff", "hex")],
  ])("%s", (_, bytes) => {
    expect(decode(bytes).ok).toBe(false);
  });
});

describe("a Value in a payload", () => {
  const NULL = "0800";
  test.each([
    ["null", NULL, true],
    ["null, written longer", "08808000", true],
    ["a list of nulls", "32080a0208000a020800", true],
    ["no kind", "", false],
    ["a list of one without a kind", "32020a00", false],
    ["a null of the number 5", "0805", false],
    ["a null of a number that is 0 in 32 bits", "088080808010", false],
    ["two kinds", `${NULL}2001`, false],
    ["null twice", `${NULL}${NULL}`, false],
  ])("may be %s: %s is %s", (_, hex, isTaken) => {
    const entry = Buffer.concat([
      new BinaryWriter().tag(1, WireType.LengthDelimited).string("a").finish(),
      delimited(2, Buffer.from(hex, "hex")),
    ]);
    expect(decode(payloadOf(entry)).ok).toBe(isTaken);
  });

  test("may not be missing from its entry, nor be there twice", () => {
    const key = new BinaryWriter().tag(1, WireType.LengthDelimited).string("a").finish();
    const value = Buffer.from("12020800", "hex");
    expect(decode(payloadOf(Buffer.concat([key, value]))).ok).toBe(true);
    expect(decode(payloadOf(value)).ok).toBe(true);
    expect(decode(payloadOf(key)).ok).toBe(false);
    expect(decode(payloadOf(Buffer.concat([key, value, value]))).ok).toBe(false);
  });

  /** A request whose payload has this entry. */
  function payloadOf(entry: Uint8Array): Uint8Array {
    return signalOf(delimited(13, delimited(1, entry)));
  }
});

/** A Struct with so many lists, each in the other. */
function nestedLists(depth: number): Uint8Array {
  let value: Uint8Array = new Uint8Array();
  for (let level = 0; level < depth; level++) value = delimited(6, delimited(1, value));
  return delimited(1, delimited(2, value));
}

describe("JSON of another message than a signal's", () => {
  const decodeToken = (text: string) =>
    decodeMessage(CreateTokenRequestSchema, "json", Buffer.from(text));

  test("is read by the names of ProtoJSON", () => {
    const text = `{"name":"ops","scopes":["SCOPE_ADMIN"],"expire_time":"2030-01-31T12:00:00Z"}`;
    expect(decodeToken(text)).toMatchObject({
      ok: true,
      value: { message: { name: "ops", scopes: [3] }, overrides: {} },
    });
    const update = Buffer.from(`{"updateMask":"displayName,requireApproval"}`);
    expect(decodeMessage(UpdateProducerRequestSchema, "json", update)).toMatchObject({
      value: { message: { updateMask: { paths: ["display_name", "require_approval"] } } },
    });
  });

  test.each(["expireTime", "expire_time"])("may have no day as %s that does not exist", (name) => {
    expect(decodeToken(`{"${name}":"2030-02-30T12:00:00Z"}`)).toMatchObject({
      ok: false,
      refusal: { reason: "MALFORMED_BODY", message: expect.stringContaining("expire_time") },
    });
  });

  test.each([
    `{"signal":{"side":1}}`,
    `{"scopes":["SCOPE_ADMINN"]}`,
    `{"nam":"ops"}`,
    `{"name":1}`,
  ])("may not be %s", (text) =>
    expect(decodeToken(text)).toMatchObject({ refusal: { reason: "MALFORMED_BODY" } }),
  );
});

test("whatever the bytes are, they are decoded or refused", () => {
  const change = fc.record({
    at: fc.nat(REQUEST.length - 1),
    removed: fc.nat(3),
    added: fc.uint8Array({ maxLength: 3 }),
  });
  const changed = fc.array(change, { minLength: 1, maxLength: 3 }).map((changes) => {
    const bytes = [...REQUEST];
    for (const { at, removed, added } of changes) bytes.splice(at, removed, ...added);
    return Uint8Array.from(bytes);
  });
  fc.assert(
    fc.property(fc.oneof(changed, fc.uint8Array()), (bytes) => {
      const decoding = decode(bytes);
      if (!decoding.ok) return;
      // What was decoded is all that was there: it says the same when it is sent again.
      const again = decode(toBinary(IngestRequestSchema, decoding.value.message));
      expect(again).toEqual(decoding);
    }),
    { numRuns: 5_000 },
  );
});
