import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { jsonLines, run, runProcess } from "./support/run.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase("empty");
});
afterAll(() => database.drop());

function migrate(...args: string[]) {
  return run(["migrate", ...args], { env: { DATABASE_URL: database.url } });
}

/** The names of the migrations that are applied, as the database has them. */
async function applied(): Promise<string[]> {
  const sql = postgres(database.url, { max: 1, onnotice: () => {} });
  try {
    const rows = await sql`SELECT name FROM countersign_migrations ORDER BY name`;
    return rows.map(({ name }) => name);
  } finally {
    await sql.end();
  }
}

describe("countersign migrate", () => {
  it("goes up, shows what is applied, and goes down again", async () => {
    const pending = jsonLines((await migrate("status", "--json")).stdout);
    const names = pending.map(({ name }) => String(name));
    expect(names.slice(0, 2)).toEqual(["0001_producers", "0002_signals"]);
    expect(pending[0]).toEqual({ name: "0001_producers", applied_at: null });
    const last = names.at(-1);

    const env = { DATABASE_URL: database.url };
    expect(await runProcess(["migrate", "up"], { env })).toEqual({
      code: 0,
      stdout: names.map((name) => `applied ${name}\n`).join(""),
      stderr: "",
    });
    expect(await applied()).toEqual(names);
    expect((await migrate("up")).stdout).toBe("Nothing to do: all migrations are applied.\n");

    expect(await migrate("down", "--yes")).toEqual({
      code: 0,
      stdout: `reverted ${last}\n`,
      stderr: "",
    });
    const table = await migrate("status");
    expect(table.code).toBe(0);
    expect(table.stdout).toMatch(/^MIGRATION +APPLIED\n0001_producers +20\d\d-[^ ]+Z\n/);
    expect(table.stdout).toMatch(new RegExp(`\n${last} +pending\n$`));
    const narrow = await run(["migrate", "status"], { env, columns: 30 });
    expect(narrow.stdout).toMatch(/^MIGRATION {2}0001_producers\nAPPLIED {4}20/);

    const rest = await migrate("down", "--to", "0001_producers", "--yes", "--json");
    expect(rest.code).toBe(0);
    expect(jsonLines(rest.stdout)).toEqual(
      names
        .slice(0, -1)
        .reverse()
        .map((name) => ({ name, change: "reverted" })),
    );
    expect(await applied()).toEqual([]);
    expect((await migrate("down", "--yes")).stdout).toContain("Nothing to do");
  });

  it("deletes nothing without --yes, and says what it would", async () => {
    await migrate("up");
    const before = await applied();
    const { code, stdout, stderr } = await migrate("down", "--to", "0002_signals");
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/would revert .*0002_signals and delete the data in it\. Add --yes/);
    expect(await applied()).toEqual(before);
  });

  it("ends with 2 if the migration to go back to is not applied", async () => {
    const { code, stderr } = await migrate("down", "--to", "0815_nothing", "--yes");
    expect(code).toBe(2);
    expect(stderr).toContain(
      "0815_nothing is not an applied migration. Applied are: 0001_producers",
    );
  });

  it("ends with 2 rather than make a database only to look at it", async () => {
    const { code, stderr } = await run(["migrate", "status"], {
      env: { DATA_DIR: "/nonexistent/x" },
    });
    expect(code).toBe(2);
    expect(stderr).toBe(
      "countersign: There is no database under /nonexistent/x. Set DATABASE_URL or DATA_DIR.\n",
    );
  });

  it.each([
    ["the database cannot be reached", 3, "", "ECONNREFUSED"],
    ["the URL is wrong", 2, "?channel_binding=require", "DATABASE_URL has channel_binding"],
    [
      "a file of the URL cannot be read",
      2,
      "?sslmode=verify-full&sslrootcert=/nonexistent/ca.pem",
      "which cannot be read (ENOENT)",
    ],
  ])("says in one line that %s, without its password", async (_, code, query, message) => {
    const env = { DATABASE_URL: `postgres://someone:hush@127.0.0.1:1/x${query}` };
    const result = await run(["migrate", "up"], { env });
    expect(result).toEqual({ code, stdout: "", stderr: expect.stringContaining(message) });
    expect(result.stderr).toMatch(/^countersign: [^\n]*\n$/);
    expect(result.stderr).not.toContain("hush");
  });

  it("ends with 1 if the database refuses, and says what to correct", async () => {
    const url = new URL(database.url);
    url.pathname = "/no_such_database";
    const { code, stderr } = await run(["migrate", "up"], { env: { DATABASE_URL: url.href } });
    expect(code).toBe(1);
    expect(stderr).toContain('"no_such_database" does not exist. Create the database, or correct');
    expect(stderr).not.toContain(url.password);
  });
});
