import { createDecipheriv, createHmac, randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import {
  createSecretBox,
  isSealedUnder,
  type SecretBox,
  SecretText,
} from "../../../src/server/auth/secretBox.ts";
import { generateCredential, type Secret } from "../../../src/signing/index.ts";
import { TEST_SECRET } from "../../support/server.ts";
import { sealBefore } from "../support/sealed.ts";

const KEY = Buffer.alloc(32, 1);
const OTHER_KEY = Buffer.alloc(32, 2);
const box = createSecretBox([KEY]);
const other = createSecretBox([OTHER_KEY]);
const both = createSecretBox([KEY, OTHER_KEY]);
const secret = new SecretText(TEST_SECRET);

function seal(by: SecretBox, text: SecretText = secret, producerId = "bot") {
  return by.seal(text, producerId, undefined) ?? expect.unreachable("it has a key");
}

/** What a secret makes of a text, to compare secrets that cannot be read. */
function macOf(opened: Secret): string {
  return opened.hmacSha256("x").toString("hex");
}

const MAC = createHmac("sha256", TEST_SECRET).update("x").digest("hex");

/** RFC 5869 with SHA-256, without salt, for at most 32 bytes. */
function hkdf(key: Buffer, info: string, bytes = 32): Buffer {
  const extracted = createHmac("sha256", Buffer.alloc(32)).update(key).digest();
  return createHmac("sha256", extracted).update(`${info}\x01`).digest().subarray(0, bytes);
}

describe("what is sealed", () => {
  test("opens, whatever text it is", () => {
    const text = "ünïcode secret \u{1f511} with blanks ";
    const { sealed } = seal(box, new SecretText(text));
    const mac = createHmac("sha256", text).update("x").digest("hex");
    expect(macOf(createSecretBox([KEY]).open(sealed, "bot"))).toBe(mac);
    expect(Buffer.from(sealed).includes(text)).toBe(false);
  });

  test("is never twice alike", () => {
    expect(seal(box).sealed).not.toEqual(seal(box).sealed);
  });

  test("has the form that is told, under keys of their own purpose", () => {
    const { sealed, keyId } = seal(box);
    const bytes = Buffer.from(sealed);
    expect(bytes[0]).toBe(1);
    expect(bytes.subarray(1, 9)).toEqual(hkdf(KEY, "countersign master key id v1", 8));
    expect(bytes.subarray(1, 9)).toEqual(keyId);
    expect(box.keyIds).toEqual([keyId]);
    const key = hkdf(KEY, "countersign producer secret sealing v1");
    const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(9, 21))
      .setAAD(Buffer.from("bot"))
      .setAuthTag(bytes.subarray(21, 37));
    expect(decipher.update(bytes.subarray(37), undefined, "utf8") + decipher.final("utf8")).toBe(
      TEST_SECRET,
    );
  });

  test("does not open under another master key, or for another producer", () => {
    const { sealed } = seal(box);
    for (const open of [() => other.open(sealed, "bot"), () => box.open(sealed, "other-bot")]) {
      expect(open).toThrow();
      expect(open).not.toThrow(TEST_SECRET);
    }
    expect([other.opens(sealed, "bot"), box.opens(sealed, "other-bot")]).toEqual([false, false]);
  });

  test.each([
    ["now", () => Buffer.from(seal(box).sealed)],
    ["before", () => sealBefore(KEY, "bot", TEST_SECRET)],
  ])("does not open with any bit changed or any byte cut off, in the form of %s", (_, make) => {
    const sealed = make();
    expect(both.opens(sealed, "bot")).toBe(true);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = Buffer.from(sealed);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(both.opens(changed, "bot"), `bit ${bit}`).toBe(false);
    }
    for (let length = 0; length < sealed.length; length++) {
      expect(both.opens(sealed.subarray(0, length), "bot"), `first ${length} bytes`).toBe(false);
    }
    expect(both.opens(Buffer.concat([sealed, Buffer.alloc(1)]), "bot")).toBe(false);
  });
});

describe("what an earlier version sealed", () => {
  test("opens under any of the keys, also if it begins as the form of now does", () => {
    for (const nonce of [randomBytes(12), Buffer.alloc(12, 1)]) {
      for (const key of [KEY, OTHER_KEY]) {
        const sealed = sealBefore(key, "bot", TEST_SECRET, nonce);
        expect(macOf(both.open(sealed, "bot"))).toBe(MAC);
        expect(both.opens(sealed, "other-bot")).toBe(false);
        expect(both.keyIds.some((keyId) => isSealedUnder(sealed, keyId))).toBe(false);
      }
    }
  });
});

