/**
 * The file of the master key beside the embedded database, readable by its owner only. While
 * the key is rotated it has two lines: the new key, and the one before it.
 *
 * What it says is on disk before anything is sealed by it, and no change of it leaves less
 * than the key that the database is sealed under, whenever the machine stops.
 */
import { randomBytes } from "node:crypto";
import { type FileHandle, link, open, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
// Not by the index, which would load the driver.
import { syncDirectory } from "../../store/embedded/files.ts";
import { readSmallFile } from "./smallFile.ts";

const MASTER_KEY_BYTES = 32;

/** The master key of a data directory, and during a rotation the one before it after it. */
export type KeysOfFile = readonly [current: Buffer, previous?: Buffer];

/** Where the master key of a data directory is. */
export function masterKeyFile(dataDir: string): string {
  return join(dataDir, "master.key");
}

/** A new master key, from the system's secure random source. */
export function generateMasterKey(): Buffer {
  return randomBytes(MASTER_KEY_BYTES);
}

/**
 * The keys in a file; `undefined` if there is none.
 *
 * @throws Error if the file is there but cannot be read, or does not hold a key.
 */
export async function readMasterKeys(path: string): Promise<KeysOfFile | undefined> {
  const content = await readSmallFile(path);
  if (content.bytes !== undefined) return keysIn(content.bytes.toString("utf8"), path);
  if (content.isMissing) return undefined;
  throw new Error(`${path} ${content.fault}.`);
}

function keysIn(text: string, path: string): KeysOfFile {
  const lines = text.trimEnd().split(/\r?\n/);
  const [current, previous, ...more] = lines.map((line) => Buffer.from(line, "base64"));
  const isKey = (key: Buffer | undefined, index: number) =>
    key?.length === MASTER_KEY_BYTES && key.toString("base64") === lines[index];
  if (
    current === undefined ||
    more.length > 0 ||
    ![current, previous].filter(Boolean).every(isKey)
  ) {
    throw new Error(
      `${path} does not hold a key of ${MASTER_KEY_BYTES} bytes in base64. Restore it from a backup: without it no producer's secret can be read.`,
    );
  }
  return previous === undefined ? [current] : [current, previous];
}

/** Makes the key of a data directory that has none. Of several who do, all get the same. */
export async function makeMasterKey(path: string): Promise<KeysOfFile> {
  const made = await writeBeside(path, [generateMasterKey()]);
  try {
    // A link appears whole or not at all, and never replaces a key that is there, so
    // two servers that start at once agree on one.
    await link(made, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    await rm(made, { force: true });
  }
  await syncDirectory(dirname(path));
  const keys = await readMasterKeys(path);
  if (keys === undefined) throw new Error(`${path} was removed when it had just been made.`);
  return keys;
}

/**
 * Replaces what the file holds, whole or not at all. It is on disk when this resolves. Whoever
 * owned it does so still.
 */
export async function replaceMasterKeys(path: string, keys: KeysOfFile): Promise<void> {
  // What a link leads to, not the link.
  const file = await realpath(path);
  const made = await writeBeside(file, keys, await stat(file));
  try {
    await rename(made, file);
  } catch (error) {
    await rm(made, { force: true });
    throw error;
  }
  await syncDirectory(dirname(file));
}

/** Writes the keys to a new file in the same folder. @returns its path. */
async function writeBeside(
  path: string,
  keys: KeysOfFile,
  owner?: { readonly uid: number; readonly gid: number },
): Promise<string> {
  // A name that nobody else has, since a file that a crash left behind may be the very
  // file of the key: writing to it would replace the key.
  const made = `${path}.${randomBytes(8).toString("hex")}`;
  const handle: FileHandle = await open(made, "wx", 0o600);
  try {
    if (owner !== undefined && process.geteuid?.() === 0) await handle.chown(owner.uid, owner.gid);
    await handle.writeFile(keys.map((key) => `${key?.toString("base64")}\n`).join(""));
    await handle.sync();
  } finally {
    await handle.close();
  }
  return made;
}
