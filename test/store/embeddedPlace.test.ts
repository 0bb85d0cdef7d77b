/**
 * Where the embedded PostgreSQL cannot be: each place and each account is answered at once by a
 * sentence that says what to do, and nothing is left behind.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdir, readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { EmbeddedPostgresError, startEmbeddedPostgres } from "../../src/store/index.ts";
import { silentLog } from "../support/postgres.ts";
import { makeTemporaryDir } from "./temporaryDir.ts";

const EMBEDDED_PROCESS = fileURLToPath(new URL("embeddedProcess.ts", import.meta.url));
const UNPRIVILEGED_UID = 54_321;
const isRoot = process.getuid?.() === 0;
const OWN_NAMESPACE = ["--user", "--map-root-user"];
/** Some containers do not let anybody make one. */
const hasNamespaces = spawnSync("unshare", [...OWN_NAMESPACE, "true"]).status === 0;

async function refusal(dataDir: string): Promise<string> {
  const failure = await startEmbeddedPostgres({ dataDir, log: silentLog }).then(
    () => expect.unreachable("it was started"),
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(EmbeddedPostgresError);
  return (failure as Error).message;
}

describe("a DATA_DIR that cannot hold a database is named, with the reason", () => {
  test("because it is a file, or beneath one", async () => {
    await using dir = await makeTemporaryDir("countersign-place");
    const file = path.join(dir.path, "file");
    await writeFile(file, "mine");
    expect(await refusal(file)).toMatch(`DATA_DIR ${file} cannot hold a database: it is a file`);
    const beneath = path.join(file, "data");
    expect(await refusal(beneath)).toContain(`DATA_DIR ${beneath} cannot hold a database`);
    expect(await readdir(dir.path)).toEqual(["file"]);
  });

  // Asked for a directory there, the recursive call of the system never returns.
  test.runIf(process.platform === "linux").each(["/proc", "/proc/data", "/proc/deep/data"])(
    "because its file system takes no directories: %s",
    async (dataDir) => {
      expect(await refusal(dataDir)).toContain(
        `DATA_DIR ${dataDir} cannot hold a database: its file system takes no directories. Set DATA_DIR`,
      );
    },
  );

  test.runIf(isRoot)("because this account may not write there", async () => {
    await using dir = await makeTemporaryDir("countersign-place", 0o755);
    const answer = await startAs(dir.path, ["--reuid", "nobody", "--clear-groups"], "setpriv");
    expect(answer).toContain(`DATA_DIR ${dir.path} cannot hold a database: this account may not`);
    expect(await readdir(dir.path)).toEqual([]);
  });
});

/** Starts one in a process with other rights. @returns what it says of its failure. */
async function startAs(
  dataDir: string,
  args: readonly string[],
  program: "setpriv" | "unshare",
): Promise<string> {
  const child = spawn(
    `/usr/bin/${program}`,
    [...args, process.execPath, EMBEDDED_PROCESS, dataDir],
    { env: { PATH: process.env.PATH }, stdio: ["ignore", "pipe", "inherit"] },
  );
  const [output] = await Promise.all([text(child.stdout), once(child, "exit")]);
  return String(JSON.parse(output).error);
}

const SENTENCE_FOR_ROOT = "PostgreSQL does not run as root, and this process is root but may not";

describe.runIf(isRoot && existsSync("/usr/bin/setpriv"))("an account that cannot have one", () => {
  test("is told of its missing name", async () => {
    await using dir = await makeTemporaryDir("countersign-place", 0o777);
    const account = ["--reuid", `${UNPRIVILEGED_UID}`, "--clear-groups"];
    const dataDir = path.join(dir.path, "data");
    const answer = await startAs(dataDir, account, "setpriv");
    expect(answer).toContain(`uid ${UNPRIVILEGED_UID} has none in /etc/passwd. Add it there`);
    expect(await readdir(dataDir)).toEqual([]);
  });

  test("is told that it is a root without capabilities", async () => {
    await using dir = await makeTemporaryDir("countersign-place", 0o777);
    const dataDir = path.join(dir.path, "data");
    const rights = ["--bounding-set=-all", "--inh-caps=-all"];
    expect(await startAs(dataDir, rights, "setpriv")).toContain(SENTENCE_FOR_ROOT);
    expect(await readdir(dataDir)).toEqual([]);
  });

  test.runIf(hasNamespaces)("is told that it is a root only within its namespace", async () => {
    await using dir = await makeTemporaryDir("countersign-place", 0o777);
    await chmod(dir.path, 0o777);
    const dataDir = path.join(dir.path, "data");
    await mkdir(dataDir, { mode: 0o777 });
    expect(await startAs(dataDir, OWN_NAMESPACE, "unshare")).toContain(SENTENCE_FOR_ROOT);
    expect(await readdir(dataDir)).toEqual([]);
  });
});
