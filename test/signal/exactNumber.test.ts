/** Which numbers stay what they are as a double, and where the others are found in a text. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  INEXACT_NUMBER,
  isKeptByDouble,
  type JsonValue,
  parseJsonText,
} from "../../src/signal/index.ts";

const double = fc.double({ noNaN: true, noDefaultInfinity: true });

describe("kept is", () => {
  test.each([
    ..."0 -0 0.0 0e5 1.10 1.1 1e2 100 1E2 1.0e+2 0.1 0.30000000000000004 9007199254740992".split(
      " ",
    ),
    ..."-9007199254740991 0.10000000000000001 5e-324 4.9e-324 1.7976931348623157e308".split(" "),
    ..."1.00000000000000000000000 100000000000000000000 2.2250738585072014e-308 1e400".split(" "),
  ])("%s", (text) => {
    expect(isKeptByDouble(text)).toBe(true);
  });

  test("every double, however it is written", () => {
    fc.assert(
      fc.property(double, (value) => {
        expect(isKeptByDouble(JSON.stringify(value))).toBe(true);
        expect(isKeptByDouble(value.toExponential(16))).toBe(true);
        if (Math.abs(value) < 2 ** 53) expect(isKeptByDouble(value.toPrecision(17))).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test("every number of at most 15 digits that is no smaller than doubles can be", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -999_999_999_999_999, max: 999_999_999_999_999 }),
        fc.integer({ min: -290, max: 290 }),
        (digits, exponent) => {
          expect(isKeptByDouble(`${digits}e${exponent}`)).toBe(true);
        },
      ),
    );
  });
});

describe("not kept is", () => {
  test.each([
    ..."9007199254740993 -9007199254740993 12345678901234567890 9007199254740993.0".split(" "),
    ..."0.1000000000000000055511151231257827 1e-400 -1e-400 3e-324 90071992547409936".split(" "),
    ..."1.7976931348623158e308 0.123456789012345678 9007199254740993e0 100.00000000000000001".split(
      " ",
    ),
  ])("%s", (text) => {
    expect(isKeptByDouble(text)).toBe(false);
  });

  test("one of two whole numbers that are the same double", () => {
    const anyWhole = fc.bigInt({ min: 2n ** 52n, max: 10n ** 20n });
    fc.assert(
      fc.property(anyWhole, fc.bigInt({ min: 1n, max: 5_000n }), (one, distance) => {
        const other = one + distance;
        fc.pre(Number(one) === Number(other));
        expect(isKeptByDouble(`${one}`) && isKeptByDouble(`${other}`)).toBe(false);
      }),
      { numRuns: 5_000 },
    );
  });

  test("a number that its double is not, to the digits that it is written with", () => {
    const digits = fc.bigInt({ min: 10n ** 14n, max: 10n ** 18n });
    fc.assert(
      fc.property(digits, fc.integer({ min: 1, max: 15 }), (written, places) => {
        const text = asDecimal(written, places);
        // Whole and fraction have fewer digits together than are asked for, so this is exact.
        const exact = BigInt(Number(text).toFixed(80).replace(".", ""));
        const scale = 10n ** BigInt(80 - places);
        const difference = exact - written * scale;
        const significant = `${written}`.replace(/0+$/, "").length;
        const lastPlace = scale * 10n ** BigInt(`${written}`.length - significant);
        const isNear = 2n * (difference < 0n ? -difference : difference) <= lastPlace;
        expect(isKeptByDouble(text)).toBe(isNear && significant <= 17);
      }),
      { numRuns: 5_000 },
    );
  });
});

/** A whole number with so many of its digits behind the point. */
function asDecimal(digits: bigint, places: number): string {
  const text = `${digits}`.padStart(places + 1, "0");
  return `${text.slice(0, -places)}.${text.slice(-places)}`;
}

test("a number that is not kept is marked wherever it stands, and all others are read", () => {
  const inexact = fc.constantFrom("9007199254740993", "1e-400", "-0.12345678901234567891");
  const leaf = fc.oneof(
    inexact.map((text) => ({ text, value: INEXACT_NUMBER as unknown })),
    fc
      .oneof(double, fc.string(), fc.constantFrom(null, true, "1e-400", 'a"9007199254740993\\'))
      .map((value) => ({
        text: JSON.stringify(value),
        value: (value === 0 ? 0 : value) as unknown,
      })),
  );
  const { node } = fc.letrec<{ node: { text: string; value: unknown } }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      leaf,
      fc.array(tie("node"), { maxLength: 4 }).map((items) => ({
        text: `[${items.map(({ text }) => text).join(" ,")}]`,
        value: items.map(({ value }) => value),
      })),
      fc.dictionary(fc.string(), tie("node"), { maxKeys: 4 }).map((members) => ({
        text: `{${Object.entries(members)
          .map(([name, { text }]) => `${JSON.stringify(name)}:\n${text}`)
          .join(", ")}}`,
        value: Object.fromEntries(
          Object.entries(members).map(([name, { value }]) => [name, value]),
        ),
      })),
    ),
  }));
  fc.assert(
    fc.property(node, ({ text, value }) => {
      expect(parseJsonText(text)).toEqual(value);
    }),
    { numRuns: 1_000 },
  );
});

test("a text of nothing but brackets around such a number is refused, however deep", () => {
  const depth = 500_000;
  const text = `${"[".repeat(depth)}9007199254740993${"]".repeat(depth)}`;
  expect(() => parseJsonText(text)).toThrow(SyntaxError);
});

test("a number of a million digits is judged at once", () => {
  const value = parseJsonText(`{"a":1${"0".repeat(1_000_000)}1e-1000001}`) as Record<
    string,
    JsonValue
  >;
  expect(value.a).toBe(INEXACT_NUMBER);
});
