/**
 * The master keys of a start: those that the server was given, or one that is made once and
 * kept beside the embedded database. The producers' secrets must be sealed under them, since
 * a server with another key would refuse all signals.
 */
import type { SealedSecrets } from "../../access/index.ts";
import { createSecretBox, type SecretBox } from "../auth/secretBox.ts";
import { ConfigError, type MasterKeys, type ServerConfig } from "./config.ts";
import { makeMasterKey, masterKeyFile, readMasterKeys } from "./masterKeyFile.ts";

/** Of the producers whose secrets do not open, no more than this many are named. */
const NAMED_PRODUCERS_MAX = 10;

/**
 * The master keys of a start. Makes one only for a database that has no secret yet.
 *
 * @param readSealed reads what the database has sealed.
 * @throws ConfigError as {@link assertOpens}, and if there are secrets and no key.
 * @throws Error if the key's own file is there but does not hold a key.
 */
export async function masterKeysOf(
  config: Pick<ServerConfig, "masterKey" | "previousMasterKey" | "dataDir">,
  readSealed: () => Promise<SealedSecrets>,
): Promise<MasterKeys> {
  // The file first: should it be rotated meanwhile, the database names a key that it has now.
  const found = await findMasterKeys(config);
  const sealed = await readSealed();
  if (found === undefined) return makeFirstKey(config.dataDir, sealed);
  const box = openSecretBox(found);
  await box.learnKey(sealed.sealingKeyId);
  assertOpens(box, sealed, found.file);
  return found;
}

/** @throws ConfigError if something is sealed already. */
async function makeFirstKey(dataDir: string, sealed: SealedSecrets): Promise<MasterKeys> {
  const file = masterKeyFile(dataDir);
  const owners = ownersOfLive(sealed);
  if (sealed.sealingKeyId === undefined && owners.length === 0) {
    return { keys: withoutMissing(await makeMasterKey(file)), file };
  }
  const whose = owners.length === 0 ? "" : ` (of ${named(owners)})`;
  throw new ConfigError([
    `COUNTERSIGN_MASTER_KEY is not set and ${file} is gone, but the database has secrets ` +
      `that only that key opens${whose}. Restore the file from a backup. ${WITHOUT_KEY}`,
  ]);
}

/**
 * The master keys that a configuration names, or those of its data directory.
 *
 * @returns `undefined` if there are none.
 * @throws Error if the key's own file is there but does not hold a key.
 */
async function findMasterKeys({
  masterKey,
  previousMasterKey,
  dataDir,
}: Pick<ServerConfig, "masterKey" | "previousMasterKey" | "dataDir">): Promise<
  MasterKeys | undefined
> {
  if (masterKey !== undefined) {
    return { keys: withoutMissing([masterKey, previousMasterKey]), file: undefined };
  }
  const file = masterKeyFile(dataDir);
  const keys = await readMasterKeys(file);
  return keys && { keys: withoutMissing(keys), file };
}

/**
 * Makes sure that master keys are those that a database is sealed under.
 *
 * @param file where they are from; `undefined` if from the environment.
 * @throws ConfigError if there is a producer of whose secrets they open none, or if secrets
 *   are to be sealed under another one.
 */
export function assertOpens(box: SecretBox, sealed: SealedSecrets, file: string | undefined): void {
  const source = file === undefined ? "COUNTERSIGN_MASTER_KEY" : `The key in ${file}`;
  const opened = sealed.secrets.filter((each) => box.opens(each.sealed, each.producerId));
  const served = new Set(opened.filter(({ isLive }) => isLive).map(({ producerId }) => producerId));
  const lockedOut = ownersOfLive(sealed).filter((producerId) => !served.has(producerId));
  if (lockedOut.length > 0) {
    throw new ConfigError([
      `${source} opens no secret of ${named(lockedOut)}, so their signals would be refused. ${RIGHT_KEY}`,
    ]);
  }
  const { sealingKeyId } = sealed;
  if (sealingKeyId === undefined || box.hasKey(sealingKeyId)) return;
  throw new ConfigError([
    `${source} is not the one that this database's secrets are sealed under, so none could be added. ${RIGHT_KEY}`,
  ]);
}

/** Makes a box with these keys, which finds those of a later rotation of their file, too. */
export function openSecretBox({ keys, file }: MasterKeys): SecretBox {
  if (file === undefined) return createSecretBox(keys);
  return createSecretBox(keys, async () => withoutMissing((await readMasterKeys(file)) ?? []));
}

const WITHOUT_KEY = 'If it is lost, see "A lost master key" in docs/operations.md';
const RIGHT_KEY =
  "Set COUNTERSIGN_MASTER_KEY to the key that sealed them: that of earlier starts on this database, " +
  `or the new one if it was rotated since; during a rotation, COUNTERSIGN_PREVIOUS_MASTER_KEY, too. ${WITHOUT_KEY}`;

function withoutMissing(keys: readonly (Buffer | undefined)[]): Buffer[] {
  return keys.filter((key) => key !== undefined);
}

/** The producers with a secret that has not ended, in the order of their ids. */
function ownersOfLive({ secrets }: SealedSecrets): string[] {
  const owners = secrets.filter(({ isLive }) => isLive).map(({ producerId }) => producerId);
  return [...new Set(owners)].sort();
}

function named(producerIds: readonly string[]): string {
  const shown = producerIds.slice(0, NAMED_PRODUCERS_MAX).join(", ");
  const others = producerIds.length - NAMED_PRODUCERS_MAX;
  const rest = others > 0 ? ` and ${others} more` : "";
  return `the producer${producerIds.length === 1 ? "" : "s"} ${shown}${rest}`;
}
