/** Reads the audit over the operations port. */
import { allPages, openAdmin, PAGE_SIZE } from "../admin/admin.ts";
import type { JsonOptions } from "../admin/options.ts";
import { note, printable, writeJson, writeOut } from "../output.ts";
import { entryJson, entryLines } from "./format.ts";

/** The options of `audit list`. */
export interface ListOptions extends JsonOptions {
  readonly producer?: string;
  readonly token?: string;
  readonly action?: string;
  readonly limit?: number;
}

const LIMIT_DEFAULT = 50;

/** `countersign audit list`: the newest entries, in the order in which things happened. */
export async function listAudit(options: ListOptions): Promise<void> {
  const { producer = "", token = "", action = "", limit = LIMIT_DEFAULT } = options;
  using admin = openAdmin(options);
  const newestFirst = await allPages(async (pageToken) => {
    const page = await admin.call(
      admin.audit.listAuditEntries({
        producerId: producer,
        tokenId: token,
        action,
        pageSize: Math.min(limit, PAGE_SIZE),
        pageToken,
      }),
    );
    return { items: page.entries, nextPageToken: page.nextPageToken };
  }, limit);
  const entries = newestFirst.reverse();
  if (options.json === true) {
    for (const entry of entries) await writeJson(entryJson(entry));
    return;
  }
  for (const entry of entries) {
    await writeOut(`${entryLines(entry).map(printable).join("\n")}\n`);
  }
  if (entries.length === 0) note("there are no such entries that this token may see");
}
