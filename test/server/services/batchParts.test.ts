/** A batch is cut into its items as if it had been read whole, whatever its bytes are. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  IngestBatchRequestSchema,
  IngestRequestSchema,
} from "../../../gen/signals/v1/ingest_service_pb.ts";
import type { Codec } from "../../../src/server/rpc/decode.ts";
import { batchParts } from "../../../src/server/services/batchParts.ts";
import { readSubmission } from "../../../src/server/services/readSubmissions.ts";
import { validIngestRequest } from "../../support/signals.ts";

const MAX_ITEMS = 1_000;

function partsOf(codec: Codec, body: Uint8Array | string, maxItems = MAX_ITEMS) {
  return batchParts(codec, Buffer.from(body), maxItems);
}

/** The items as values; `undefined` if it is no batch, or one of them is no JSON. */
function itemsOf(text: string): unknown[] | undefined {
  const parts = partsOf("json", text);
  if (!parts.ok) return undefined;
  try {
    return parts.value.items.map((item) => JSON.parse(Buffer.from(item).toString()));
  } catch {
    return undefined;
  }
}

/** The same by reading it whole. */
function itemsOfWhole(text: string): unknown[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const isBatch = typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isBatch || Object.keys(value as object).some((name) => name !== "requests"))
    return undefined;
  const { requests = [] } = value as { requests?: unknown };
  if (requests === null) return [];
  return Array.isArray(requests) ? requests : undefined;
}

const blanks = fc.constantFrom("", "", " ", "\n\t ", "\r");
const item = fc
  .dictionary(fc.string({ unit: "binary" }), fc.jsonValue())
  .map((value) => JSON.stringify(value));
const batch = fc
  .tuple(fc.array(item, { maxLength: 5 }), fc.array(blanks, { minLength: 8, maxLength: 8 }))
  .map(([items, [a, b, c, d, e, f, g, h]]) => {
    const list = items.join(`${a},${b}`);
    return `{${c}"requests"${d}:${e}[${f}${list}${g}]${h}}`;
  });

describe("a batch in JSON", () => {
  test("has the items that it would have if it were read whole", () => {
    fc.assert(
      fc.property(batch, (text) => {
        expect(itemsOf(text)).toEqual(itemsOfWhole(text));
      }),
      { numRuns: 1_000 },
    );
  });

  test("that was changed anywhere is read as if it were read whole, or not at all", () => {
    const piece = fc.constantFrom(...'[]{},:"\\ 1'.split(""), '"requests":', "null", "[]", "{}");
    const changes = fc.array(fc.record({ at: fc.nat(200), removed: fc.nat(2), added: piece }), {
      minLength: 1,
      maxLength: 3,
    });
    let valid = 0;
    fc.assert(
      fc.property(batch, changes, (text, all) => {
        const characters = [...text];
        for (const { at, removed, added } of all) {
          characters.splice(at % (characters.length + 1), removed, added);
        }
        const changed = characters.join("").trimStart();
        const whole = itemsOfWhole(changed);
        if (whole !== undefined) valid += 1;
        expect(itemsOf(changed)).toEqual(whole);
      }),
      { numRuns: 3_000 },
    );
    expect(valid).toBeGreaterThan(20);
  });

  test.each([
    ["{}", 0],
    ['{"requests":null}', 0],
    ['{"requests":[ ]}', 0],
    ['{"requests":[{}]}', 1],
    ['{"requests":[{"a":[1,"],[",{"b":"\\\\"}]},{}]}', 2],
  ])("%s has %i items", (text, count) => {
    expect(partsOf("json", text)).toMatchObject({ ok: true, value: { count } });
  });

  test.each([
    "",
    "[]",
    "[[]]",
    "[[{}]]",
    '{"requests":[{}}}',
    '{"requests":[{}]',
    '{"requests":[{}]]',
    '{"requests":{}}',
    '{"requests":"[{}]"}',
    '{"requests":[{}],"requests":[{}]}',
    '{"requests":[{}],"more":1}',
    '{"more":[{}]}',
    '{"requests":[{}]}{}',
    '{"requests":["',
    `{"requests":[{}]${" ".repeat(2_000)}}`,
    `{"requests":{"a":"${"x".repeat(2_000)}"}}`,
  ])("%s is none", (text) => {
    expect(partsOf("json", text)).toMatchObject({ refusal: { reason: "MALFORMED_BODY" } });
  });

  test.each([",", "{},", "{},,"])("of millions of %j is counted, not kept", (text) => {
    const body = `{"requests":[${text.repeat(1_000_000)}{}]}`;
    const parts = partsOf("json", body, 10);
    const count = 1_000_000 * text.replaceAll(/[{}]/g, "").length + 1;
    expect(parts).toMatchObject({ ok: true, value: { count } });
    expect(parts.ok && parts.value.items).toHaveLength(10);
  });
});

describe("a batch in protobuf", () => {
  const requests = [
    validIngestRequest({ idempotencyKey: "a" }),
    create(IngestRequestSchema),
    validIngestRequest({ validateOnly: true }),
  ];
  const body = toBinary(IngestBatchRequestSchema, create(IngestBatchRequestSchema, { requests }));

  test("has the items that it would have if it were read whole", () => {
    const parts = partsOf("binary", body);
    expect(
      parts.ok && parts.value.items.map((bytes) => fromBinary(IngestRequestSchema, bytes)),
    ).toEqual(requests);
  });

  test("that was changed anywhere is read as if it were read whole, or not at all", () => {
    const changes = fc.array(
      fc.record({
        at: fc.nat(body.length - 1),
        removed: fc.nat(3),
        added: fc.uint8Array({ maxLength: 3 }),
      }),
      { minLength: 1, maxLength: 3 },
    );
    fc.assert(
      fc.property(changes, (all) => {
        const bytes = [...body];
        for (const { at, removed, added } of all) bytes.splice(at, removed, ...added);
        const parts = partsOf("binary", Uint8Array.from(bytes));
        if (!parts.ok) return;
        if (parts.value.items.some((part) => !readSubmission("binary", part).ok)) return;
        const whole = fromBinary(IngestBatchRequestSchema, Uint8Array.from(bytes));
        const items = parts.value.items.map((part) => fromBinary(IngestRequestSchema, part));
        expect(items).toEqual(whole.requests);
      }),
      { numRuns: 5_000 },
    );
  });

  test.each(["12020800", "08", "0a05", "0affffffff0f", "0d00000000", "0a"])("%s is none", (hex) => {
    expect(partsOf("binary", Buffer.from(hex, "hex"))).toHaveProperty("refusal");
  });

  test("of two million empty items is counted, not kept", () => {
    const parts = partsOf("binary", Buffer.from("0a00".repeat(2_000_000), "hex"), 10);
    expect(parts).toMatchObject({ ok: true, value: { count: 2_000_000 } });
    expect(parts.ok && parts.value.items).toHaveLength(10);
  });
});
