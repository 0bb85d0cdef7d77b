/**
 * Which numbers of a text stay what they are when they are read as a double, as JSON readers
 * do (RFC 8259, section 6). Anything else would be stored as another number: an order id as
 * the id of another order.
 */

/**
 * A number that was sent but would be another one as a double. Whoever reads text puts it
 * in the number's place, for validation to name.
 */
export const INEXACT_NUMBER = Symbol("inexact number");

/** Every double is told from all others by so many significant digits (IEEE 754, section 5.12.2). */
const DIGITS_MAX = 17;
/** A double that lies half-way between two decimals of 17 digits is written exactly by so many. */
const TIE_DIGITS = 40;
/**
 * So few characters without an exponent hold at most 15 digits, and those every double keeps
 * that is none of the smallest.
 */
export const SURELY_KEPT_LENGTH = 15;
/** The least double that has all its digits (IEEE 754, "normal"). */
const NORMAL_MIN = 2 ** -1022;

const ZERO = 0x30;

/**
 * Whether a number stays what it is as a double.
 * - A whole number, written as digits only, is often a name. It stays if it is exactly what
 *   the double is written as in JSON, which holds for all up to 2^53.
 * - Any other number is a measurement. It stays if it is the double rounded to as many
 *   significant digits as it was written with, at most 17: so `0.30000000000000004` does, and
 *   `0.10000000000000001`, which many programs write for 0.1.
 *
 * A number beyond all doubles stays, too: it is no finite number, which is a fault of its own.
 *
 * @param text a number as RFC 8259, section 6 writes it.
 */
export function isKeptByDouble(text: string): boolean {
  if (text.length <= SURELY_KEPT_LENGTH && !/e/i.test(text)) return true;
  const double = Number(text);
  if (!Number.isFinite(double) || String(double) === text) return true;
  // Else thousands of numbers such as 1e5 would take longer than all the rest of a request.
  const mantissaLength = text.search(/e/i);
  const isShort = mantissaLength > 0 && mantissaLength <= SURELY_KEPT_LENGTH;
  if (isShort && Math.abs(double) >= NORMAL_MIN) return true;
  const written = decimalOf(text);
  if (written.digits === "") return true;
  if (double === 0) return false;
  if (/^-?\d+$/.test(text)) return isSame(written, decimalOf(String(double)));
  if (written.digits.length > DIGITS_MAX) return false;
  return isRounded(written, double);
}

/** Whether a decimal is a double, rounded to as many digits as it has. */
function isRounded({ digits, exponent }: Decimal, double: number): boolean {
  if (isSame({ digits, exponent }, decimalOf(double.toExponential(digits.length - 1)))) return true;
  // Of two that are equally near, this language writes the greater one, and C the even one.
  const exact = decimalOf(double.toExponential(TIE_DIGITS));
  return isSame({ digits: `${digits}5`, exponent }, exact);
}

/** The absolute value of a number: `0.DIGITS × 10^exponent`, without zeros at either end. */
interface Decimal {
  /** Empty for zero. */
  readonly digits: string;
  readonly exponent: number;
}

function decimalOf(text: string): Decimal {
  const [mantissa = "", exponent = "0"] = text.toLowerCase().split("e");
  const [whole = "", fraction = ""] = mantissa.replace("-", "").split(".");
  const all = whole + fraction;
  let start = 0;
  while (all.charCodeAt(start) === ZERO) start++;
  let end = all.length;
  while (end > start && all.charCodeAt(end - 1) === ZERO) end--;
  return {
    digits: all.slice(start, end),
    exponent: Number(exponent) + whole.length - start,
  };
}

function isSame(one: Decimal, other: Decimal): boolean {
  return one.digits === other.digits && one.exponent === other.exponent;
}
