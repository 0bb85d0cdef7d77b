/** Rotates the master key, and says what is to be done next. */
import { createSecretBox, type SecretBox } from "../../server/auth/secretBox.ts";
import { assertOpens } from "../../server/config/masterKey.ts";
import {
  generateMasterKey,
  type KeysOfFile,
  masterKeyFile,
  readMasterKeys,
  replaceMasterKeys,
} from "../../server/config/masterKeyFile.ts";
import {
  assertMayStart,
  createAccessStore,
  type Database,
  migrationStatus,
  takeKeyRotationTurn,
} from "../../store/index.ts";
import { failedError, usageError } from "../cliError.ts";
import { configFailure, readServerConfig, withDatabase } from "../database.ts";
import { type Environment, readEnvironment } from "../environment.ts";
import { writeJson, writeOut } from "../output.ts";
import { planRotation, type Rotation, sealAnew } from "./rotation.ts";

/** The options of `master-key rotate`. */
export interface RotateOptions {
  readonly envFile?: string;
  readonly json?: boolean;
  readonly yes?: boolean;
}

/** What came of it. */
interface Outcome {
  readonly keyId: Uint8Array;
  /** `undefined` if nothing was sealed anew. */
  readonly rotation: Rotation | undefined;
  /** What is to be done next, in sentences. */
  readonly next: string;
}

/** `countersign master-key rotate`. */
export async function rotateMasterKey(options: RotateOptions): Promise<void> {
  const config = readServerConfig(keyVariables(readEnvironment(options.envFile)));
  const use = { mayCreate: false, applicationName: "countersign master-key" };
  const outcome = await withDatabase(config, use, async (database) => {
    await assertMigrated(database);
    try {
      return config.masterKey === undefined
        ? await rotateFile(database, masterKeyFile(config.dataDir), options)
        : await rotateGiven(database, [config.masterKey, config.previousMasterKey], options);
    } catch (error) {
      throw configFailure(error);
    }
  });
  await print(outcome, options);
}

/** Rotates from the key before to the one that the environment names. */
async function rotateGiven(
  database: Database,
  keys: readonly [Buffer, Buffer | undefined],
  { yes }: RotateOptions,
): Promise<Outcome> {
  const store = createAccessStore(database);
  const box = createSecretBox(keys.filter((key) => key !== undefined));
  const plan = planRotation(box, await store.loadSealedSecrets(STORE_TIMEOUT_MS), undefined);
  const keyId = currentKeyId(box);
  if (plan === undefined) return { keyId, rotation: undefined, next: TO_ROTATE };
  confirm(
    `This seals ${secretsOf(plan)} anew under COUNTERSIGN_MASTER_KEY. A server that does not have both ` +
      "keys by then can read none of them when it starts.",
    yes,
  );
  return { keyId, rotation: await sealAnew(store, box, undefined), next: AFTER_GIVEN };
}

/**
 * Rotates from the key in a file to a new one. The file has both from before the database is
 * changed until after it, so that each of them opens it whenever this is interrupted.
 */
async function rotateFile(
  database: Database,
  file: string,
  { yes }: RotateOptions,
): Promise<Outcome> {
  await takeTurn(database);
  const found = await readMasterKeys(file);
  if (found === undefined) {
    throw usageError(
      `There is no ${file}. If the servers have COUNTERSIGN_MASTER_KEY, set it to a new key for them and here, and ` +
        "COUNTERSIGN_PREVIOUS_MASTER_KEY to theirs.",
    );
  }
  const isBegun = found.length > 1;
  const keys: KeysOfFile = isBegun ? found : [generateMasterKey(), found[0]];
  const store = createAccessStore(database);
  const box = createSecretBox(keys.filter((key) => key !== undefined));
  assertOpens(box, await store.loadSealedSecrets(STORE_TIMEOUT_MS), file);
  confirm(`This seals all producers' secrets anew under a new key in ${file}.`, yes);
  if (!isBegun) await replaceFile(database, file, found, keys);
  const rotation = await sealAnew(store, box, file);
  await replaceFile(database, file, keys, [keys[0]]);
  return { keyId: currentKeyId(box), rotation, next: `The key is in ${file}. ${AFTER_FILE}` };
}

