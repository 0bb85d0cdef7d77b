import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { clientOptionsFromEnv, createSignalClient } from "../../src/client/index.ts";
import { makeTemporaryDir } from "../store/temporaryDir.ts";
import { listen } from "../support/listen.ts";
import { createTestDatabase, runOnServer, type TestDatabase } from "../support/postgres.ts";
import { spawnServer, testServerEnv } from "../support/server.ts";
import { MAIN, type RunResult, run, runProcess, runShell, workspaceOfFile } from "./support/run.ts";

let database: TestDatabase;
const workspace = workspaceOfFile();
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

/** Runs a server that cannot start. @returns its exit code and what it told the person. */
async function refused(env: NodeJS.ProcessEnv) {
  return told(await runProcess(["serve"], { env, cwd: workspace.path }));
}

/** As above, but in this process, for what is wrong before anything is started. */
async function unread(env: NodeJS.ProcessEnv, ...args: readonly string[]) {
  return told(await run(["serve", ...args], { env, cwd: workspace.path }));
}

function told({ code, stderr }: RunResult) {
  expect(stderr).toMatch(/^countersign: [^\n]+\n$/);
  return { code, message: stderr.slice("countersign: ".length, -1) };
}

describe("countersign serve", () => {
  it("ends with 0 when it is told to", async () => {
    const server = await spawnServer(testServerEnv(database.url));
    expect(await server.stop("SIGTERM")).toBe(0);
  });

  it("reads its variables from a file, and those that are set win", async () => {
    const { PORT: _, ...variables } = testServerEnv(database.url, { LOG_LEVEL: "shouting" });
    const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
    const file = await workspace.write("serve.env", `${lines.join("\n")}\n`);
    expect(await unread({}, "--env-file", file)).toEqual({
      code: 2,
      message: expect.stringMatching(/^The configuration is wrong: LOG_LEVEL must be/),
    });
    expect(await unread({ LOG_LEVEL: "loud", PORT: "x" }, "--env-file", file)).toEqual({
      code: 2,
      message: expect.stringMatching(/: PORT must be .*; LOG_LEVEL must be/),
    });
  });

  it("says so if the file is not there", async () => {
    expect(await unread({}, "--env-file", "nowhere.env")).toEqual({
      code: 2,
      message: "--env-file nowhere.env cannot be read: there is no such file.",
    });
    // Node.js looks for --env-file among the options of a script too, and ends by itself if
    // there is no such file. After -- it does not, so package.json has it.
    const bare = await runShell('node "$MAIN" serve --env-file nowhere.env', { env: { MAIN } });
    expect([bare.code, bare.stderr]).toEqual([9, "node: nowhere.env: not found\n"]);
    const { default: manifest } = await import("../../package.json", { with: { type: "json" } });
    expect(manifest.scripts.start).toMatch(/^node .*-- bin\/countersign\.js serve$/);
    expect(manifest.scripts.countersign).toBe("node -- bin/countersign.js");
  });

  it("ends with 1 if the port is in use, and says how to take another", async () => {
    await using occupant = await listen(createServer());
    const { port } = occupant;
    expect(await refused(testServerEnv(database.url, { PORT: `${port}` }))).toEqual({
      code: 1,
      message: `Port ${port} on 127.0.0.1 is in use. Stop the program that has it, or set PORT to another one.`,
    });
  });

  it("ends with 1 if the operations port cannot be had, and names its variables", async () => {
    await using occupant = await listen(createServer());
    const { port } = occupant;
    for (const WORKERS of ["1", "2"]) {
      const env = testServerEnv(database.url, { OPS_PORT: `${port}`, WORKERS });
      expect(await refused(env)).toEqual({
        code: 1,
        message: `Port ${port} on 127.0.0.1 is in use. Stop the program that has it, or set OPS_PORT to another one.`,
      });
    }
    // An address of nobody (RFC 5737).
    const OPS_HOST = "192.0.2.1";
    const ALLOW_CLEARTEXT = "true";
    const env = testServerEnv(database.url, { OPS_PORT: "0", OPS_HOST, ALLOW_CLEARTEXT });
    expect(await refused(env)).toEqual({
      code: 1,
      message: `OPS_HOST ${OPS_HOST} is not an address of this machine (EADDRNOTAVAIL). Set another.`,
    });
  });

  it("ends with 1 if the database is another program's, and says what to do", async () => {
    const foreign = await createTestDatabase("empty");
    await runOnServer(foreign.url, "CREATE TABLE signals (id integer)");
    const { code, message } = await refused(testServerEnv(foreign.url));
    expect(code).toBe(1);
    expect(message).toContain("table signals. Nothing was changed. Give Countersign a schema");
    await foreign.drop();
  });

  it("ends with 1 if the database would lose signals, and says how to fix it", async () => {
    const unsafe = await createTestDatabase();
    await runOnServer(unsafe.url, `ALTER DATABASE ${unsafe.name} SET synchronous_commit = off`);
    const { code, message } = await refused(testServerEnv(unsafe.url));
    expect(code).toBe(1);
    expect(message).toContain("synchronous_commit is off");
    expect(message).toContain("set it to on");
    await unsafe.drop();
  });

  it("ends with 3 if the database cannot be reached", async () => {
    const { code, message } = await refused(testServerEnv("postgres://someone:hush@127.0.0.1:1/x"));
    expect(code).toBe(3);
    expect(message).toContain("DATABASE_URL");
    expect(message).not.toContain("hush");
  });

  it("ends with 1 if the database takes no such password, and says what to correct", async () => {
    const url = new URL(database.url);
    url.password = "hush";
    const { code, message } = await refused(testServerEnv(url.href));
    expect(code).toBe(1);
    expect(message).toMatch(/authentication failed .*Correct the user or the password in/);
    expect(message).not.toContain("hush");
  });

  it("ends with 2 if a TLS file is wrong, before anything is touched", async () => {
    const missing = join(workspace.path, "missing.pem");
    const { code, message } = await refused(
      testServerEnv("postgres://127.0.0.1:1/x", { TLS_CERT_FILE: missing, TLS_KEY_FILE: missing }),
    );
    expect(code).toBe(2);
    expect(message).toContain(`TLS_CERT_FILE ${missing} cannot be read: there is no such file`);
  });
});

it("gives a producer a URL that its client takes, also where it listens on all addresses", async () => {
  await using folder = await makeTemporaryDir("countersign-serve");
  const env = { DATA_DIR: folder.path, PORT: "0", OPS_PORT: "off" };
  const server = await spawnServer({ ...env, HOST: "0.0.0.0", ALLOW_CLEARTEXT: "true" });
  const credentials = parseEnv(await readFile(join(folder.path, "producer.env"), "utf8"));
  expect(credentials.OUTBOUND_SERVER_URL).toBe(`http://127.0.0.1:${server.port}`);
  await using client = createSignalClient(clientOptionsFromEnv(credentials));
  const signal = { instrument: "GOLD", side: "buy", entryPrice: 1950.5 } as const;
  expect((await client.ingest(signal)).outcome).toBe("stored");
  expect(await server.stop()).toBe(0);
});
