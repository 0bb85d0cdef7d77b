/**
 * What a process id stands for.
 *
 * A number in a file outlives its process: the process may be gone, may be a zombie that
 * its parent never buried (in a container without an init, for ever), or its number may
 * have gone to something else.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
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
  return process.platform === "win32" || (await readCommandLine(pid)).includes(clusterDir);
}

/** The third field of `/proc/<pid>/stat` (proc(5)), after a name that may hold anything. */
async function readLinuxState(pid: number): Promise<string | undefined> {
  const line = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "Z");
  return line.slice(line.lastIndexOf(")") + 1).trimStart()[0];
}

async function readCommandLine(pid: number): Promise<string> {
  if (process.platform === "linux") {
    return readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  }
  const ps = promisify(execFile)("/bin/ps", ["-ww", "-o", "args=", "-p", String(pid)]);
  return ps.then(
    ({ stdout }) => stdout,
    () => "",
  );
}
