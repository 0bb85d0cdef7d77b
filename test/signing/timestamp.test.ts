import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatTimestamp, parseTimestamp } from "../../src/signing/index.ts";

const FIRST = -62_167_219_200_000_000_000n;
const LAST = 253_402_300_799_999_999_999n;
const instants = fc.bigInt({ min: FIRST, max: LAST });

function twoDigits(value: number): string {
  return String(value).padStart(2, "0");
}

describe("parseTimestamp", () => {
  test.each([
    " 2025-10-25T14:30:45Z",
    "2025-10-25T14:30:45+5:30",
    "2025-10-25T14:30:45\u221205:30",
    "+002025-10-25T14:30:45Z",
    "-0001-10-25T14:30:45Z",
    "Sat, 25 Oct 2025 14:30:45 GMT",
  ])("refuses %j", (text) => {
    expect(parseTimestamp(text)).toBeUndefined();
  });

  test("knows the length of every month, in leap years and others", () => {
    const common = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    for (const [year, isLeap] of [
      ["0000", true],
      ["1900", false],
      ["2000", true],
      ["2023", false],
      ["2024", true],
      ["2100", false],
    ] as const) {
      for (const [index, days] of common.entries()) {
        const last = days + (isLeap && index === 1 ? 1 : 0);
        for (let day = 1; day <= 31; day++) {
          const text = `${year}-${twoDigits(index + 1)}-${twoDigits(day)}T12:00:00Z`;
          expect([text, parseTimestamp(text) !== undefined]).toEqual([text, day <= last]);
        }
      }
    }
  });

  test("takes every hour, minute, second, and offset in range, and none beyond", () => {
    for (let value = 0; value < 100; value++) {
      const n = twoDigits(value);
      const isTaken = (text: string) => parseTimestamp(text) !== undefined;
      expect(isTaken(`2025-10-25T${n}:00:00Z`)).toBe(value <= 23);
      expect(isTaken(`2025-10-25T00:${n}:00Z`)).toBe(value <= 59);
      expect(isTaken(`2025-10-25T00:00:${n}Z`)).toBe(value <= 59);
      expect(isTaken(`2025-10-25T00:00:00+${n}:00`)).toBe(value <= 23);
      expect(isTaken(`2025-10-25T00:00:00-00:${n}`)).toBe(value <= 59);
    }
  });

  test("an offset moves the instant, and only the instant's text", () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: FIRST + 86_400_000_000_000n, max: LAST - 86_400_000_000_000n }),
        fc.integer({ min: -1439, max: 1439 }),
        (instant, minutes) => {
          const local = formatTimestamp(instant + BigInt(minutes) * 60_000_000_000n);
          const size = Math.abs(minutes);
          const sign = minutes < 0 ? "-" : "+";
          const offset = `${sign}${twoDigits(Math.floor(size / 60))}:${twoDigits(size % 60)}`;
          expect(parseTimestamp(local.replace("Z", offset))).toBe(instant);
        },
      ),
    );
  });

  test("agrees with Date on whole milliseconds", () => {
    fc.assert(
      fc.property(
        fc.date({
          min: new Date("0000-01-01T00:00:00Z"),
          max: new Date("9999-12-31T23:59:59.999Z"),
          noInvalidDate: true,
        }),
        (date) => {
          expect(parseTimestamp(date.toISOString())).toBe(BigInt(date.getTime()) * 1_000_000n);
        },
      ),
    );
  });

  test("never throws, and takes nothing that it could not print", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9TZ:.+-]{0,40}$/)), (text) => {
        const instant = parseTimestamp(text);
        expect(instant === undefined || formatTimestamp(instant).length > 0).toBe(true);
      }),
    );
  });
});

describe("formatTimestamp", () => {
  test.each([
    [0n, "1970-01-01T00:00:00Z"],
    [1n, "1970-01-01T00:00:00.000000001Z"],
    [1_000n, "1970-01-01T00:00:00.000001Z"],
    [1_000_000n, "1970-01-01T00:00:00.001Z"],
    [100_000_000n, "1970-01-01T00:00:00.100Z"],
    [1_000_000_000n, "1970-01-01T00:00:01Z"],
    [120_000_000_010n, "1970-01-01T00:02:00.000000010Z"],
    [-1n, "1969-12-31T23:59:59.999999999Z"],
    [-1_000_000n, "1969-12-31T23:59:59.999Z"],
    [1_761_402_645_123_456_000n, "2025-10-25T14:30:45.123456Z"],
    [FIRST, "0000-01-01T00:00:00Z"],
    [LAST, "9999-12-31T23:59:59.999999999Z"],
  ])("%s ns is %s", (instant, expected) => {
    expect(formatTimestamp(instant)).toBe(expected);
  });

  test.each([FIRST - 1n, LAST + 1n, 10n ** 30n, -(10n ** 30n)])("refuses %s ns", (instant) => {
    expect(() => formatTimestamp(instant)).toThrow(RangeError);
  });

  test("gives back the instant when parsed", () => {
    fc.assert(
      fc.property(instants, (instant) => {
        expect(parseTimestamp(formatTimestamp(instant))).toBe(instant);
      }),
    );
  });

  test("prints instants of one length in their order", () => {
    fc.assert(
      fc.property(instants, instants, (a, b) => {
        const [first, second] = [formatTimestamp(a), formatTimestamp(b)];
        expect(first.length !== second.length || first < second === a < b).toBe(true);
      }),
    );
  });
});
