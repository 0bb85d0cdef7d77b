/** A PostgreSQL of a test's own, with a Unix-domain socket and settings of its choice. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { chooseAccount } from "../../../src/store/embedded/account.ts";
import { prepareBinaries } from "../../../src/store/embedded/binaries.ts";
import { createCluster, DATABASE_USER, readPassword } from "../../../src/store/embedded/cluster.ts";
import { findFreePort } from "../../support/freePort.ts";
import { runOnServer, silentLog } from "../../support/postgres.ts";
import { makeTemporaryDir } from "../temporaryDir.ts";

export interface OwnPostgres extends AsyncDisposable {
  readonly user: string;
  readonly password: string;
  readonly port: number;
  /** The directory of its Unix-domain socket. */
  readonly socketDir: string;
  /** Runs one statement as its superuser. */
  run(statement: string): Promise<void>;
  /** Ends it at once. */
  kill(): Promise<void>;
}

export interface OwnPostgresOptions {
  readonly settings?: Readonly<Record<string, string>>;
  /** The lines of pg_hba.conf. */
  readonly hba?: readonly string[];
}

const DEFAULT_HBA = ["local all all scram-sha-256", "host all all all scram-sha-256"];

/** Starts it on 127.0.0.1 and, where there is IPv6, on ::1. */
export async function startOwnPostgres({
  settings = {},
  hba = DEFAULT_HBA,
}: OwnPostgresOptions = {}): Promise<OwnPostgres> {
  const dir = await makeTemporaryDir("countersign-own-postgres");
  const account = await chooseAccount(undefined);
  const binaries = await prepareBinaries(account, dir.path, silentLog);
  const clusterDir = await createCluster(dir.path, binaries, account, silentLog);
  const socketDir = path.join(dir.path, "socket");
  await mkdir(socketDir);
  await chmod(socketDir, 0o777);
  await writeFile(path.join(clusterDir, "pg_hba.conf"), `${hba.join("\n")}\n`);
  const port = await findFreePort();
  const all = {
    listen_addresses: "127.0.0.1,::1",
    unix_socket_directories: socketDir,
    ...settings,
  };
  const server = spawn(
    binaries.postgres,
    [
      ...["-D", clusterDir, "-p", String(port)],
      ...Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
    ],
    { ...account, cwd: clusterDir, stdio: "ignore" },
  );
  const kill = async () => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    server.kill("SIGQUIT");
    await once(server, "exit");
  };
  const password = await readPassword(clusterDir);
  await waitUntilReady(server, clusterDir);
  const url = `postgres://${DATABASE_USER}:${password}@127.0.0.1:${port}/postgres?sslmode=prefer`;
  return {
    user: DATABASE_USER,
    password,
    port,
    socketDir,
    run: (statement) => runOnServer(url, statement),
    kill,
    async [Symbol.asyncDispose]() {
      await kill();
      await dir[Symbol.asyncDispose]();
    },
  };
}

async function waitUntilReady(server: ChildProcess, clusterDir: string): Promise<void> {
  while (server.exitCode === null) {
    const text = await readFile(path.join(clusterDir, "postmaster.pid"), "utf8").catch(() => "");
    if (text.split("\n")[7]?.startsWith("ready")) return;
    await sleep(20);
  }
  throw new Error(`PostgreSQL ended with ${server.exitCode}`);
}
