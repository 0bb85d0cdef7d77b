/**
 * Shows where two strings to sign differ. Pure.
 */
import { printable } from "../output.ts";
import { explainBodyHash } from "./diagnose.ts";

/** One line that is not the same in both, with what is invisible written out. */
export interface LineDifference {
  /** From 1. */
  readonly line: number;
  /** The right line; `undefined` if there should be none. */
  readonly expected: string | undefined;
  /** The producer's line; `undefined` if it is missing. */
  readonly actual: string | undefined;
  /** What the mistake is, if it is a usual one. */
  readonly hint: string | undefined;
}

/** The lines of the right string to sign and of the producer's own that differ. */
export function compareStringsToSign(
  expected: string,
  actual: string,
  body: Uint8Array,
): LineDifference[] {
  const expectedLines = expected.split("\n");
  const actualLines = actual.split("\n");
  const differences: LineDifference[] = [];
  for (let index = 0; index < Math.max(expectedLines.length, actualLines.length); index++) {
    const right = expectedLines[index];
    const own = actualLines[index];
    if (right === own) continue;
    differences.push({
      line: index + 1,
      expected: right === undefined ? undefined : visible(right),
      actual: own === undefined ? undefined : visible(own),
      hint: hintFor(right, own, body),
    });
  }
  return differences;
}

function hintFor(
  right: string | undefined,
  own: string | undefined,
  body: Uint8Array,
): string | undefined {
  if (right === undefined)
    return own === "" ? "There is a newline after the last line." : undefined;
  if (own === undefined) return "The line is missing.";
  if (own === `${right}\r`) return "The line ends in CR LF. Join the lines by LF.";
  if (own.trim() === right) return "There are blanks around the line.";
  if (own.toLowerCase() === right.toLowerCase()) return "Upper and lower case differ.";
  const label = "BODY_SHA256:";
  if (right.startsWith(label) && own.startsWith(label)) {
    return explainBodyHash(body, own.slice(label.length).trim());
  }
  return undefined;
}

/** Blanks at either end show as dots in the middle; other invisible characters as escapes. */
function visible(line: string): string {
  const dots = (blanks: string) => "\u00b7".repeat(blanks.length);
  return printable(line.replace(/^ +| +$/g, dots).replaceAll("\u00a0", "\\u{a0}"));
}
