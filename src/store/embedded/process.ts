/**
 * What a process id stands for.
 *
 * A number in a file outlives its process: the process may be gone, may be a zombie that
 * its parent never waited for (in a container without an init, for ever), or its number may
 * have gone to something else.
 */
import { execFile } from "node:child_process";
import { readFile, realpath } from "node:fs/promises";
import { promisify } from "node:util";

/** Whether the process runs. A zombie does not. */
export async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it is there, and another account's.
    if ((error as NodeJS.ErrnoException).code !== "EPERM") {
      return false;
    }
  }
  return process.platform !== "linux" || (await readLinuxState(pid)) !== "Z";
}

/**
 * Whether the process is a PostgreSQL that serves the directory, given by its real path.
 * Its command line tells: others may read that, while root in a container may not read
 * the working directory of another account's process.
 */
export async function servesCluster(pid: number, clusterDir: string): Promise<boolean> {
  if (!(await isAlive(pid))) {
    return false;
  }
  if (process.platform === "win32") {
    return true;
  }
  if (process.platform === "linux") {
    const served = findDataDir(await readArguments(pid));
    // Whoever started it by hand may have come by a symbolic link or with a slash at the end.
    return served !== undefined && (await realpath(served).catch(() => served)) === clusterDir;
  }
  // Here the arguments have spaces between them; the directory ends where an option begins.
  return `${await readJoinedArguments(pid)} -`.includes(` -D ${clusterDir} -`);
}

/** PostgreSQL takes its directory as `-D <dir>` or `-D<dir>`. */
function findDataDir(args: readonly string[]): string | undefined {
  const index = args.findIndex((arg) => arg.startsWith("-D"));
  return index < 0 ? undefined : args[index]?.slice("-D".length) || args[index + 1];
}

/** The third field of `/proc/<pid>/stat` (proc(5)), after a name that may hold anything. */
async function readLinuxState(pid: number): Promise<string | undefined> {
  const line = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "Z");
  return line.slice(line.lastIndexOf(")") + 1).trimStart()[0];
}

/** Each ends with a NUL (proc(5)). */
async function readArguments(pid: number): Promise<string[]> {
  const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return line.split("\0");
}

async function readJoinedArguments(pid: number): Promise<string> {
  const ps = promisify(execFile)("/bin/ps", ["-ww", "-o", "args=", "-p", String(pid)]);
  return ps.then(
    ({ stdout }) => stdout.trimEnd(),
    () => "",
  );
}