/** @throws CliError if somebody else changed the file meanwhile, or may do so. */
async function replaceFile(
  database: Database,
  file: string,
  before: KeysOfFile,
  after: KeysOfFile,
): Promise<void> {
  await takeTurn(database);
  const found = await readMasterKeys(file);
  const isSame = before.every((key, index) => key && found?.[index]?.equals(key));
  if (found?.length !== before.length || !isSame) {
    throw failedError(`${file} was changed meanwhile. Nothing is lost: run this again.`);
  }
  await replaceMasterKeys(file, after);
}

/** @throws CliError if another process has it. */
async function takeTurn(database: Database): Promise<void> {
  if (await takeKeyRotationTurn(database)) return;
  throw failedError("Another rotation of this master key is under way.");
}

/** @throws CliError if this version's migrations are not applied. */
async function assertMigrated(database: Database): Promise<void> {
  await assertMayStart(database);
  const states = await migrationStatus(database);
  if (states.every(({ appliedAt }) => appliedAt !== undefined)) return;
  throw failedError(
    'The database is not migrated to this version. Run "countersign migrate up" first.',
  );
}

function confirm(what: string, yes: boolean | undefined): void {
  if (yes !== true) throw usageError(`${what} Add --yes to do it.`);
}

const STORE_TIMEOUT_MS = 10_000;
const TO_ROTATE =
  "To rotate it, set COUNTERSIGN_MASTER_KEY to a new key and COUNTERSIGN_PREVIOUS_MASTER_KEY to this one.";
const KEEP_OLD =
  "Back the new key up, and keep the old one as long as you keep backups of the database from before.";
const AFTER_GIVEN = `Restart the servers without COUNTERSIGN_PREVIOUS_MASTER_KEY. ${KEEP_OLD}`;
const AFTER_FILE = `Servers that run take it up by themselves. ${KEEP_OLD}`;

async function print({ keyId, rotation, next }: Outcome, { json }: RotateOptions): Promise<void> {
  if (json === true) {
    return writeJson({
      resealed: rotation?.resealed ?? 0,
      unopened: rotation?.unopened ?? 0,
      key_id: hex(keyId),
      previous_key_id: rotation === undefined ? null : hex(rotation.from),
    });
  }
  const done =
    rotation === undefined
      ? "Nothing to seal anew: all secrets are sealed under this key"
      : `Sealed ${secretsOf(rotation)} anew`;
  const lines = [`${done} (key id ${hex(keyId)}).`];
  if (rotation !== undefined && rotation.unopened > 0) {
    lines.push(`Left as they are: ${rotation.unopened}, which no key at hand opens.`);
  }
  await writeOut(`${[...lines, next].join("\n")}\n`);
}

function secretsOf({ resealed }: Rotation): string {
  return resealed === 1 ? "1 secret" : `${resealed} secrets`;
}

function currentKeyId({ keyIds }: SecretBox): Uint8Array {
  return keyIds[0] as Uint8Array;
}

function hex(keyId: Uint8Array): string {
  return Buffer.from(keyId).toString("hex");
}

/** Only what concerns the database and the keys, so that nothing else has to be right. */
function keyVariables(environment: Environment): Environment {
  const { DATABASE_URL, DATA_DIR } = environment;
  const { COUNTERSIGN_MASTER_KEY, COUNTERSIGN_PREVIOUS_MASTER_KEY } = environment;
  return { DATABASE_URL, DATA_DIR, COUNTERSIGN_MASTER_KEY, COUNTERSIGN_PREVIOUS_MASTER_KEY };
}
