/** A PgBouncer before a database, if this machine has the program. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmod, chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { findFreePort } from "./freePort.ts";

const PROGRAM = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/opt/homebrew/bin/pgbouncer"].find(
  (file) => spawnSync(file, ["--version"]).status === 0,
);

/** Why there is none here; `undefined` if there is one. */
export const NO_PGBOUNCER =
  PROGRAM === undefined ? "PgBouncer is not installed: apt-get install pgbouncer" : undefined;

const START_TIMEOUT_MS = 10_000;

/** A PgBouncer that runs. */
export interface TestPgBouncer {
  /** The same database by way of it. */
  readonly url: string;
  close(): Promise<void>;
}

/** Starts one. @param settings lines of its section `[pgbouncer]`. */
export async function startPgBouncer(
  databaseUrl: string,
  settings: Readonly<Record<string, string>>,
): Promise<TestPgBouncer> {
  if (PROGRAM === undefined) throw new Error(NO_PGBOUNCER);
  const target = new URL(databaseUrl);
  const dir = await mkdtemp(path.join(tmpdir(), "countersign-pgbouncer-"));
  const port = await findFreePort();
  const name = target.pathname.slice(1);
  const password = decodeURIComponent(target.password);
  const users = path.join(dir, "users.txt");
  await writeFile(users, `"${target.username}" "${password}"\n`);
  const lines = {
    listen_addr: "127.0.0.1",
    listen_port: String(port),
    unix_socket_dir: "",
    auth_type: "plain",
    auth_file: users,
    ...settings,
  };
  const file = path.join(dir, "pgbouncer.ini");
  await writeFile(
    file,
    [
      "[databases]",
      `${name} = host=${target.hostname} port=${target.port} dbname=${name}`,
      "[pgbouncer]",
      ...Object.entries(lines).map(([key, value]) => `${key} = ${value}`),
      "",
    ].join("\n"),
  );
  // As root it refuses to run.
  const account = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : undefined;
  await chmod(dir, 0o711);
  for (const one of [users, file]) {
    if (account) await chown(one, account.uid, account.gid);
  }
  const child = spawn(PROGRAM, [file], { ...account, stdio: ["ignore", "ignore", "pipe"] });
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString("utf8");
  });
  await untilListening(child, port, () => errors);
  const url = new URL(databaseUrl);
  url.port = String(port);
  url.hostname = "127.0.0.1";
  return {
    url: url.href,
    async close() {
      if (child.exitCode === null && child.signalCode === null) {
        const exit = once(child, "exit");
        child.kill("SIGKILL");
        await exit;
      }
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function untilListening(
  child: ChildProcess,
  port: number,
  errors: () => string,
): Promise<void> {
  const deadlineMs = performance.now() + START_TIMEOUT_MS;
  while (child.exitCode === null && performance.now() < deadlineMs) {
    const socket = net.connect(port, "127.0.0.1");
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    });
    socket.destroy();
    if (isOpen) return;
    await sleep(20);
  }
  throw new Error(`PgBouncer did not start: ${errors()}`);
}
