/**
 * The SQLite that is part of Node.js. This is the only module that loads it, and not before an
 * outbox is opened, so that the rest of the client also runs on a Node.js without it.
 */
import type { DatabaseSync, DatabaseSyncOptions } from "node:sqlite";
import { OutboxError } from "./outboxError.ts";

/** The first version whose `node:sqlite` has all that an outbox uses and needs no flag. */
const NODE_MAJOR_MIN = 24;
const NODE_MINOR_MIN = 16;

/** @throws OutboxError `OUTBOX_UNSUPPORTED` if this Node.js is too old. */
export function requireSqlite(): typeof import("node:sqlite") {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < NODE_MAJOR_MIN || (major === NODE_MAJOR_MIN && minor < NODE_MINOR_MIN)) {
    throw new OutboxError(
      "OUTBOX_UNSUPPORTED",
      `The outbox needs Node.js ${NODE_MAJOR_MIN}.${NODE_MINOR_MIN} or newer for its SQLite file, and this is Node.js ${process.versions.node}.`,
    );
  }
  // The types of an older Node.js, which the client is also checked against, do not know it.
  return process.getBuiltinModule("node:sqlite") as typeof import("node:sqlite");
}

/** Opens a SQLite file. @throws Error of SQLite, or `OUTBOX_UNSUPPORTED`. */
export function openSqlite(path: string, options: DatabaseSyncOptions): DatabaseSync {
  const { DatabaseSync } = requireSqlite();
  return new DatabaseSync(path, options);
}
