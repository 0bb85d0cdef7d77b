import fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import {
  formatTimestamp,
  generateSecret,
  parseSignature,
  Secret,
  type SignedRequest,
  sign,
  stringToSign,
  verify,
} from "../../src/signing/index.ts";
import { findSigner } from "../../src/signing/verify.ts";
import { aRequest, MALFORMED_REQUESTS } from "./request.ts";

const secret = Secret.fromString("countersign-example-secret-0001");
const nextSecret = Secret.fromString("countersign-example-secret-0002");
const otherSecret = Secret.fromString("nobody-registered-this-secret");

const requests: fc.Arbitrary<SignedRequest> = fc.record({
  endpoint: fc.stringMatching(/^\/[A-Za-z0-9._/%~-]{0,60}$/),
  timestamp: fc
    .bigInt({ min: 0n, max: 253_402_300_799_999_999_999n })
    .map((instant) => formatTimestamp(instant)),
  producerId: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
  body: fc.uint8Array({ maxLength: 200 }),
});
const secrets = fc
  .string({ unit: "grapheme", minLength: 16, maxLength: 60 })
  .map((text) => Secret.fromString(text));

function signatureOf(key: Secret, request: SignedRequest): Uint8Array {
  return parseSignature(sign(key, request)) ?? expect.fail("sign made no signature");
}

