import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { chooseAccount } from "../../src/store/embedded/account.ts";
import { prepareBinaries } from "../../src/store/embedded/binaries.ts";
import { createCluster, DATABASE_USER, readPassword } from "../../src/store/embedded/cluster.ts";
import { assertSafe, openDatabase, UnsafeDatabaseError } from "../../src/store/index.ts";
import {
  createTestDatabase,
  databaseUrl,
  runOnServer,
  silentLog,
  type TestDatabase,
} from "../support/postgres.ts";
import { makeTemporaryDir } from "./temporaryDir.ts";

/** What assertSafe throws for a database; undefined if it is safe. */
async function check(url: string): Promise<unknown> {
  const database = openDatabase({ url, poolSize: 1, log: silentLog });
  try {
    return await assertSafe(database).catch((error: unknown) => error);
  } finally {
    await database.close();
  }
}

describe("a database on the test server", () => {
  let testDatabase: TestDatabase;
  afterEach(() => testDatabase.drop());

  test("is safe as it is", async () => {
    testDatabase = await createTestDatabase();
    expect(await check(testDatabase.url)).toBeUndefined();
  });

  test.each([
    ["synchronous_commit", "off"],
    ["default_transaction_isolation", "'repeatable read'"],
  ])("is refused with %s = %s", async (name, value) => {
    testDatabase = await createTestDatabase("empty");
    await runOnServer(
      testDatabase.url,
      `ALTER DATABASE ${testDatabase.name} SET ${name} = ${value}`,
    );
    const error = await check(testDatabase.url);
    expect(error).toBeInstanceOf(UnsafeDatabaseError);
    expect(error).toMatchObject({
      problems: [expect.stringMatching(new RegExp(`^${name} is .* set it to .*ALTER DATABASE`))],
    });
  });

  test.each(["local", "remote_write", "remote_apply"])(
    "is safe with synchronous_commit = %s",
    async (value) => {
      testDatabase = await createTestDatabase("empty");
      expect(
        await check(`${testDatabase.url}?options=-c%20synchronous_commit%3D${value}`),
      ).toBeUndefined();
    },
  );

  test("is refused when the connection URL turns synchronous_commit off", async () => {
    testDatabase = await createTestDatabase("empty");
    const error = await check(`${testDatabase.url}?options=-c%20synchronous_commit%3Doff`);
    expect(error).toBeInstanceOf(UnsafeDatabaseError);
  });

  test("is refused with an encoding that cannot hold every text", async () => {
    testDatabase = await createTestDatabase("empty");
    const name = `${testDatabase.name}_ascii`;
    await runOnServer(
      testDatabase.url,
      `CREATE DATABASE ${name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0`,
    );
    const error = await check(databaseUrl(testDatabase.url, name));
    await runOnServer(testDatabase.url, `DROP DATABASE ${name}`);
    expect(error).toMatchObject({
      problems: [expect.stringMatching(/encoding is SQL_ASCII.*ENCODING 'UTF8'/)],
    });
  });
});

test("a server that does not write to disk is refused, with all that is wrong at once", async () => {
  await using dir = await makeTemporaryDir("countersign-unsafe");
  const account = await chooseAccount(undefined);
  const binaries = await prepareBinaries(account, dir.path, silentLog);
  const clusterDir = await createCluster(dir.path, binaries, account, silentLog);
  const url = (port: string) =>
    readPassword(clusterDir).then(
      (password) => `postgres://${DATABASE_USER}:${password}@127.0.0.1:${port}/postgres`,
    );
  const options = [
    "-p",
    String(await findFreePort()),
    "-F",
    "-c",
    "full_page_writes=off",
    "-c",
    "synchronous_commit=off",
  ];
  const server = spawn(
    binaries.postgres,
    ["-D", clusterDir, "-k", "", "-h", "127.0.0.1", ...options],
    { ...account, cwd: clusterDir, stdio: "ignore" },
  );
  try {
    const error = await check(await url(await waitForPort(server, clusterDir)));
    expect(error).toMatchObject({
      name: "UnsafeDatabaseError",
      problems: [
        expect.stringMatching(/^fsync is off.*ALTER SYSTEM SET fsync = on/),
        expect.stringMatching(/^full_page_writes is off.*ALTER SYSTEM SET full_page_writes = on/),
        expect.stringMatching(/^synchronous_commit is off/),
      ],
    });
  } finally {
    server.kill("SIGINT");
    await once(server, "exit");
  }
});

async function findFreePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function waitForPort(server: ChildProcess, clusterDir: string): Promise<string> {
  while (server.exitCode === null) {
    const text = await readFile(path.join(clusterDir, "postmaster.pid"), "utf8").catch(() => "");
    const lines = text.split("\n");
    if (lines[7]?.startsWith("ready")) {
      return lines[3] ?? "";
    }
    await sleep(20);
  }
  throw new Error("PostgreSQL ended");
}