describe("with two keys", () => {
  test("what either sealed opens", () => {
    for (const each of [box, other]) {
      expect(macOf(both.open(seal(each).sealed, "bot"))).toBe(MAC);
    }
  });

  test("it seals under the one that is named, or under the one before while none is", () => {
    const [keyId, otherKeyId] = both.keyIds as [Uint8Array, Uint8Array];
    for (const named of [keyId, otherKeyId]) {
      const sealed = both.seal(secret, "bot", named);
      expect(sealed?.keyId).toEqual(named);
      expect(isSealedUnder(sealed?.sealed ?? Buffer.of(), named)).toBe(true);
    }
    expect(seal(both).keyId).toEqual(otherKeyId);
  });

  test("it seals nothing under a key that it does not have", () => {
    const [keyId] = box.keyIds as [Uint8Array];
    expect(other.seal(secret, "bot", keyId)).toBeUndefined();
    expect(() => other.reseal(seal(other).sealed, "bot", keyId)).toThrow("no such master key");
  });

  test.each([
    ["now", () => seal(other).sealed],
    ["before", () => sealBefore(OTHER_KEY, "bot", TEST_SECRET)],
  ])("it seals anew what is in the form of %s", (_, make) => {
    const [keyId] = both.keyIds as [Uint8Array];
    const sealed = both.reseal(make(), "bot", keyId);
    expect(isSealedUnder(sealed, keyId)).toBe(true);
    expect(macOf(box.open(sealed, "bot"))).toBe(MAC);
    expect(box.opens(sealed, "other-bot")).toBe(false);
    expect(other.opens(sealed, "bot")).toBe(false);
    expect(() => both.reseal(make(), "other-bot", keyId)).toThrow();
  });

  test("it recognises a secret by its text alone", () => {
    const sealed = [seal(box).sealed, seal(other).sealed, sealBefore(KEY, "bot", TEST_SECRET)];
    for (const each of sealed) {
      expect(both.holds(each, "bot", new SecretText(TEST_SECRET))).toBe(true);
      expect(both.holds(each, "bot", new SecretText(`${TEST_SECRET} `))).toBe(false);
      expect(both.holds(each, "other-bot", secret)).toBe(false);
    }
    expect(other.holds(seal(box).sealed, "bot", secret)).toBe(false);
  });
});

describe("a key that it lacks", () => {
  const [keyId] = box.keyIds as [Uint8Array];

  test("is read once it is in force, and those that it had stay", async () => {
    let reads = 0;
    const learning = createSecretBox([OTHER_KEY], async () => {
      reads += 1;
      return [KEY];
    });
    await learning.learnKey(undefined);
    await learning.learnKey(learning.keyIds[0]);
    expect(reads).toBe(0);
    await learning.learnKey(keyId);
    await learning.learnKey(keyId);
    expect(reads).toBe(1);
    expect(learning.opens(seal(box).sealed, "bot")).toBe(true);
    expect(learning.opens(seal(other).sealed, "bot")).toBe(true);
    expect(learning.seal(secret, "bot", keyId)?.keyId).toEqual(keyId);
  });

  test("changes nothing if it cannot be read, and is looked for again", async () => {
    let isThere = false;
    const learning = createSecretBox([OTHER_KEY], async () => {
      if (!isThere) throw new Error("no file");
      return [KEY];
    });
    await learning.learnKey(keyId);
    expect(learning.hasKey(keyId)).toBe(false);
    expect(learning.opens(seal(other).sealed, "bot")).toBe(true);
    isThere = true;
    await learning.learnKey(keyId);
    expect(learning.hasKey(keyId)).toBe(true);
  });

  test("is not waited for when its file does not answer", async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const learning = createSecretBox([OTHER_KEY], () => new Promise(() => {}));
    const learnt = learning.learnKey(keyId);
    await vi.advanceTimersByTimeAsync(1_000);
    await learnt;
    expect(learning.opens(seal(other).sealed, "bot")).toBe(true);
  });

  test("takes the place of the oldest, so that they do not pile up", async () => {
    let next = OTHER_KEY;
    const learning = createSecretBox([OTHER_KEY], async () => [next]);
    for (let number = 10; number < 30; number++) {
      next = Buffer.alloc(32, number);
      const [id] = createSecretBox([next]).keyIds;
      await learning.learnKey(id);
      expect(learning.keyIds[0]).toEqual(id);
    }
    expect(learning.keyIds).toHaveLength(4);
  });
});

describe("the id of a secret", () => {
  const idOf = (by: SecretBox, text: string, producerId = "bot") =>
    seal(by, new SecretText(text), producerId).secretId;

  test("is that of a generated one, under any key", () => {
    const { id, text } = generateCredential("sec");
    expect([idOf(box, text), idOf(other, text), idOf(box, text, "other-bot")]).toEqual([
      id,
      id,
      id,
    ]);
  });

  test("of another is always alike, and no two alike", () => {
    const id = idOf(box, TEST_SECRET);
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(idOf(createSecretBox([KEY]), TEST_SECRET)).toBe(id);
    const others = [
      idOf(box, TEST_SECRET, "other-bot"),
      idOf(box, `${TEST_SECRET}x`),
      idOf(other, TEST_SECRET),
    ];
    expect(new Set([id, ...others]).size).toBe(4);
    for (const each of others) expect(each).toHaveLength(id.length);
  });
});

test("nothing of it prints a key or a secret", async () => {
  const key = randomBytes(32);
  const hidden = createSecretBox([key], async () => [key]);
  const { sealed } = seal(hidden);
  const error = await Promise.resolve()
    .then(() => hidden.open(sealed, "other-bot"))
    .catch((thrown: unknown) => thrown);
  const opened = hidden.open(sealed, "bot");
  for (const value of [hidden, opened, error, secret, { secret }]) {
    const texts = [
      inspect(value, { showHidden: true, depth: 9 }),
      JSON.stringify(value),
      String(value),
      error instanceof Error ? `${error.stack}` : "",
    ];
    for (const form of ["hex", "base64", "latin1"] as const) {
      for (const text of texts) {
        expect(text).not.toContain(key.toString(form));
        expect(text).not.toContain(TEST_SECRET);
      }
    }
  }
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
