import { crc32 } from "node:zlib";
import { describe, expect, test } from "vitest";
import { credentialFault, generateCredential, readCredential } from "../../src/signing/index.ts";

describe.each(["sec", "tok"] as const)("a credential of kind %s", (kind) => {
  test("has the form that scanners look for, and is read back", () => {
    for (let round = 0; round < 200; round += 1) {
      const { id, text } = generateCredential(kind);
      expect(text).toMatch(/^cs_(?:sec|tok)_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}[0-9A-Za-z]{6}$/);
      expect(readCredential(text)).toEqual({ form: "whole", kind, id });
    }
  });

  test("is damaged by each typo in its random part or its id", () => {
    const { text } = generateCredential(kind);
    for (let place = "cs_sec_".length; place < text.length; place += 1) {
      for (const other of ["A", "b", "7", "_", " "]) {
        const typo = text.slice(0, place) + other + text.slice(place + 1);
        if (typo === text) continue;
        expect(readCredential(typo), typo).toEqual({ form: "damaged" });
      }
      const swapped =
        text.slice(0, place - 1) + text[place] + text[place - 1] + text.slice(place + 1);
      if (swapped !== text && swapped.startsWith("cs_")) {
        expect(readCredential(swapped).form, swapped).not.toBe("whole");
      }
    }
    for (const typo of [text.slice(0, -1), `${text}x`, text.toUpperCase().replace("CS_", "cs_")]) {
      expect(readCredential(typo).form, typo).not.toBe("whole");
    }
  });
});

test("no two are alike, and each random digit occurs at each place", () => {
  const texts = Array.from({ length: 2_000 }, () => generateCredential("tok").text);
  expect(new Set(texts).size).toBe(texts.length);
  expect(new Set(texts.map((text) => text.split("_")[2])).size).toBe(texts.length);
  // The first digit of 43 has little room, since 62^43 is above 2^256.
  for (let place = 1; place < 43; place += 1) {
    expect(new Set(texts.map((text) => text.split("_")[3]?.[place])).size).toBe(62);
  }
});

test("the checksum is CRC-32 in base 62, of all before it", () => {
  const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  const { text } = generateCredential("sec");
  const value = [...text.slice(-6)].reduce((sum, digit) => sum * 62 + digits.indexOf(digit), 0);
  expect(value).toBe(crc32(text.slice(0, -6)));
});

test.each(["", "a-hand-made-secret-of-many-bytes", "cs_key_abc", "CS_SEC_abc", "sk_live_abc"])(
  "%j is foreign",
  (text) => expect(readCredential(text)).toEqual({ form: "foreign" }),
);

test("the other kind is told apart", () => {
  const { text } = generateCredential("tok");
  expect(readCredential(text.replace("cs_tok_", "cs_sec_"))).toEqual({ form: "damaged" });
});

describe("what shows in a text before anybody is asked", () => {
  const secret = generateCredential("sec").text;
  const token = generateCredential("tok").text;

  test.each([
    ["sec", secret],
    ["tok", token],
    ["sec", "a-hand-made-secret-of-many-bytes"],
    ["sec", ` ${"x".repeat(20)} `],
  ] as const)("is nothing for a right %s", (kind, text) => {
    expect(credentialFault(text, kind)).toBeUndefined();
  });

  test.each([
    ["sec", secret, "is a Countersign secret with a typo: its checksum is wrong"],
    ["tok", token, "is a Countersign token with a typo: its checksum is wrong"],
  ] as const)("is a typo in a %s", (kind, text, fault) => {
    for (const typo of [text.slice(0, -1), `${text}0`, text.slice(0, 9), ` ${text}1\n`]) {
      expect(credentialFault(typo, kind)).toBe(fault);
    }
  });

  test("is that it is of the other kind, also with a typo", () => {
    for (const text of [token, token.slice(1).padStart(token.length, "c").slice(0, 20)]) {
      expect(credentialFault(text, "sec")).toBe(
        "is a token (cs_tok_…), and must be a producer's secret (cs_sec_…)",
      );
    }
    expect(credentialFault(secret, "tok")).toBe(
      "is a producer's secret (cs_sec_…), and must be a token (cs_tok_…)",
    );
  });

  test.each([" $", "$\n", '"$"', "'$'", "`$`"])(
    "is what was copied along with it: %j",
    (around) => {
      expect(credentialFault(around.replace("$", secret), "sec")).toBe(
        "has blanks or quotes around a Countersign secret",
      );
    },
  );
});
