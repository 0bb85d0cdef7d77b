/**
 * Checks the language-neutral vectors with the code under test.
 *
 * How the vectors were made: make_vectors.py computes every hash and signature with
 * `openssl dgst` and every instant with GNU `date`, none of it with the code tested
 * here. test/interop/check_vectors.py checks them a third time, in plain Python.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  isProducerId,
  parseSignature,
  parseTimestamp,
  Secret,
  type SignedRequest,
  sign,
  stringToSign,
  verify,
} from "../../src/signing/index.ts";

interface Vector {
  readonly name: string;
  readonly note: string;
  readonly secrets: readonly string[];
  readonly method: "POST";
  readonly endpoint: string;
  readonly timestamp: string;
  readonly producer_id: string;
  readonly body_utf8?: string;
  readonly body_base64?: string;
  readonly string_to_sign: string;
  readonly signature: string;
  readonly unix_ns?: string;
  readonly expected: "valid" | "invalid";
  readonly cause?: string;
}

const { vectors } = JSON.parse(readFileSync(new URL("vectors.json", import.meta.url), "utf8")) as {
  vectors: readonly Vector[];
};

const cases = vectors.map((vector) => ({
  name: vector.name,
  vector,
  secrets: vector.secrets.map((text) => Secret.fromString(text)),
  request: {
    method: vector.method,
    endpoint: vector.endpoint,
    timestamp: vector.timestamp,
    producerId: vector.producer_id,
    body:
      vector.body_utf8 === undefined
        ? Buffer.from(vector.body_base64 ?? "", "base64")
        : Buffer.from(vector.body_utf8, "utf8"),
  } satisfies SignedRequest,
}));
const valid = cases.filter(({ vector }) => vector.expected === "valid");
const invalid = cases.filter(({ vector }) => vector.expected === "invalid");

const CAUSES = [
  "producer_id_malformed",
  "timestamp_malformed",
  "signature_malformed",
  "endpoint_malformed",
  "signature_wrong",
];

describe("the vectors", () => {
  test("are many, of both kinds and every cause, each with its own name and one body", () => {
    expect(valid.length).toBeGreaterThanOrEqual(20);
    expect(invalid.length).toBeGreaterThanOrEqual(20);
    expect(new Set(invalid.map(({ vector }) => vector.cause))).toEqual(new Set(CAUSES));
    expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
    for (const { vector } of cases) {
      expect([vector.body_utf8, vector.body_base64].filter((b) => b !== undefined)).toHaveLength(1);
    }
  });

  test.each(cases)("$name: the string to sign is as expected", ({ vector, request }) => {
    expect(stringToSign(request)).toBe(vector.string_to_sign);
  });

  test.each(valid)("$name: verifies", ({ vector, secrets, request }) => {
    const signature = parseSignature(vector.signature) ?? expect.fail("no signature");
    expect(verify(secrets, request, signature)).toBe(true);
    expect(secrets.map((secret) => sign(secret, request))).toContain(vector.signature);
    expect(String(parseTimestamp(vector.timestamp))).toBe(vector.unix_ns);
    expect(isProducerId(vector.producer_id)).toBe(true);
  });

  test.each(invalid)("$name: is refused for its cause", ({ vector, secrets, request }) => {
    const signature = parseSignature(vector.signature);
    expect(isProducerId(vector.producer_id)).toBe(vector.cause !== "producer_id_malformed");
    expect(parseTimestamp(vector.timestamp) === undefined).toBe(
      vector.cause === "timestamp_malformed",
    );
    expect(signature === undefined).toBe(vector.cause === "signature_malformed");
    // verify alone refuses whatever its caller did not check before.
    expect(verify(secrets, request, signature ?? new Uint8Array())).toBe(false);
  });
});
