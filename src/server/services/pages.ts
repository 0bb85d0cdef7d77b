/**
 * Pages of lists (AIP-158): how many items, and where a page begins. A page's token says after
 * which item, so that what is inserted meanwhile moves nothing.
 */
import { hash } from "node:crypto";
import type { Page, PageRequest } from "../../access/index.ts";
import { invalidRequest, ok, type Result, refused, type Violation } from "../../signal/index.ts";

const PAGE_SIZE_DEFAULT = 100;
const PAGE_SIZE_MAX = 1_000;
/** Enough that no text becomes a token by a mistake. */
const CHECK_BYTES = 6;

/** What is asked for in the request of any list. */
export interface PageFields {
  readonly pageSize: number;
  readonly pageToken: string;
}

/**
 * Reads which page is asked for.
 *
 * @param list which list it is, with what it is filtered by: a token of another one is wrong.
 * @param violations of the other fields of the request, told with those of the page.
 */
export function readPage(
  { pageSize, pageToken }: PageFields,
  list: readonly string[],
  violations: readonly Violation[] = [],
): Result<PageRequest> {
  const found = [...violations];
  if (pageSize < 0 || pageSize > PAGE_SIZE_MAX) {
    found.push({ field: "page_size", description: `must be 0 to ${PAGE_SIZE_MAX}` });
  }
  const after = pageToken === "" ? undefined : positionIn(pageToken, list);
  if (pageToken !== "" && after === undefined) {
    const description = "must be the next_page_token of the page before, of the same list";
    found.push({ field: "page_token", description });
  }
  if (found.length > 0) return refused(invalidRequest(found));
  return ok({ size: pageSize === 0 ? PAGE_SIZE_DEFAULT : pageSize, after });
}

/** The token of the page after this one; empty at the end. */
export function nextPageToken({ next }: Page<unknown>, list: readonly string[]): string {
  if (next === undefined) return "";
  return Buffer.concat([checkOf(next, list), Buffer.from(next)]).toString("base64url");
}

function positionIn(pageToken: string, list: readonly string[]): string | undefined {
  const bytes = Buffer.from(pageToken, "base64url");
  // Node passes over what is no base64, and this must be the text that was given.
  if (bytes.toString("base64url") !== pageToken) return undefined;
  const position = bytes.subarray(CHECK_BYTES).toString("utf8");
  return bytes.subarray(0, CHECK_BYTES).equals(checkOf(position, list)) ? position : undefined;
}

function checkOf(position: string, list: readonly string[]): Buffer {
  return hash("sha256", JSON.stringify([list, position]), "buffer").subarray(0, CHECK_BYTES);
}
