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
  const text = (await readIfThere(path)) ?? (await makeOnce(path));
  const key = Buffer.from(text, "base64");
  if (key.length !== MASTER_KEY_BYTES || key.toString("base64") !== text.trim()) {
    throw new Error(`${path} does not hold a key of ${MASTER_KEY_BYTES} bytes in base64.`);
  }
  return key;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** @returns the text of the key that is there afterwards, whoever made it. */
async function makeOnce(path: string): Promise<string> {
  // A name that nobody else has, since a file that a crash left behind may be the very
  // file of the key: writing to it would replace the key.
  const made = `${path}.${randomBytes(8).toString("hex")}`;
  const text = `${randomBytes(MASTER_KEY_BYTES).toString("base64")}\n`;
  await writeFile(made, text, { mode: 0o600, flag: "wx", flush: true });
  try {
    // A link appears whole or not at all, and never replaces a key that is there, so
    // two servers that start at once agree on one.
    await link(made, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    await rm(made, { force: true });
  }
  return readFile(path, "utf8");
}
