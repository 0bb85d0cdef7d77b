/**
 * Files in a directory that belongs to PostgreSQL's account, when this process is root.
 *
 * That account may put whatever it likes in the place of a file, such as a link to one
 * that only root may read or write. So nothing here follows a link.
 */
import { constants } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import path from "node:path";
import { type Account, deniedAccount, EmbeddedPostgresError, isDeniedAccount } from "./account.ts";

/**
 * Follows no symbolic link, and does not wait for the other end of a named pipe. Windows
 * knows neither flag, and no root: there they are undefined and count as 0.
 */
const PLAIN = constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** @throws EmbeddedPostgresError if it is a link or anything else than a plain file. */
export async function readPlainFile(file: string): Promise<string> {
  const handle = await openPlain(file, constants.O_RDONLY);
  try {
    return await handle.readFile("utf8");
  } finally {
    await handle.close();
  }
}

/**
 * Opens a file for appending and makes it if it is not there, for the account.
 *
 * @throws EmbeddedPostgresError if it is a link or anything else than a plain file.
 */
export async function appendPlainFile(
  file: string,
  account: Account | undefined,
): Promise<FileHandle> {
  const append = constants.O_WRONLY | constants.O_APPEND;
  let handle: FileHandle;
  try {
    handle = await open(file, append | constants.O_CREAT | constants.O_EXCL, 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") {
      throw error;
    }
    return openPlain(file, append);
  }
  if (account) {
    // Nobody else can have put this file there: it was made just now.
    await giveFile(handle, account);
  }
  return handle;
}

/**
 * Gives an open file to the account.
 *
 * @throws EmbeddedPostgresError if this process may not.
 */
export async function giveFile(handle: FileHandle, account: Account): Promise<void> {
  await handle.chown(account.uid, account.gid).catch((error: unknown) => {
    throw isDeniedAccount(error) ? deniedAccount(error) : error;
  });
}

/**
 * Gives a directory to the account, but not what a link in its place points to.
 *
 * @throws EmbeddedPostgresError if this process may not.
 */
export async function giveDirectory(dir: string, account: Account): Promise<void> {
  const handle = await open(dir, constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    await giveFile(handle, account);
  } finally {
    await handle.close();
  }
}

async function openPlain(file: string, flags: number): Promise<FileHandle> {
  const handle = await open(file, flags | PLAIN).catch((error: NodeJS.ErrnoException) => {
    // Linux and macOS say ELOOP for a symbolic link, FreeBSD EMLINK; ENXIO is a named pipe.
    throw ["ELOOP", "EMLINK", "ENXIO"].includes(error.code ?? "") ? notPlain(file, error) : error;
  });
  try {
    const stats = await handle.stat();
    // With a second name it may be a hard link to someone else's file.
    const owner = stats.nlink > 1 ? (await stat(path.dirname(file))).uid : stats.uid;
    if (!stats.isFile() || stats.uid !== owner) {
      throw notPlain(file);
    }
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function notPlain(file: string, cause?: unknown): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    `${file} is a link, or no plain file at all, and is not opened. Remove it.`,
    { cause },
  );
}

/** Makes the names in a directory survive a power failure. Windows cannot and need not. */
export async function syncDirectory(dir: string): Promise<void> {
  if (process.platform === "win32") {
    return;
  }
  const handle = await open(dir);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
