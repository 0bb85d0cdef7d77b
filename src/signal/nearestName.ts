/**
 * Which name was meant by one that nobody knows. Pure.
 */
import { bareName, editsBetween } from "./editDistance.ts";

/** A name that is further away than that is another one. */
const EDITS_MAX = 2;

/**
 * The known name that a wrong one is closest to: equal but for case and what joins words, or else
 * at most two edits away, and less than half of the wrong name.
 */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const bare = bareName(name);
  let nearest: string | undefined;
  let fewest = Math.min(EDITS_MAX, Math.ceil(bare.length / 2) - 1) + 1;
  for (const candidate of known) {
    const edits = editsBetween(bare, bareName(candidate), EDITS_MAX);
    if (edits < fewest || edits === 0) [nearest, fewest] = [candidate, edits];
  }
  return nearest;
}

/** What a person is told after a rule: which name was probably meant, if there is one. */
export function didYouMean(name: string, known: readonly string[]): string {
  const meant = nearestName(name, known);
  return meant === undefined ? "" : ` (did you mean ${meant}?)`;
}
