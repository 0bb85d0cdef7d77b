/**
 * What a process knows of who may do what, put together: once for each process, whether it
 * takes signals, serves the operations port, or both.
 */
import type { Logger } from "pino";
import type { AccessStore } from "../access/index.ts";
import { createAccessStore, type Database } from "../store/index.ts";
import { type AccessDirectory, openAccessDirectory } from "./auth/accessDirectory.ts";
import type { SecretBox } from "./auth/secretBox.ts";
import { createUseRecorder, type UseRecorder } from "./auth/useRecorder.ts";
import { systemClock, systemTimers } from "./clock.ts";

/** Who may do what, as a process knows it. */
export interface Access {
  readonly store: AccessStore;
  readonly directory: AccessDirectory;
  readonly uses: UseRecorder;
}

/** What {@link openAccess} is made of. */
export interface AccessParts {
  /** The database, with every migration. */
  readonly database: Database;
  readonly box: SecretBox;
  readonly requireApproval: boolean;
  readonly log: Logger;
  /** Told of each look at the database that failed, for metrics. */
  readonly onFailure: () => void;
  /** What is to be closed in the end is put here. */
  readonly parts: AsyncDisposableStack;
}

/** @throws StoreUnavailableError if nothing can be read. */
export async function openAccess({
  database,
  box,
  requireApproval,
  log,
  onFailure,
  parts,
}: AccessParts): Promise<Access> {
  const store = createAccessStore(database);
  const { random } = Math;
  const uses = createUseRecorder({ store, timers: systemTimers, random, log });
  parts.defer(() => uses.close());
  const directory = await openAccessDirectory({
    store,
    box,
    requireApproval,
    timers: systemTimers,
    monotonicMs: systemClock.monotonicMs,
    random,
    log,
    onFailure,
  });
  parts.defer(() => directory.close());
  return { store, directory, uses };
}
