import { expect, test } from "vitest";
import { isProducerId } from "../../src/signing/index.ts";

test("a producer id may hold, of all characters up to U+017F, only the listed ones", () => {
  const letterOrDigit = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  for (let code = 0; code < 0x180; code++) {
    const char = String.fromCharCode(code);
    expect([char, isProducerId(char)]).toEqual([char, letterOrDigit.includes(char)]);
    expect([char, isProducerId(`a${char}`)]).toEqual([char, `${letterOrDigit}._-`.includes(char)]);
  }
});
