import { describe, expect, test } from "vitest";
import {
  HEADER_PRODUCER_ID,
  HEADER_SIGNATURE,
  HEADER_TIMESTAMP,
  Secret,
  sign,
  signatureHeaders,
} from "../../src/signing/index.ts";
import { aRequest, MALFORMED_REQUESTS } from "./request.ts";

const secret = Secret.fromString("countersign-example-secret-0001");

describe("sign", () => {
  test.each(MALFORMED_REQUESTS)("refuses %s, and names the part", (_, parts, part) => {
    expect(() => sign(secret, aRequest(parts))).toThrow(
      new TypeError(`The request cannot be signed: its ${part} is malformed.`),
    );
  });
});

describe("signatureHeaders", () => {
  test("are the three headers, under the names of the contract", () => {
    const request = aRequest();
    const headers = signatureHeaders({ secret, ...request });
    expect(headers).toEqual({
      "x-producer-id": request.producerId,
      "x-timestamp": request.timestamp,
      "x-signature": sign(secret, { ...request, method: "POST" }),
    });
    expect(Object.keys(headers).sort()).toEqual(
      [HEADER_PRODUCER_ID, HEADER_TIMESTAMP, HEADER_SIGNATURE].sort(),
    );
  });

  test("refuse a malformed request", () => {
    expect(() => signatureHeaders({ secret, ...aRequest({ endpoint: "/a?b" }) })).toThrow(
      TypeError,
    );
  });
});
