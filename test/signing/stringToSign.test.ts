import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bodySha256, isProducerId, stringToSign } from "../../src/signing/index.ts";
import { aRequest } from "./request.ts";

describe("stringToSign", () => {
  test("is five lines, without a line feed at the end", () => {
    expect(stringToSign(aRequest({ body: new Uint8Array() }))).toBe(
      "METHOD:POST\n" +
        "ENDPOINT:/signals.v1.IngestService/Ingest\n" +
        "TIMESTAMP:2025-10-25T14:30:45.123456Z\n" +
        "PRODUCER_ID:bot-1\n" +
        "BODY_SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    );
  });

  test("takes POST for the method when none is given", () => {
    expect(stringToSign(aRequest())).toBe(stringToSign(aRequest({ method: "POST" })));
  });

  test("repeats the timestamp verbatim", () => {
    const timestamp = "2025-10-25T20:00:45.100+05:30";
    expect(stringToSign(aRequest({ timestamp })).split("\n")[2]).toBe(`TIMESTAMP:${timestamp}`);
  });

  test("shows a malformed request too", () => {
    expect(stringToSign(aRequest({ endpoint: "/a?b", timestamp: "now" }))).toContain(
      "ENDPOINT:/a?b\nTIMESTAMP:now\n",
    );
  });
});

describe("bodySha256", () => {
  test("is the SHA-256 of the bytes in padded base64", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (body) => {
        expect(bodySha256(body)).toBe(createHash("sha256").update(body).digest("base64"));
      }),
    );
  });

  test("covers a view into a larger buffer, and nothing around it", () => {
    const whole = Buffer.from("before{}after");
    expect(bodySha256(whole.subarray(6, 8))).toBe(bodySha256(Buffer.from("{}")));
  });
});

describe("isProducerId", () => {
  test.each(["b", "7", "bot-1", "Bot.gold_H4-v2", "b".repeat(64), "a..", "a-", "A_"])(
    "takes %j",
    (text) => {
      expect(isProducerId(text)).toBe(true);
    },
  );

  test.each(["", "b".repeat(65), ".b", "-b", "_b", "a b", " a", "a ", "a\n", "\na", "a/b", "a,b"])(
    "refuses %j",
    (text) => {
      expect(isProducerId(text)).toBe(false);
    },
  );

  test("takes, of all characters up to U+017F, only the listed ones", () => {
    const letterOrDigit = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    for (let code = 0; code < 0x180; code++) {
      const char = String.fromCharCode(code);
      expect([char, isProducerId(char)]).toEqual([char, letterOrDigit.includes(char)]);
      expect([char, isProducerId(`a${char}`)]).toEqual([
        char,
        `${letterOrDigit}._-`.includes(char),
      ]);
    }
  });
});
