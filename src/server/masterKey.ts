/**
 * The master key of a server that was given none: made once and kept beside the
 * embedded database, readable by its owner only.
 */
import { randomBytes } from "node:crypto";
import { link, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

const MASTER_KEY_BYTES = 32;

/**
 * Reads the key in the data directory, or makes one.
 *
 * @throws Error if the file is there but does not hold a key.
 */
export async function loadMasterKey(dataDir: string): Promise<Buffer> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const path = join(dataDir, "master.key");
  const made = join(dataDir, `master.key.${process.pid}`);
  await writeFile(made, `${randomBytes(MASTER_KEY_BYTES).toString("base64")}\n`, { mode: 0o600 });
  try {
    // A link appears whole or not at all, and never replaces a key that is there, so
    // two servers that start at once agree on one.
    await link(made, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    await rm(made, { force: true });
  }
  const key = Buffer.from(await readFile(path, "utf8"), "base64");
  if (key.length !== MASTER_KEY_BYTES) {
    throw new Error(`${path} does not hold a key of ${MASTER_KEY_BYTES} bytes in base64.`);
  }
  return key;
}
