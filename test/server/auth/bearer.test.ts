import { hash } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { KnownToken } from "../../../src/server/auth/accessDirectory.ts";
import { authenticateByToken } from "../../../src/server/auth/bearer.ts";
import { generateCredential } from "../../../src/signing/index.ts";
import { forgedWithId } from "../support/tokens.ts";

const own = generateCredential("tok");
const token: KnownToken = {
  tokenId: own.id,
  name: "ops",
  tokenSha256: hash("sha256", own.text, "buffer"),
  scopes: ["admin"],
  producerIds: undefined,
  standing: { isGood: true },
};

/** Authenticates by these headers. @returns what came of it, and which ids were looked up. */
function authenticate(rawHeaders: readonly string[], isStale = false) {
  const lookedUp: string[] = [];
  const proven: string[] = [];
  const result = authenticateByToken({
    directory: {
      findToken(tokenId) {
        lookedUp.push(tokenId);
        return tokenId === token.tokenId ? token : undefined;
      },
      isStale: () => isStale,
    },
    onProof: (tokenId) => proven.push(tokenId),
  })({ rawHeaders: [...rawHeaders] });
  return { result, lookedUp, proven };
}

test.each(["Bearer", "bearer", "BEARER"])("takes the scheme as %s", (scheme) => {
  const { result, proven } = authenticate(["Authorization", `${scheme} ${own.text}`]);
  expect(result).toEqual({ ok: true, value: token });
  expect(proven).toEqual([own.id]);
});

test("takes more than one blank, as RFC 9110 has it", () => {
  expect(authenticate(["authorization", `Bearer   ${own.text}`]).result.ok).toBe(true);
});

const other = generateCredential("tok").text;
const WRONG: readonly (readonly [string, readonly string[]])[] = [
  ["no header", []],
  ["an empty header", ["authorization", ""]],
  ["a scheme alone", ["authorization", "Bearer"]],
  ["a token without a scheme", ["authorization", own.text]],
  ["another scheme", ["authorization", `Basic ${own.text}`]],
  [
    "a doubled header",
    ["authorization", `Bearer ${own.text}`, "Authorization", `Bearer ${own.text}`],
  ],
  ["a second header that is empty", ["authorization", `Bearer ${own.text}`, "authorization", ""]],
  ["two tokens in one header", ["authorization", `Bearer ${own.text}, Bearer ${own.text}`]],
  ["words behind the token", ["authorization", `Bearer ${own.text} x`]],
  ["a truncated token", ["authorization", `Bearer ${own.text.slice(0, -1)}`]],
  [
    "a typo",
    ["authorization", `Bearer ${own.text.replace(/.$/, (last) => (last === "0" ? "1" : "0"))}`],
  ],
  ["a producer's secret", ["authorization", `Bearer ${generateCredential("sec").text}`]],
  ["an unknown token", ["authorization", `Bearer ${other}`]],
  ["another header", ["proxy-authorization", `Bearer ${own.text}`]],
];

describe("refuses", () => {
  test.each(WRONG)("%s, and all alike", (_, rawHeaders) => {
    const { result, proven } = authenticate(rawHeaders);
    expect(result).toEqual(authenticate([]).result);
    expect(result).toMatchObject({
      ok: false,
      refusal: { reason: "UNAUTHENTICATED", metadata: {} },
    });
    expect(proven).toEqual([]);
  });

  test("a right id with a wrong random part", () => {
    const forged = forgedWithId(own.id);
    const { result, lookedUp } = authenticate(["authorization", `Bearer ${forged}`]);
    expect(lookedUp).toEqual([own.id]);
    expect(result).toEqual(authenticate([]).result);
  });

  test("a live token while nobody knows whether it still is", () => {
    const { result, proven } = authenticate(["authorization", `Bearer ${own.text}`], true);
    expect(result).toMatchObject({ ok: false, refusal: { reason: "STORE_UNAVAILABLE" } });
    expect(proven).toEqual([]);
    expect(authenticate(["authorization", `Bearer ${other}`], true).result).toMatchObject({
      refusal: { reason: "UNAUTHENTICATED" },
    });
  });
});

test("looks up no text with a wrong checksum, and no secret of a producer", () => {
  const damaged = own.text.replace(/.$/, (last) => (last === "0" ? "1" : "0"));
  for (const text of [damaged, own.text.slice(0, -1), generateCredential("sec").text, "x"]) {
    expect(authenticate(["authorization", `Bearer ${text}`]).lookedUp).toEqual([]);
  }
});
