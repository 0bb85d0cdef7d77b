/**
 * An embedded PostgreSQL in a directory of its own, whose processes a test may stop and
 * kill without harm to any other test.
 */
import { chmod, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isAlive } from "../../../src/store/embedded/process.ts";

/** Makes a DATA_DIR. */
export async function makeTestDataDir(): Promise<string> {
  const dataDir = await mkdtemp(path.join(tmpdir(), "countersign-faults-"));
  // As root, PostgreSQL runs under another account, which has to get in.
  await chmod(dataDir, 0o711);
  return dataDir;
}

/** Ends whatever PostgreSQL still runs on a DATA_DIR, and removes it. */
export async function removeTestDataDir(dataDir: string): Promise<void> {
  const pid = await findPostmaster(dataDir);
  if (pid !== undefined) {
    const family = await processTree(pid);
    for (const member of family) signalIfThere(member, "SIGKILL");
    await Promise.all(family.map(waitUntilGone));
  }
  await rm(dataDir, { recursive: true, force: true });
}

/** The process id of the running postmaster of a DATA_DIR; `undefined` if none runs. */
export async function findPostmaster(dataDir: string): Promise<number | undefined> {
  const file = path.join(dataDir, "postgres", "postmaster.pid");
  const pid = Number.parseInt(await readFile(file, "utf8").catch(() => ""), 10);
  return pid > 0 && (await isAlive(pid)) ? pid : undefined;
}

/** The process id of the postmaster of a DATA_DIR. @throws Error if none runs. */
export async function postmasterOf(dataDir: string): Promise<number> {
  const pid = await findPostmaster(dataDir);
  if (pid === undefined) throw new Error("There is no postmaster.");
  return pid;
}

/** A process and all that descend from it, itself first. */
export async function processTree(root: number): Promise<number[]> {
  const childrenByParent = new Map<number, number[]>();
  for (const name of await readdir("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    // proc(5): the parent is the second field after a name that may hold anything.
    const line = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    const parent = Number(line.slice(line.lastIndexOf(")") + 2).split(" ")[1]);
    childrenByParent.set(parent, [...(childrenByParent.get(parent) ?? []), pid]);
  }
  const tree = [root];
  for (const pid of tree) tree.push(...(childrenByParent.get(pid) ?? []));
  return tree;
}

/** Sends a signal to a process that may have ended meanwhile. */
export function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

const GONE_TIMEOUT_MS = 10_000;

/** Resolves when the process has ended. @throws Error if it does not. */
export async function waitUntilGone(pid: number): Promise<void> {
  const deadlineMs = performance.now() + GONE_TIMEOUT_MS;
  while (await isAlive(pid)) {
    if (performance.now() > deadlineMs) throw new Error(`Process ${pid} does not end.`);
    await sleep(10);
  }
}
