/**
 * Producers, tokens and the audit in PostgreSQL. What a change means, and what makes it
 * whole, is decided by the functions of the migration `0005_access`; here is only the
 * translation to and from them.
 */
import type { AccessStore } from "../access/index.ts";
import { auditMethods } from "./access/audit.ts";
import { loadMethods } from "./access/load.ts";
import { producerMethods } from "./access/producers.ts";
import { sealingMethods } from "./access/sealing.ts";
import { tokenMethods } from "./access/tokens.ts";
import type { Database } from "./database.ts";

/** Makes the store on a database whose migrations are all applied. */
export function createAccessStore(database: Database): AccessStore {
  return {
    ...loadMethods(database),
    ...producerMethods(database),
    ...tokenMethods(database),
    ...auditMethods(database),
    ...sealingMethods(database),
  };
}
