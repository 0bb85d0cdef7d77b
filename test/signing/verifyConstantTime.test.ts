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
  ["a match", [secret], signature],
  ["a match with the first of two", [secret, other], signature],
  ["no match", [other], signature],
  ["no secrets", [], signature],
  ["a wrong length", [secret], signature.subarray(1)],
] as const)("compares twice, in constant time: %s", (_, secrets, bytes) => {
  verify(secrets, aRequest(), bytes);
  expect(timingSafeEqual).toHaveBeenCalledTimes(2);
});

test("believes the constant-time comparison, and nothing else", () => {
  vi.mocked(timingSafeEqual).mockReturnValue(false);
  expect(verify([secret], aRequest(), signature)).toBe(false);
  vi.mocked(timingSafeEqual).mockReturnValue(true);
  expect(verify([other], aRequest(), signature)).toBe(true);
});
