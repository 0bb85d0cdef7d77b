/** The few numbers that a report needs. */

/** The middle of several runs, and how far they are apart. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** @throws RangeError if there are none. */
export function spreadOf(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** @throws RangeError if there are none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1];
  const lower = sorted[(sorted.length - 1) >> 1];
  if (upper === undefined || lower === undefined) throw new RangeError("there are no values");
  return (lower + upper) / 2;
}

/**
 * The value that a share of the values does not exceed (nearest rank).
 *
 * @param sorted ascending, at least one.
 * @param share above 0, at most 1.
 */
export function quantile(sorted: Float64Array, share: number): number {
  return sorted[Math.ceil(sorted.length * share) - 1] as number;
}
