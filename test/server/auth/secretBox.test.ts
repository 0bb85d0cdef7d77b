import { inspect } from "node:util";
import { expect, test } from "vitest";
import { createSecretBox, SecretText } from "../../../src/server/auth/secretBox.ts";
import { TEST_SECRET } from "../../support/server.ts";

const KEY = Buffer.alloc(32, 1);
const box = createSecretBox(KEY);
const secret = new SecretText(TEST_SECRET);

/** What a secret makes of a text, to compare secrets that cannot be read. */
function macOf(opened: ReturnType<typeof box.open>): string {
  return opened.hmacSha256("x").toString("hex");
}

test("opens what it sealed", () => {
  const text = "ünïcode secret \u{1f511} with blanks ";
  const sealed = box.seal(new SecretText(text), "bot");
  expect(macOf(box.open(sealed, "bot"))).toBe(
    macOf(box.open(createSecretBox(KEY).seal(new SecretText(text), "bot"), "bot")),
  );
  expect(sealed.includes(Buffer.from(text))).toBe(false);
});

test("never seals twice alike", () => {
  expect(box.seal(secret, "bot")).not.toEqual(box.seal(secret, "bot"));
});

test("opens nothing under another master key, or for another producer", () => {
  const sealed = box.seal(secret, "bot");
  const other = createSecretBox(Buffer.alloc(32, 2));
  for (const open of [() => other.open(sealed, "bot"), () => box.open(sealed, "other-bot")]) {
    expect(open).toThrow();
    expect(open).not.toThrow(TEST_SECRET);
  }
});

test("opens nothing that was changed or cut", () => {
  const sealed = box.seal(secret, "bot");
  for (let at = 0; at < sealed.length; at++) {
    const changed = Buffer.from(sealed);
    changed[at] = (changed[at] as number) ^ 1;
    expect(() => box.open(changed, "bot"), `byte ${at}`).toThrow();
    expect(() => box.open(sealed.subarray(0, at), "bot"), `first ${at} bytes`).toThrow();
  }
});

test("names a secret always alike, and no two alike", () => {
  const id = box.idOf(secret, "bot");
  expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(box.idOf(new SecretText(TEST_SECRET), "bot")).toBe(id);
  expect(box.idOf(secret, "other-bot")).not.toBe(id);
  expect(box.idOf(new SecretText(`${TEST_SECRET}x`), "bot")).not.toBe(id);
  expect(createSecretBox(Buffer.alloc(32, 2)).idOf(secret, "bot")).not.toBe(id);
});

test("a secret's text prints as redacted", () => {
  const texts = [`${secret}`, JSON.stringify({ secret }), inspect(secret, { showHidden: true })];
  for (const text of texts) {
    expect(text).toContain("[redacted]");
    expect(text).not.toContain(TEST_SECRET);
  }
  expect(Object.values(secret)).toEqual([]);
  expect(() => new SecretText("too-short")).not.toThrow("too-short");
  expect(() => new SecretText("too-short")).toThrow(TypeError);
});
