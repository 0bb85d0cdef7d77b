/**
 * How long a comparison takes cannot be tested reliably; that every comparison goes
 * through the constant-time function of Node.js can.
 */
import { timingSafeEqual } from "node:crypto";
import { beforeEach, expect, test, vi } from "vitest";
import { parseSignature, Secret, sign, verify } from "../../src/signing/index.ts";
import { aRequest } from "./request.ts";

vi.mock("node:crypto", async (importOriginal) => {
  const original = await importOriginal<typeof import("node:crypto")>();
  return { ...original, timingSafeEqual: vi.fn(original.timingSafeEqual) };
});

const secret = Secret.fromString("countersign-example-secret-0001");
const other = Secret.fromString("countersign-example-secret-0002");
const signature = parseSignature(sign(secret, aRequest())) ?? expect.fail("no signature");

beforeEach(() => {
  vi.mocked(timingSafeEqual).mockClear();
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
  vi.mocked(timingSafeEqual).mockReturnValue(false);
  expect(verify([secret], aRequest(), signature)).toBe(false);
  vi.mocked(timingSafeEqual).mockReturnValue(true);
  expect(verify([other], aRequest(), signature)).toBe(true);
});
