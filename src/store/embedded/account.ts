/**
 * The operating system's account that the embedded PostgreSQL runs under, and how its
 * programs are run under it.
 *
 * PostgreSQL refuses to run as root. So when this process is root, as in most containers,
 * PostgreSQL is started under an account without privileges, which must then be able to
 * reach its files.
 */
import { spawn } from "node:child_process";
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

/** The embedded PostgreSQL cannot be made, started or stopped. The message says why. */
export class EmbeddedPostgresError extends Error {
  override readonly name = "EmbeddedPostgresError";
}

/**
 * What PostgreSQL's programs see of the environment: nothing of ours, so that no PGDATA or
 * locale of the user changes what they do.
 */
export const PROGRAM_ENVIRONMENT = { LC_ALL: "C", TZ: "UTC" } as const;

/** Of what a program said no more than this is told, in characters. */
const OUTPUT_MAX_LENGTH = 2_000;

/** Of what a program said the lines that tell what failed, between those that tell of progress. */
function telling(output: string): string {
  const lines = output.trim().split("\n");
  const faults = lines.filter((line) => /error|fatal|panic|hint|could not|failed/i.test(line));
  return (faults.length > 0 ? faults : lines).join("\n").slice(-OUTPUT_MAX_LENGTH);
}

/** What initdb says of an account that no entry of /etc/passwd names. */
const NAMELESS_ACCOUNT = /could not look up effective user ID (\d+)/;

/** Whether the system did not let this process act for, or give files to, another account. */
export function isDeniedAccount(error: unknown): boolean {
  // EINVAL is what a user namespace says of an account that it does not have.
  return ["EPERM", "EINVAL"].includes((error as NodeJS.ErrnoException).code ?? "");
}

/** The error of a root that may not do what root does, as in some containers. */
export function deniedAccount(cause: unknown): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    `PostgreSQL does not run as root, and this process is root but may not start it under another account (${(cause as Error).message}). ` +
      "Run this program under an ordinary account, give it the capabilities CHOWN, SETUID and SETGID, or set DATABASE_URL to use another PostgreSQL.",
    { cause },
  );
}

/** Why one of PostgreSQL's programs could not be started. */
export function startFailure(
  program: string,
  account: Account | undefined,
  cause: unknown,
): EmbeddedPostgresError {
  if (account !== undefined && isDeniedAccount(cause)) return deniedAccount(cause);
  const { message } = cause as Error;
  return new EmbeddedPostgresError(`${program} cannot be started: ${message}`, { cause });
}

/** @throws EmbeddedPostgresError with the end of what the program said, if it failed. */
export async function runProgram(
  program: string,
  args: readonly string[],
  account: Account | undefined,
  timeoutMs: number,
): Promise<void> {
  const { code, output } = await new Promise<{ code: number | string; output: string }>(
    (resolve, reject) => {
      const child = spawn(program, args, {
        ...account,
        env: PROGRAM_ENVIRONMENT,
        // The current directory may be closed to that account.
        cwd: path.parse(program).root,
        stdio: ["ignore", "pipe", "pipe"],
        timeout: timeoutMs,
        killSignal: "SIGKILL",
      });
      let said = "";
      child.stdout.on("data", (chunk) => {
        said += chunk;
      });
      child.stderr.on("data", (chunk) => {
        said += chunk;
      });
      child.once("error", reject);
      child.once("close", (exitCode, signal) =>
        resolve({ code: exitCode ?? signal ?? "unknown", output: said }),
      );
    },
  ).catch((error: unknown) => {
    throw startFailure(program, account, error);
  });
  const nameless = NAMELESS_ACCOUNT.exec(output);
  if (code !== 0 && nameless) {
    throw new EmbeddedPostgresError(
      `PostgreSQL does not run under an account without a name, and uid ${nameless[1]} has none in /etc/passwd. ` +
        "Add it there, run under an account that has a name, or set DATABASE_URL to use another PostgreSQL.",
    );
  }
  if (code !== 0) {
    throw new EmbeddedPostgresError(
      `${path.basename(program)} failed (${code}): ${telling(output)}`,
    );
  }
}
