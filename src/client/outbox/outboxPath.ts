/**
 * The folder and the names of an outbox file: what the file system is asked for around it.
 */
import {
  accessSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  realpathSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { OutboxError } from "./outboxError.ts";
import { storageError } from "./sqliteFault.ts";

/**
 * Makes the folder if need be, and follows links in the path.
 *
 * @throws OutboxError if what is there is no file: to set a device or a folder aside would take
 *   it away from everybody else.
 */
export function resolvePath(path: string): string {
  let resolved: string;
  let isFile: boolean;
  try {
    makeFolder(dirname(path));
    const stats = statSync(path, { throwIfNoEntry: false });
    isFile = stats?.isFile() ?? true;
    resolved = stats ? realpathSync(path) : join(realpathSync(dirname(path)), basename(path));
  } catch (error) {
    throw storageError(path, error);
  }
  if (!isFile) {
    throw new OutboxError(
      "OUTBOX_FOREIGN_FILE",
      `${path} is not a regular file, so it was left alone. Give the outbox the path of a file.`,
    );
  }
  return resolved;
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

/** Such as `outbox.db.damaged-20251025T143045123Z`. */
export function unusedName(path: string, nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replaceAll(/[-:.]/g, "");
  const name = `${path}.damaged-${stamp}`;
  for (let number = 1; ; number++) {
    const candidate = number === 1 ? name : `${name}-${number}`;
    if (!existsSync(candidate)) return candidate;
  }
}

export function linkOrCopy(path: string, name: string): void {
  try {
    linkSync(path, name);
  } catch {
    // Some file systems have no links. A copy that fails throws.
    copyFileSync(path, name);
  }
}

/** So that a new name is still there after a power failure. */
export function syncDirectory(path: string): void {
  // Windows has no such call, and needs none.
  if (process.platform === "win32") return;
  const handle = openSync(path, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
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
