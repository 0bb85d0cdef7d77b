/**
 * How long a comparison takes cannot be tested reliably; that every comparison goes
 * through the constant-time function of Node.js can.
 */
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import { afterAll, beforeEach, expect, test, vi } from "vitest";
import { parseSignature, Secret, sign, verify } from "../../src/signing/index.ts";
import { aRequest } from "./request.ts";

const timingSafeEqual = vi.spyOn(crypto, "timingSafeEqual");
// Modules that import it by name get the spy, too.
syncBuiltinESMExports();

afterAll(() => {
  timingSafeEqual.mockRestore();
  syncBuiltinESMExports();
});

const secret = Secret.fromString("countersign-example-secret-0001");
const other = Secret.fromString("countersign-example-secret-0002");
const signature = parseSignature(sign(secret, aRequest())) ?? expect.fail("no signature");

beforeEach(() => {
  timingSafeEqual.mockReset();
});

test.each([
  ["a match", [secret], signature, 1],
  ["a match with the second of two", [other, secret], signature, 2],
  ["no match", [other], signature, 2],
  ["no secrets", [], signature, 2],
  ["a wrong length", [secret], signature.subarray(1), 2],
] as const)("compares in constant time: %s", (_, secrets, bytes, times) => {
  verify(secrets, aRequest(), bytes);
  expect(timingSafeEqual).toHaveBeenCalledTimes(times);
});

test("believes the constant-time comparison, and nothing else", () => {
  timingSafeEqual.mockReturnValue(false);
  expect(verify([secret], aRequest(), signature)).toBe(false);
  timingSafeEqual.mockReturnValue(true);
  expect(verify([other], aRequest(), signature)).toBe(true);
});