function flipBit(bytes: Uint8Array, bit: number): Uint8Array {
  const flipped = Uint8Array.from(bytes);
  flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return flipped;
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("verify", () => {
  test("finds right what sign made, for any secret and request", () => {
    fc.assert(
      fc.property(secrets, requests, (key, request) => {
        expect(verify([key], request, signatureOf(key, request))).toBe(true);
      }),
    );
  });

  test("finds a signature with any one bit changed wrong", () => {
    const signature = signatureOf(secret, aRequest());
    for (let bit = 0; bit < 256; bit++) {
      expect(verify([secret], aRequest(), flipBit(signature, bit))).toBe(false);
    }
  });

  test("finds a body with any one bit changed wrong", () => {
    const body = fc.uint8Array({ minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(body, fc.nat(), (bytes, n) => {
        const signature = signatureOf(secret, aRequest({ body: bytes }));
        const changed = aRequest({ body: flipBit(bytes, n % (bytes.length * 8)) });
        expect(verify([secret], changed, signature)).toBe(false);
      }),
    );
  });

  test("finds a signature of any other request wrong", () => {
    fc.assert(
      fc.property(requests, requests, (signed, sent) => {
        fc.pre(stringToSign(signed) !== stringToSign(sent));
        expect(verify([secret], sent, signatureOf(secret, signed))).toBe(false);
      }),
    );
  });

  test.each(["endpoint", "timestamp", "producerId", "body"] as const)(
    "finds a request with only its %s exchanged wrong",
    (part) => {
      fc.assert(
        fc.property(requests, requests, (signed, other) => {
          const sent = { ...signed, [part]: other[part] };
          fc.pre(stringToSign(signed) !== stringToSign(sent));
          expect(verify([secret], sent, signatureOf(secret, signed))).toBe(false);
        }),
      );
    },
  );

  test("finds right what two equal secrets signed", () => {
    expect(verify([secret, secret], aRequest(), signatureOf(secret, aRequest()))).toBe(true);
  });

  test.each([0, 1, 31, 33, 64])(
    "finds a signature of %i bytes wrong, without an error",
    (length) => {
      const signature = signatureOf(secret, aRequest());
      const resized = Uint8Array.from({ length }, (_, i) => signature[i] ?? 0);
      expect(verify([secret], aRequest(), resized)).toBe(false);
      expect(verify([], aRequest(), resized)).toBe(false);
    },
  );

  test("does not take 32 zero bytes, which stand in for a signature of wrong length", () => {
    vi.spyOn(Secret.prototype, "hmacSha256").mockImplementation(() => Buffer.alloc(32));
    expect(verify([secret], aRequest(), new Uint8Array(32))).toBe(true);
    expect(verify([secret], aRequest(), new Uint8Array(31))).toBe(false);
    expect(verify([], aRequest(), new Uint8Array(32))).toBe(false);
  });

  test.each(MALFORMED_REQUESTS)("finds %s wrong, even when rightly signed", (_, parts) => {
    const request = aRequest(parts);
    expect(verify([secret], request, secret.hmacSha256(stringToSign(request)))).toBe(false);
  });
});

describe("verify does the same work whatever a failure is", () => {
  const third = Secret.fromString(generateSecret());
  const right = signatureOf(secret, aRequest());
  const malformed = aRequest({ timestamp: "now" });

  test.each([
    ["an unknown producer", [], aRequest(), right, 2],
    ["one secret that matches", [secret], aRequest(), right, 1],
    ["one secret that does not", [otherSecret], aRequest(), right, 2],
    ["two secrets, the first matches", [secret, nextSecret], aRequest(), right, 1],
    ["two secrets, the second matches", [nextSecret, secret], aRequest(), right, 2],
    ["two secrets, none matches", [nextSecret, otherSecret], aRequest(), right, 2],
    ["three secrets, the last matches", [nextSecret, third, secret], aRequest(), right, 3],
    ["three secrets, none matches", [nextSecret, third, otherSecret], aRequest(), right, 3],
    ["a signature of wrong length", [secret], aRequest(), right.subarray(1), 2],
    ["a malformed request", [secret], malformed, right, 2],
  ] as const)("%s", (_, keys, request, signature, expected) => {
    const hmac = vi.spyOn(Secret.prototype, "hmacSha256");
    verify(keys, request, signature);
    expect(hmac).toHaveBeenCalledTimes(expected);
    for (const key of keys.slice(0, expected)) {
      expect(hmac.mock.contexts).toContain(key);
    }
  });
});

describe("parseSignature", () => {
  const text = sign(secret, aRequest());

  test("gives the bytes of any 32 bytes in base64", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
        const parsed = parseSignature(Buffer.from(bytes).toString("base64"));
        expect(Uint8Array.from(parsed ?? [])).toEqual(bytes);
      }),
    );
  });

  test("takes one text only for the same bytes", () => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_= \n.";
    const accepted = [...alphabet].filter((char) => {
      const bytes = parseSignature(`${text.slice(0, 42)}${char}=`);
      return bytes !== undefined && Buffer.from(text, "base64").equals(bytes);
    });
    expect(accepted).toEqual([text[42]]);
  });

  test("refuses whatever does not encode to itself", () => {
    fc.assert(
      fc.property(fc.nat({ max: 43 }), fc.string({ unit: "binary", maxLength: 2 }), (at, put) => {
        const changed = text.slice(0, at) + put + text.slice(at + 1);
        const bytes = parseSignature(changed);
        expect(bytes === undefined || Buffer.from(bytes).toString("base64") === changed).toBe(true);
      }),
    );
  });

  test.each([
    ["padding in the middle", `${text.slice(0, 20)}=${text.slice(21)}`],
    ["a blank for a character", `${text.slice(0, 20)} ${text.slice(21)}`],
    ["a character beyond ASCII whose low byte is one of base64", `\u0141${text.slice(1)}`],
  ])("refuses %s", (_, malformed) => {
    expect(parseSignature(malformed)).toBeUndefined();
  });
});

describe("findSigner", () => {
  const [old, fresh] = [secret, nextSecret].map((each) => ({ secret: each }));
  const holders = [fresh, old].flatMap((holder) => holder ?? []);

  test("tells whose secret it was", () => {
    const request = aRequest();
    expect(findSigner(holders, request, signatureOf(secret, request))).toBe(old);
    expect(findSigner(holders, request, signatureOf(nextSecret, request))).toBe(fresh);
  });

  test("finds nobody for what nobody of them signed, or not so", () => {
    const request = aRequest();
    const signature = signatureOf(secret, request);
    expect(findSigner(holders, request, signatureOf(otherSecret, request))).toBeUndefined();
    expect(findSigner([], request, signature)).toBeUndefined();
    expect(findSigner(holders, request, signature.subarray(1))).toBeUndefined();
    expect(findSigner(holders, { ...request, producerId: "other" }, signature)).toBeUndefined();
  });
});
