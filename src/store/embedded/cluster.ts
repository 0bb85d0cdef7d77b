/**
 * The directory that PostgreSQL keeps its data in ("cluster" in PostgreSQL's words), and
 * how it comes to be.
 *
 * It is `<DATA_DIR>/postgres`. A new one is made under a temporary name beside it and then
 * renamed, so it is there whole or not at all, and of two processes that make one at the
 * same time the first wins. When PostgreSQL's account cannot get into DATA_DIR, the cluster
 * is under `/var/lib/countersign` and `<DATA_DIR>/postgres` is a symbolic link to it.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { constants } from "node:fs";
import {
  access,
  chmod,
  lstat,
  mkdir,
  open,
  readdir,
  realpath,
  rename,
  rm,
  stat,
  symlink,
} from "node:fs/promises";
import path from "node:path";
import type { Logger } from "pino";
import { type Account, canReach, EmbeddedPostgresError, runProgram } from "./account.ts";
import type { Binaries } from "./binaries.ts";
import { giveDirectory, giveFile, readPlainFile, syncDirectory } from "./files.ts";
import { isAlive } from "./process.ts";

/** The database's superuser, and the only one. */
export const DATABASE_USER = "countersign";

/** Where files go that PostgreSQL's account could not reach in DATA_DIR. */
const SHARED_DIR = "/var/lib/countersign";

const CLUSTER_NAME = "postgres";
const PASSWORD_FILE = "countersign.password";
const UNFINISHED_PREFIX = ".initdb-";

/** Making a cluster writes and syncs 40 MB. */
const INITDB_TIMEOUT_MS = 60_000;

/**
 * Makes DATA_DIR if it is not there. As root it lets other accounts pass, but not look.
 *
 * @returns its real path.
 */
export async function makeDataDir(dataDir: string): Promise<string> {
  const isNew = await makeDirectory(dataDir);
  if (isNew && process.getuid?.() === 0) {
    await chmod(dataDir, 0o711);
  }
  const realDataDir = await realpath(dataDir);
  await access(realDataDir, constants.W_OK | constants.X_OK);
  return realDataDir;
}

/**
 * Makes a directory and those above it. The recursive form of the system's call never returns
 * where a file system says of a directory that is there that it is not, as /proc does.
 *
 * @returns whether it was not there before.
 */
async function makeDirectory(dir: string): Promise<boolean> {
  try {
    await mkdir(dir, { mode: 0o700 });
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" && (await stat(dir)).isDirectory()) {
      return false;
    }
    const parent = path.dirname(dir);
    if (code !== "ENOENT" || parent === dir || !(await makeDirectory(parent))) {
      throw error;
    }
    await mkdir(dir, { mode: 0o700 });
    return true;
  }
}

/** The error of a DATA_DIR that the operating system does not let be used. */
export function unusableDataDir(
  dataDir: string,
  cause: NodeJS.ErrnoException,
): EmbeddedPostgresError {
  const why = WORDS_BY_ERRNO[cause.code ?? ""] ?? cause.message;
  return new EmbeddedPostgresError(
    `DATA_DIR ${dataDir} cannot hold a database: ${why}. Set DATA_DIR to a directory on a local disk that this account may write to, or DATABASE_URL to use another PostgreSQL.`,
    { cause },
  );
}

/** The system's own texts name a call. */
const WORDS_BY_ERRNO: Readonly<Record<string, string>> = {
  EACCES: "this account may not use what is there",
  EPERM: "nobody may write there",
  EROFS: "its file system is read-only",
  ENOENT: "its file system takes no directories",
  ENOTDIR: "a file stands in its way",
  EEXIST: "it is a file, not a directory",
  ENOSPC: "its disk is full",
};

/**
 * The cluster's real path; `undefined` if there is none yet.
 *
 * @throws EmbeddedPostgresError if what is there cannot be one, so that nobody goes on with
 *   an empty database without knowing it.
 */
export async function findCluster(dataDir: string): Promise<string | undefined> {
  const link = path.join(dataDir, CLUSTER_NAME);
  if ((await lstat(link).catch(ignoreMissing)) === undefined) {
    return undefined;
  }
  const clusterDir = await realpath(link).catch(ignoreMissing);
  if (clusterDir === undefined) {
    throw new EmbeddedPostgresError(
      `${link} points to a database that is gone. Restore it, or remove ${link} to begin with an empty database.`,
    );
  }
  return clusterDir;
}

/**
 * @throws EmbeddedPostgresError if the cluster is of another major version, or is closed to
 *   the account that it belongs to.
 */
