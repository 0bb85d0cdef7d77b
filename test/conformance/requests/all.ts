/**
 * The requests that are compared, odd ones above all. Each is sent over both versions of
 * HTTP unless it says otherwise, and names the differences that it shows.
 */
import type { Row } from "../support/row.ts";
import { answers, refusals } from "./answers.ts";
import { bodies, frames, malformed, streams } from "./bodies.ts";
import { contentTypes, encodings, headers, timeouts } from "./fields.ts";
import { targets } from "./targets.ts";

/** All requests. */
export const ROWS: readonly Row[] = [
  ...answers(),
  ...refusals(),
  ...contentTypes(),
  ...encodings(),
  ...timeouts(),
  ...frames(),
  ...bodies(),
  ...malformed(),
  ...targets(),
  ...headers(),
  ...streams(),
];
