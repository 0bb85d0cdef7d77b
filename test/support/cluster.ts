/**
 * A PostgreSQL of a test's own, with its own settings, that can be stopped, killed, copied,
 * made a standby and promoted without harm to any other test.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { type Account, chooseAccount } from "../../src/store/embedded/account.ts";
import {
  type Binaries,
  findInstallation,
  prepareBinaries,
  readInstallation,
} from "../../src/store/embedded/binaries.ts";
import { createCluster, DATABASE_USER, readPassword } from "../../src/store/embedded/cluster.ts";
import { processTree, signalIfThere, waitUntilGone } from "../faults/support/embedded.ts";
import { findFreePort } from "./freePort.ts";
import { silentLog } from "./postgres.ts";

/** A PostgreSQL of a test's own. */
export interface TestCluster extends AsyncDisposable {
  /** Connects as its superuser. */
  readonly url: string;
  /** Holds its data, and its configuration. */
  readonly dir: string;
  /** Starts it. @param settings on its command line, which outrank all that is set later. */
  start(settings?: Readonly<Record<string, string>>): Promise<void>;
  /** Lets it write down what it has, and ends its sessions. */
  stop(): Promise<void>;
  /** Kills every process of it at once. */
  kill(): Promise<void>;
  /** Makes another of what this one has on disk; it must be stopped. */
  copy(): Promise<TestCluster>;
  /** From its next start, it follows that one. */
  follow(primary: TestCluster): Promise<void>;
}

const START_TIMEOUT_MS = 30_000;

/** Makes a cluster, which is not running yet. */
export async function createTestCluster(): Promise<TestCluster> {
  const home = await makeHome();
  const account = await chooseAccount(undefined);
  const binaries = await prepareTestedBinaries(account, home);
  const dir = await createCluster(home, binaries, account, silentLog);
  return openCluster(home, await realDir(dir));
}

/**
 * The programs to test with: those that this project brings, or those of another version that
 * TEST_POSTGRES_PACKAGE names by its package's directory.
 */
async function prepareTestedBinaries(
  account: Account | undefined,
  copyDir: string,
): Promise<Binaries> {
  const packageDir = process.env.TEST_POSTGRES_PACKAGE;
  const installed = await (packageDir === undefined
    ? findInstallation()
    : readInstallation(packageDir));
  return prepareBinaries(installed, account, copyDir, silentLog);
}

async function realDir(dir: string): Promise<string> {
  const { stdout } = await promisify(execFile)("realpath", [dir]);
  return stdout.trim();
}

async function makeHome(): Promise<string> {
  const home = await mkdtemp(path.join(tmpdir(), "countersign-cluster-"));
  // As root, PostgreSQL runs under another account, which has to get in.
  await chmod(home, 0o711);
  return home;
}

async function openCluster(home: string, dir: string): Promise<TestCluster> {
  const port = await findFreePort();
  const password = await readPassword(dir);
  const url = `postgres://${DATABASE_USER}:${password}@127.0.0.1:${port}/postgres`;
  let server: ChildProcess | undefined;

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const { pid } = server;
    const family = await processTree(pid as number);
    const exit = once(server, "exit");
    if (signal === "SIGKILL") for (const member of family) signalIfThere(member, signal);
    else server.kill(signal);
    await exit;
    await Promise.all(family.map(waitUntilGone));
  }

  return {
    url,
    dir,
    async start(settings = {}) {
      const account = await chooseAccount(dir);
      const binaries = await prepareTestedBinaries(account, home);
      await rm(path.join(dir, "postmaster.pid"), { force: true });
      const options = Object.entries(settings).flatMap(([name, value]) => [
        "-c",
        `${name}=${value}`,
      ]);
      const child = spawn(
        binaries.postgres,
        ["-D", dir, "-k", "", "-h", "127.0.0.1", "-p", String(port), ...options],
        { ...account, cwd: dir, stdio: "ignore" },
      );
      server = child;
      await untilReady(child, dir);
    },
    stop: () => end("SIGINT"),
    kill: () => end("SIGKILL"),
    async copy() {
      const otherHome = await makeHome();
      const otherDir = path.join(otherHome, "postgres");
      // With the owners of the files.
      await promisify(execFile)("cp", ["-a", dir, otherDir]);
      return openCluster(otherHome, otherDir);
    },
    async follow(primary) {
      const { hostname, port: primaryPort, username, password: secret } = new URL(primary.url);
      const conninfo = `host=${hostname} port=${primaryPort} user=${username} password=${secret}`;
      await writeFile(path.join(dir, "standby.signal"), "");
      await appendFile(path.join(dir, "postgresql.conf"), `\nprimary_conninfo = '${conninfo}'\n`);
    },
    async [Symbol.asyncDispose]() {
      await end("SIGKILL");
      await rm(home, { recursive: true, force: true });
    },
  };
}

async function untilReady(server: ChildProcess, dir: string): Promise<void> {
  const deadlineMs = performance.now() + START_TIMEOUT_MS;
  while (server.exitCode === null && performance.now() < deadlineMs) {
    const text = await readFile(path.join(dir, "postmaster.pid"), "utf8").catch(() => "");
    // The eighth line is the state; a standby is ready as soon as it can be read.
    if (/^(ready|standby)/.test(text.split("\n")[7] ?? "")) return;
    await sleep(20);
  }
  throw new Error("PostgreSQL did not start.");
}
