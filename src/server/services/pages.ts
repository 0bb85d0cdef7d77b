/**
 * Pages of lists (AIP-158): how many items, and where a page begins. A page's token is what the
 * last item is known by, so that what is inserted meanwhile moves nothing.
 */
import type { Page, PageRequest } from "../../access/index.ts";
import { invalidRequest, ok, type Result, refused, type Violation } from "../../signal/index.ts";

const PAGE_SIZE_DEFAULT = 100;
const PAGE_SIZE_MAX = 1_000;

/** What is asked for in the request of any list. */
export interface PageFields {
  readonly pageSize: number;
  readonly pageToken: string;
}

/**
 * Reads which page is asked for.
 *
 * @param isPosition whether an item of this list can be known by this. Whether there is one, and
 *   whether the caller may see it, is not asked.
 * @param violations of the other fields of the request, told with those of the page.
 */
export function readPage(
  { pageSize, pageToken }: PageFields,
  isPosition: (text: string) => boolean,
  violations: readonly Violation[] = [],
): Result<PageRequest> {
  const found = [...violations];
  if (pageSize < 0 || pageSize > PAGE_SIZE_MAX) {
    found.push({ field: "page_size", description: `must be 0 to ${PAGE_SIZE_MAX}` });
  }
  if (pageToken !== "" && !isPosition(pageToken)) {
    const description = "must be the next_page_token of the page before, of the same list";
    found.push({ field: "page_token", description });
  }
  if (found.length > 0) return refused(invalidRequest(found));
  return ok({
    size: pageSize === 0 ? PAGE_SIZE_DEFAULT : pageSize,
    after: pageToken === "" ? undefined : pageToken,
  });
}

/** The token of the page after this one; empty at the end. */
export function nextPageToken({ next = "" }: Page<unknown>): string {
  return next;
}
