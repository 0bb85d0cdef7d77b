/** What a scenario has to tell, apart from where it is told. */
import { median, spreadOf } from "../lab/statistics.ts";

/** A target, and whether it was reached. */
export interface Verdict {
  readonly what: string;
  /** Such as `at least 3.0 ×`. */
  readonly target: string;
  readonly measured: string;
  readonly isMet: boolean;
}

/** The outcome of one scenario. */
export interface Section {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** What a reader must know to understand the numbers. */
  readonly notes: readonly string[];
  readonly verdicts: readonly Verdict[];
}

/** How a number is written: its digits, and its unit once behind all of them. */
export interface Format {
  readonly digits: (value: number) => string;
  readonly unit: string;
}

/** Such as `5,123`. */
export const WHOLE: Format = {
  digits: (value) => Math.round(value).toLocaleString("en-US"),
  unit: "",
};

/** Such as `3.42 ×`. */
export const TIMES: Format = { digits: (value) => value.toFixed(2), unit: " ×" };

/** Such as `12.3 ms`. */
export const MILLISECONDS: Format = {
  digits: (value) => value.toFixed(Math.abs(value) < 10 ? 2 : 1),
  unit: " ms",
};

/** Of bytes, such as `123 MB`. */
export const MEGABYTES: Format = { digits: (bytes) => (bytes / 1e6).toFixed(0), unit: " MB" };

/** Of a share, such as `87 %`. */
export const PERCENT: Format = { digits: (share) => (share * 100).toFixed(0), unit: " %" };

/** One number with its unit. */
export function text(value: number, { digits, unit }: Format): string {
  return digits(value) + unit;
}

/** The median, with the least and the greatest if there are several values. */
export function spread(values: readonly number[], { digits, unit }: Format): string {
  const { median, min, max } = spreadOf(values);
  const range = values.length === 1 ? "" : ` (${digits(min)} to ${digits(max)})`;
  return digits(median) + range + unit;
}

/** The median of what is known; a dash if nothing is. */
export function medianOfKnown(values: readonly (number | undefined)[], format: Format): string {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? "–" : text(median(known), format);
}

/** Reached if the median is at least so much. */
export function atLeast(
  what: string,
  target: number,
  values: readonly number[],
  format: Format,
): Verdict {
  return {
    what,
    target: `at least ${text(target, format)}`,
    measured: spread(values, format),
    isMet: median(values) >= target,
  };
}

/** Reached if the median is at most so much. */
export function atMost(
  what: string,
  target: number,
  values: readonly number[],
  format: Format,
): Verdict {
  return {
    what,
    target: `at most ${text(target, format)}`,
    measured: spread(values, format),
    isMet: median(values) <= target,
  };
}
