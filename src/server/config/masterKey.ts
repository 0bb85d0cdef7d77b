/**
 * The master key: the one that the server was given, or one that is made once and kept beside
 * the embedded database, readable by its owner only. It must be the key that the producers'
 * secrets were sealed under, since a server with another one would refuse all their signals.
 */
import { randomBytes } from "node:crypto";
import { link, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createSecretBox } from "../auth/secretBox.ts";
import { ConfigError, type ServerConfig } from "./config.ts";

const MASTER_KEY_BYTES = 32;

/** Of the producers whose secrets do not open, no more than this many are named. */
const NAMED_PRODUCERS_MAX = 10;

/**
 * The master key of a start. Makes one only for a database that has no secret yet.
 *
 * @param sealedSecrets the live secrets in the database, by their producers' ids.
 * @throws ConfigError if there is a producer of whose secrets it opens none.
 * @throws Error if the key's own file is there but does not hold a key.
 */
export async function masterKeyOf(
  { masterKey, dataDir }: Pick<ServerConfig, "masterKey" | "dataDir">,
  sealedSecrets: ReadonlyMap<string, readonly Uint8Array[]>,
): Promise<Buffer> {
  const key = masterKey ?? (await readMasterKey(dataDir));
  if (key === undefined) {
    if (sealedSecrets.size === 0) return makeMasterKey(dataDir);
    throw new ConfigError([
      `COUNTERSIGN_MASTER_KEY is not set and ${masterKeyFile(dataDir)} is gone, but the database has secrets ` +
        `that only that key opens (of ${named([...sealedSecrets.keys()])}). Restore the file from a backup. ${WITHOUT_KEY}`,
    ]);
  }
  const { opens } = createSecretBox(key);
  const lockedOut = [...sealedSecrets]
    .filter(([producerId, sealed]) => !sealed.some((each) => opens(each, producerId)))
    .map(([producerId]) => producerId);
  if (lockedOut.length === 0) return key;
  const source =
    masterKey === undefined ? `The key in ${masterKeyFile(dataDir)}` : "COUNTERSIGN_MASTER_KEY";
  throw new ConfigError([
    `${source} opens no secret of ${named(lockedOut)}, so their signals would be refused. Set ` +
      `COUNTERSIGN_MASTER_KEY to the key that sealed them, which earlier starts on this database had. ${WITHOUT_KEY}`,
  ]);
}

const WITHOUT_KEY = 'If it is lost, see "A lost master key" in docs/operations.md';

function named(producerIds: readonly string[]): string {
  const shown = producerIds.slice(0, NAMED_PRODUCERS_MAX).join(", ");
  const others = producerIds.length - NAMED_PRODUCERS_MAX;
  const rest = others > 0 ? ` and ${others} more` : "";
  return `the producer${producerIds.length === 1 ? "" : "s"} ${shown}${rest}`;
}

function masterKeyFile(dataDir: string): string {
  return join(dataDir, "master.key");
}

/**
 * The key in the data directory; `undefined` if there is none.
 *
 * @throws Error if the file is there but does not hold a key.
 */
async function readMasterKey(dataDir: string): Promise<Buffer | undefined> {
  const path = masterKeyFile(dataDir);
  const text = await readIfThere(path);
  return text === undefined ? undefined : keyIn(text, path);
}

/** Makes the key of a data directory that has none. Of several who do, all get the same. */
async function makeMasterKey(dataDir: string): Promise<Buffer> {
  const path = masterKeyFile(dataDir);
  return keyIn(await makeOnce(path), path);
}

function keyIn(text: string, path: string): Buffer {
  const key = Buffer.from(text, "base64");
  if (key.length !== MASTER_KEY_BYTES || key.toString("base64") !== text.trim()) {
    throw new Error(
      `${path} does not hold a key of ${MASTER_KEY_BYTES} bytes in base64. Restore it from a backup: without it no producer's secret can be read.`,
    );
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
