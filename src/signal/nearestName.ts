/**
 * Which name was meant by one that nobody knows. Pure.
 */

/** A name that is further away than that is another one. */
const EDITS_MAX = 2;

/**
 * The known name that a wrong one is closest to: equal but for case, `_` and `-`, or else at
 * most two letters away (Levenshtein), and less than half of the wrong name.
 */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const bare = bareName(name);
  let nearest: string | undefined;
  let fewest = Math.min(EDITS_MAX, Math.ceil(bare.length / 2) - 1) + 1;
  for (const candidate of known) {
    const edits = editsBetween(bare, bareName(candidate));
    if (edits < fewest || edits === 0) [nearest, fewest] = [candidate, edits];
  }
  return nearest;
}

/** What a person is told after a rule: which name was probably meant, if there is one. */
export function didYouMean(name: string, known: readonly string[]): string {
  const meant = nearestName(name, known);
  return meant === undefined ? "" : ` (did you mean ${meant}?)`;
}

function bareName(name: string): string {
  return name.toLowerCase().replaceAll(/[_-]/g, "");
}

/** How many letters must be added, left out or changed, at most one more than counts. */
function editsBetween(one: string, other: string): number {
  if (Math.abs(one.length - other.length) > EDITS_MAX) return EDITS_MAX + 1;
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let at = 1; at <= one.length; at++) {
    const above = row;
    row = [at];
    for (let to = 1; to <= other.length; to++) {
      const change = one[at - 1] === other[to - 1] ? 0 : 1;
      const [left = 0, up = 0, corner = 0] = [row[to - 1], above[to], above[to - 1]];
      row.push(Math.min(left + 1, up + 1, corner + change));
    }
  }
  return row[other.length] ?? 0;
}
