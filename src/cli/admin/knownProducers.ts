/**
 * The producers that there are, for lists, and for names that are not among them.
 */
import type { Producer } from "../../../gen/signals/v1/producer_service_pb.ts";
import { type Admin, allPages, PAGE_SIZE } from "./admin.ts";

/** All of them that the token may see, in the order of their ids. */
export function readProducers(admin: Admin): Promise<Producer[]> {
  return allPages(async (pageToken) => {
    const page = await admin.call(
      admin.producers.listProducers({ pageSize: PAGE_SIZE, pageToken }),
    );
    return { items: page.producers, nextPageToken: page.nextPageToken };
  });
}

/** Their ids, to help with a name that was mistyped; `undefined` if they cannot be had. */
export async function knownProducerIds(admin: Admin): Promise<string[] | undefined> {
  try {
    return (await readProducers(admin)).map(({ producerId }) => producerId);
  } catch {
    return undefined;
  }
}
