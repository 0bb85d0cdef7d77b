/**
 * How far apart two names are. Pure.
 */

/** A name without what differs between habits of writing: case, `_`, `-`, `.` and blanks. */
export function bareName(name: string): string {
  return name.toLowerCase().replaceAll(/[_\-. ]/g, "");
}

/** More letters than any name that is known to us has. */
const LENGTH_MAX = 64;
/** From a text without letters, every letter is added. */
const FIRST_ROW: readonly number[] = Array.from({ length: LENGTH_MAX + 1 }, (_, index) => index);

/**
 * The edits that make one text of another: letters added, left out, replaced, or swapped with
 * their neighbour (the optimal string alignment distance).
 *
 * @param other has 64 letters at most.
 * @param max once it is clear that there are more, how many is left open: a body may have
 *   thousands of names.
 */
export function editsBetween(one: string, other: string, max: number): number {
  // Most names differ too much in their lengths already.
  if (Math.abs(one.length - other.length) > max) return max + 1;
  let beforeLast: number[] = [];
  let last = FIRST_ROW.slice(0, other.length + 1);
  for (let i = 1; i <= one.length; i++) {
    const row = [i];
    let fewest = i;
    for (let j = 1; j <= other.length; j++) {
      const isSame = one[i - 1] === other[j - 1];
      let edits = Math.min(at(last, j) + 1, at(row, j - 1) + 1, at(last, j - 1) + (isSame ? 0 : 1));
      if (i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1]) {
        edits = Math.min(edits, at(beforeLast, j - 2) + 1);
      }
      row.push(edits);
      fewest = Math.min(fewest, edits);
    }
    if (fewest > max) return fewest;
    beforeLast = last;
    last = row;
  }
  return at(last, other.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] as number;
}
