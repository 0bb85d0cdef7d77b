/**
 * What an outbox asks of the file system: the folder of its file, whether it is still the same
 * file, and how another takes its place.
 */
import {
  accessSync,
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { OutboxError, withStorageErrors } from "./outboxError.ts";

/**
 * Makes the folder if need be, and follows links in the path.
 *
 * @throws OutboxError if what is there is no file: to set a device or a folder aside would take
 *   it away from everybody else.
 */
export function resolvePath(path: string): string {
  return withStorageErrors(path, () => {
    makeFolder(dirname(path));
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats === undefined) return join(realpathSync(dirname(path)), basename(path));
    if (stats.isFile()) return realpathSync(path);
    throw new OutboxError(
      "OUTBOX_FOREIGN_FILE",
      `${path} is not a regular file, so it was left alone. Give the outbox the path of a file.`,
    );
  });
}

/**
 * Makes a folder and those above it. The recursive form of the system's call never returns where
 * a file system says of a folder that is there that it is not, as /proc does.
 */
export function makeFolder(path: string): void {
  if (existsSync(path)) return;
  const parent = dirname(path);
  if (parent !== path) makeFolder(parent);
  try {
    mkdirSync(path);
  } catch (error) {
    // Another process may have been faster.
    if (!existsSync(path)) throw error;
  }
}

/** Tells one file from another at the same path; `undefined` if there is none. */
export function identityOf(path: string): string | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats && `${stats.dev}:${stats.ino}`;
}

/** Whether the system would let this process write a file. */
export function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Sets a file aside: gives it a second name, such as `outbox.db.damaged-20251025T143045123Z`,
 * which it keeps when the first goes to a new file, and moves its journal there.
 *
 * @returns the name; `undefined` if there is no file.
 */
export function setAside(path: string, nowMs: number): string | undefined {
  const journal = `${path}-journal`;
  if (!existsSync(path)) {
    rmSync(journal, { force: true });
    return undefined;
  }
  const name = unusedName(path, nowMs);
  try {
    linkSync(path, name);
  } catch {
    // Some file systems have no links. A copy that fails throws.
    copyFileSync(path, name);
  }
  if (existsSync(journal)) renameSync(journal, `${name}-journal`);
  return name;
}

function unusedName(path: string, nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replaceAll(/[-:.]/g, "");
  const name = `${path}.damaged-${stamp}`;
  for (let number = 1; ; number++) {
    const candidate = number === 1 ? name : `${name}-${number}`;
    if (!existsSync(candidate)) return candidate;
  }
}
