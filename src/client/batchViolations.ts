/**
 * Which items of a batch a refusal of the whole names, and how such a place is written. Pure.
 */
import type { Violation } from "../signal/index.ts";

/** How the path of a field begins that is in an item of a batch. */
export function itemPath(index: number): string {
  return `requests[${index}].`;
}

const ITEM_PATH = /^requests\[(\d+)\]\.?/;

/**
 * The violations of a refused batch by the index of their item, with their paths within it.
 *
 * @returns an empty map if one of them names no item of the batch: the others are then not known
 *   to be right.
 */
export function violationsByItem(
  violations: readonly Violation[],
  itemCount: number,
): ReadonlyMap<number, readonly Violation[]> {
  const byItem = new Map<number, Violation[]>();
  for (const { field, description } of violations) {
    const index = Number(ITEM_PATH.exec(field)?.[1] ?? Number.NaN);
    if (!(index < itemCount)) return new Map();
    const violation = { field: field.replace(ITEM_PATH, ""), description };
    byItem.set(index, [...(byItem.get(index) ?? []), violation]);
  }
  return byItem;
}