export async function checkCluster(
  clusterDir: string,
  binaries: Binaries,
  account: Account | undefined,
): Promise<void> {
  if (!(await canReach(clusterDir, account))) {
    throw new EmbeddedPostgresError(
      `${clusterDir} belongs to the account with uid ${account?.uid}, which may not pass through the directories above it. Open them to that account (chmod o+x), or move the data.`,
    );
  }
  const version = await readPlainFile(path.join(clusterDir, "PG_VERSION")).catch(ignoreMissing);
  if (version === undefined) {
    throw new EmbeddedPostgresError(`${clusterDir} is not a PostgreSQL data directory.`);
  }
  if (version.trim() !== binaries.majorVersion) {
    throw new EmbeddedPostgresError(
      `${clusterDir} was made by PostgreSQL ${version.trim()}, and this program brings PostgreSQL ${binaries.majorVersion}. ` +
        "Run the older program and pg_dump its database, or serve the directory with its own PostgreSQL and set DATABASE_URL.",
    );
  }
}

/** The password of {@link DATABASE_USER}. */
export async function readPassword(clusterDir: string): Promise<string> {
  return (await readPlainFile(path.join(clusterDir, PASSWORD_FILE))).trim();
}

/**
 * A directory that the account can reach: DATA_DIR itself, or the shared one.
 */
export async function reachableDir(dataDir: string, account: Account | undefined): Promise<string> {
  if (await canReach(dataDir, account)) {
    return dataDir;
  }
  await mkdir(SHARED_DIR, { recursive: true });
  await chmod(SHARED_DIR, 0o711);
  return SHARED_DIR;
}

/**
 * Makes the cluster of DATA_DIR. If another process makes one at the same time, the first
 * to finish wins, and this gives its cluster.
 *
 * @returns its real path.
 * @throws EmbeddedPostgresError
 */
export async function createCluster(
  dataDir: string,
  binaries: Binaries,
  account: Account | undefined,
  log: Logger,
): Promise<string> {
  const home = await reachableDir(dataDir, account);
  await removeUnfinished(home);
  const unfinished = path.join(home, `${UNFINISHED_PREFIX}${process.pid}-${randomUUID()}`);
  try {
    await initialize(unfinished, binaries, account);
    await publish(unfinished, dataDir, home, log);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
  const clusterDir = await findCluster(dataDir);
  if (clusterDir === undefined) {
    throw new EmbeddedPostgresError(`The new database in ${dataDir} was removed by someone.`);
  }
  return clusterDir;
}

/** Removes what a killed process left, and nothing that a living one is working on. */
async function removeUnfinished(home: string): Promise<void> {
  for (const name of await readdir(home)) {
    const pid = name.startsWith(UNFINISHED_PREFIX)
      ? Number.parseInt(name.slice(UNFINISHED_PREFIX.length), 10)
      : undefined;
    if (pid !== undefined && pid !== process.pid && !(await isAlive(pid))) {
      await rm(path.join(home, name), { recursive: true, force: true });
    }
  }
}

async function initialize(
  dir: string,
  binaries: Binaries,
  account: Account | undefined,
): Promise<void> {
  await mkdir(dir, { mode: 0o700 });
  const password = randomBytes(32).toString("base64url");
  // initdb wants its directory empty, so the password waits beside it.
  const passwordFile = `${dir}.password`;
  try {
    await writeNewFile(passwordFile, password, account);
    if (account) {
      await giveDirectory(dir, account);
    }
    await runProgram(
      binaries.initdb,
      [
        `--pgdata=${dir}`,
        `--username=${DATABASE_USER}`,
        `--pwfile=${passwordFile}`,
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--no-locale",
        "--data-checksums",
        "--no-instructions",
      ],
      account,
      INITDB_TIMEOUT_MS,
    );
  } finally {
    await rm(passwordFile, { force: true });
  }
  await writeNewFile(path.join(dir, PASSWORD_FILE), password, undefined);
  await syncDirectory(dir);
}

/** Writes a file to disk that must not be there yet, not even as a link. */
async function writeNewFile(
  file: string,
  content: string,
  owner: Account | undefined,
): Promise<void> {
  const handle = await open(file, "wx", 0o600);
  try {
    await handle.writeFile(content);
    if (owner) {
      await giveFile(handle, owner);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Gives the finished cluster its name, unless another one has it already. */
async function publish(
  unfinished: string,
  dataDir: string,
  home: string,
  log: Logger,
): Promise<void> {
  const link = path.join(dataDir, CLUSTER_NAME);
  if (home === dataDir) {
    await rename(unfinished, link).catch(ignoreTaken);
  } else {
    const clusterDir = path.join(home, randomUUID());
    await rename(unfinished, clusterDir);
    await syncDirectory(home);
    try {
      await symlink(clusterDir, link);
      log.info(
        { clusterDir, link },
        "DATA_DIR is closed to PostgreSQL's account, so its data is elsewhere",
      );
    } catch (error) {
      await rm(clusterDir, { recursive: true, force: true });
      ignoreTaken(error);
    }
  }
  await syncDirectory(dataDir);
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") {
    throw error;
  }
}

function ignoreTaken(error: unknown): undefined {
  const code = (error as NodeJS.ErrnoException).code;
  // Windows says EPERM for a name that is taken.
  const isTaken =
    code === "EEXIST" || code === "ENOTEMPTY" || (code === "EPERM" && process.platform === "win32");
  if (!isTaken) {
    throw error;
  }
}
