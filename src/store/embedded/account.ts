/**
 * The operating system's account that the embedded PostgreSQL runs under.
 *
 * PostgreSQL refuses to run as root. So when this process is root, as in most containers,
 * PostgreSQL is started under an account without privileges, which must then be able to
 * reach its files.
 */
import { readFile, realpath, stat } from "node:fs/promises";
import path from "node:path";

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** What nearly every system calls `nobody`, where `/etc/passwd` does not say. */
const NOBODY: Account = { uid: 65_534, gid: 65_534 };

/**
 * The account to run PostgreSQL under: the owner of the data directory if there is one,
 * else `nobody`. `undefined` if this process is not root: then it is its own account.
 */
export async function chooseAccount(clusterDir: string | undefined): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) {
    return undefined;
  }
  const owner = clusterDir && (await stat(clusterDir));
  return owner && owner.uid !== 0 ? { uid: owner.uid, gid: owner.gid } : readNobody();
}

async function readNobody(): Promise<Account> {
  const passwd = await readFile("/etc/passwd", "utf8").catch(() => "");
  // name:password:uid:gid:… (passwd(5))
  const match = /^nobody:[^:]*:(\d+):(\d+):/m.exec(passwd);
  return match ? { uid: Number(match[1]), gid: Number(match[2]) } : NOBODY;
}

/**
 * Whether the account may pass through every directory on the way to `file` and enter,
 * or execute, `file` itself. Judged by the permission bits.
 */
export async function canReach(file: string, account: Account | undefined): Promise<boolean> {
  if (account === undefined) {
    return true;
  }
  let current = await realpath(file);
  while (await hasExecuteBit(current, account)) {
    const parent = path.dirname(current);
    if (parent === current) {
      return true;
    }
    current = parent;
  }
  return false;
}

async function hasExecuteBit(file: string, account: Account): Promise<boolean> {
  const { mode, uid, gid } = await stat(file);
  const bit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
  return (mode & bit) !== 0;
}
