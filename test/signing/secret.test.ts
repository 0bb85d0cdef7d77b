import { createHmac } from "node:crypto";
import { format, inspect } from "node:util";
import { describe, expect, test } from "vitest";
import {
  generateCredential,
  generateSecret,
  SECRET_MIN_BYTES,
  Secret,
} from "../../src/signing/index.ts";

const TEXT = "do-not-print-this-secret";
const secret = Secret.fromString(TEXT);

function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return expect.fail("nothing was thrown");
}

describe("a secret shows itself nowhere", () => {
  const shown = {
    "String()": () => String(secret),
    "template string": () => `${secret}`,
    concatenation: () => `a${secret}`,
    "JSON.stringify": () => JSON.stringify(secret),
    "JSON.stringify of a parent": () => JSON.stringify({ config: [secret] }),
    inspect: () => inspect(secret),
    "inspect of a parent": () => inspect({ config: { secret } }, { depth: null }),
    "console's format": () => format("%s %o %O %j", secret, secret, secret, secret),
  };
  test.each(Object.entries(shown))("%s gives [redacted]", (_, show) => {
    expect(show()).toContain("[redacted]");
    expect(show()).not.toContain(TEXT);
  });

  const empty = {
    "inspect with all hidden properties": () =>
      inspect(secret, { customInspect: false, showHidden: true, depth: null, getters: true }),
    "own keys": () => inspect(Reflect.ownKeys(secret)),
    "enumerable keys": () => inspect(Object.keys(secret)),
    spread: () => inspect({ ...secret }),
    entries: () => inspect(Object.entries(secret)),
    structuredClone: () => inspect(structuredClone(secret), { showHidden: true }),
  };
  test.each(Object.entries(empty))("%s gives nothing", (_, show) => {
    expect(show()).not.toContain(TEXT);
    expect(show()).not.toContain(Buffer.from(TEXT).toString("hex"));
  });

  test("it has no property of its own, also no symbol", () => {
    expect(Reflect.ownKeys(secret)).toEqual([]);
    expect(structuredClone(secret)).toEqual({});
  });

  test("an error of a wrong call does not hold it", () => {
    const error = thrownBy(() => secret.hmacSha256(undefined as unknown as string));
    expect(inspect(error, { showHidden: true, depth: null })).not.toContain(TEXT);
  });
});

describe("Secret.fromString", () => {
  test.each([
    ["16 ASCII characters", "0123456789abcdef"],
    ["fewer characters, but 16 bytes", "\u{1f511}".repeat(4)],
    ["a long text", "x".repeat(1000)],
    ["a generated secret", generateCredential("sec").text],
  ])("takes %s", (_, text) => {
    expect(Secret.fromString(text)).toBeInstanceOf(Secret);
  });

  test.each([
    ["nothing", ""],
    ["15 ASCII characters", "0123456789abcde"],
    ["15 bytes", "\u9ec4".repeat(5)],
    ["a high surrogate alone", "0123456789abcdef\ud83d"],
    ["a low surrogate alone", "\udd110123456789abcdef"],
    ["a secret with a typo", generateCredential("sec").text.slice(0, -1)],
    ["a token", generateCredential("tok").text],
  ])("refuses %s, and does not say what it was", (_, text) => {
    const error = thrownBy(() => Secret.fromString(text));
    expect(error).toBeInstanceOf(TypeError);
    expect(SECRET_MIN_BYTES).toBe(16);
    if (text !== "") {
      expect(inspect(error, { showHidden: true })).not.toContain(text);
    }
  });

  test("takes the text as it is: nothing is trimmed or normalised", () => {
    const texts = [
      TEXT,
      ` ${TEXT}`,
      `${TEXT}\n`,
      `\ufeff${TEXT}`,
      `${TEXT}\u00e9`,
      `${TEXT}e\u0301`,
    ];
    const hmacs = texts.map((text) => Secret.fromString(text).hmacSha256("x").toString("hex"));
    expect(new Set(hmacs).size).toBe(texts.length);
  });
});

describe("Secret.hmacSha256", () => {
  // printf %s 'what do ya want for nothing?' |
  //   openssl dgst -sha256 -hmac do-not-print-this-secret
  const EXPECTED = "13c98c3bab383939a9c7ac1480a2884a9dc02c988e9c4abe62e793284d068aeb";

  test("gives what openssl gives, for a string and for its bytes", () => {
    const data = "what do ya want for nothing?";
    expect(secret.hmacSha256(data).toString("hex")).toBe(EXPECTED);
    expect(secret.hmacSha256(Buffer.from(data)).toString("hex")).toBe(EXPECTED);
  });

  test("uses the UTF-8 bytes of the secret and of the data", () => {
    const text = "Geheimnis-\u00fcber-\u9ec4\u91d1";
    const expected = createHmac("sha256", Buffer.from(text, "utf8")).update("\u00fc").digest();
    expect(Secret.fromString(text).hmacSha256("\u00fc")).toEqual(expected);
  });
});

describe("generateSecret", () => {
  test("gives 32 bytes in base64url, and others each time", () => {
    const texts = Array.from({ length: 100 }, () => generateSecret());
    expect(new Set(texts).size).toBe(100);
    for (const text of texts) {
      expect(text).toMatch(/^[A-Za-z0-9_-]{43}$/);
      expect(Buffer.from(text, "base64url")).toHaveLength(32);
    }
  });

  test("gives a text that a Secret takes", () => {
    expect(Secret.fromString(generateSecret())).toBeInstanceOf(Secret);
  });
});
