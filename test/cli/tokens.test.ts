/** The commands that administer tokens, against a real server. */
import { readFile, stat } from "node:fs/promises";
import path from "node:path";
import { parseEnv } from "node:util";
import postgres from "postgres";
import { describe, expect, it, onTestFinished } from "vitest";
import { createTestDatabase } from "../support/postgres.ts";
import { adminServerOfFile, runJson } from "./support/adminServer.ts";
import { jsonLines, type RunResult, run, workspaceOfFile } from "./support/run.ts";

const admin = adminServerOfFile();
const workspace = workspaceOfFile();
const TOKEN = /cs_tok_\w+/;

function tokens(...args: string[]): Promise<RunResult> {
  return run(["tokens", ...args], { env: admin.env, cwd: workspace.path });
}

/** Makes a token. @returns its id, and an environment with it. */
async function createToken(...args: string[]) {
  const [made] = await runJson(["tokens", "create", ...args], { env: admin.env });
  const { token, info } = made as { token: string; info: { token_id: string } };
  return { tokenId: info.token_id, env: { ...admin.env, COUNTERSIGN_TOKEN: token } };
}

describe("create", () => {
  it("writes all that its owner needs to a file, and shows it nowhere", async () => {
    const made = await tokens(
      ...["create", "--name", "alice", "--scope", "read,admin", "--expires", "90d"],
      ...["--env-file", "alice.env"],
    );
    expect([made.code, made.stdout]).toEqual([0, ""]);
    expect(made.stderr).toMatch(
      /^countersign: alice\.env has the token \w{12} for alice: [^\n]+\n$/,
    );
    const file = path.join(workspace.path, "alice.env");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(parseEnv(await readFile(file, "utf8"))).toEqual({
      ...admin.env,
      COUNTERSIGN_TOKEN: expect.stringMatching(TOKEN),
    });
    const listed = await run(["tokens", "list", "--admin-env-file", file]);
    expect(listed.code).toBe(0);
    expect(listed.stdout).toMatch(
      /^\w{12} +alice +read,admin +all +live +\d+ s ago +in (90|89) d +(never|\d+ s ago)$/m,
    );
    expect(listed.stdout).not.toMatch(TOKEN);
  });

  it("prints it once where there is no file", async () => {
    const { code, stdout, stderr } = await tokens("create", "--name", "bob", "--scope", "review");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^COUNTERSIGN_TOKEN=cs_tok_\w+\nCOUNTERSIGN_URL=\S+\nCOUNTERSIGN_OPS_U/);
    expect(stderr).toContain("is shown this once");
  });

  it("gives the API's names as JSON, and tells of producers that are not there", async () => {
    const args = ["create", "--name", "desk", "--scope", "admin", "--producer", "tets-bot,new-bot"];
    const expires = ["--expires", "2099-01-01T00:00:00Z"];
    const { code, stdout, stderr } = await tokens(...args, ...expires, "--json");
    expect(code).toBe(0);
    expect(jsonLines(stdout)).toEqual([
      {
        token: expect.stringMatching(TOKEN),
        info: {
          token_id: expect.any(String),
          name: "desk",
          scopes: ["admin"],
          producer_ids: ["tets-bot", "new-bot"],
          create_time: expect.any(String),
          expire_time: "2099-01-01T00:00:00Z",
        },
      },
    ]);
    expect(stderr).toContain("there is no producer tets-bot yet (did you mean test-bot?)\n");
    expect(stderr).toContain("there is no producer new-bot yet\n");
  });

  it("names every option that is wrong, as the server judges them", async () => {
    const args = ["--name", " x", "--scope", "read", "--expires", "0", "--producer", ".a"];
    const { code, stdout, stderr } = await tokens("create", ...args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(
      /^countersign: --name must .*; --producer must .*; --expires must be in/,
    );
  });
});

describe("a token", () => {
  it("without the scope admin may do nothing here", async () => {
    const { tokenId, env } = await createToken("--name", "reader", "--scope", "read,review");
    for (const args of [
      ["producers", "list"],
      ["producers", "disable", "test-bot"],
      ["tokens", "list"],
      ["audit", "list"],
    ]) {
      const { code, stdout, stderr } = await run(args, { env });
      expect([code, stdout]).toEqual([1, ""]);
      expect(stderr).toContain(`The token ${tokenId} may not do this.`);
    }
  });

  it("with a list of producers sees nothing else, and makes none that sees more", async () => {
    const { env } = await createToken("--name", "desk", "--scope", "admin", "--producer", "a,b");
    await runJson(["producers", "create", "a"], { env });
    const listed = await runJson(["producers", "list"], { env });
    expect(listed.map(({ producer_id: id }) => id)).toEqual(["a"]);
    const outside = await run(["producers", "create", "c"], { env });
    expect([outside.code, outside.stderr]).toEqual([
      1,
      "countersign: This token may not make c, which is not in its list of producers.\n",
    ]);
    const unseen = await run(["producers", "show", "test-bot"], { env });
    expect([unseen.code, unseen.stderr]).toEqual([
      1,
      "countersign: There is no producer test-bot that this token may see.\n",
    ]);
    const more = await run(["tokens", "create", "--name", "x", "--scope", "read"], { env });
    expect([more.code, more.stderr]).toEqual([
      2,
      expect.stringContaining("--producer must be amo"),
    ]);
  });

  it("that is revoked is taken no more, and says nothing of why", async () => {
    const { tokenId, env } = await createToken("--name", "gone", "--scope", "admin");
    expect((await tokens("revoke", tokenId, "--yes")).stdout).toBe(`${tokenId}: revoked (gone)\n`);
    const { code, stdout, stderr } = await run(["producers", "list"], { env });
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toBe(
      `countersign: The server at ${admin.env.COUNTERSIGN_OPS_URL} does not take the token ${tokenId}: ` +
        "it is another server's, or was revoked, or has expired. Set COUNTERSIGN_TOKEN to one that is live.\n",
    );
  });

  it("at the public port is told where these services are", async () => {
    const { COUNTERSIGN_URL = "", COUNTERSIGN_TOKEN = "" } = admin.env;
    for (const env of [
      { COUNTERSIGN_URL, COUNTERSIGN_TOKEN },
      { COUNTERSIGN_OPS_URL: COUNTERSIGN_URL, COUNTERSIGN_TOKEN },
    ]) {
      const { code, stdout, stderr } = await run(["tokens", "list"], { env });
      expect([code, stdout]).toEqual([1, ""]);
      expect(stderr).toContain(
        "these commands go to the operations port of a server. Set COUNTERS",
      );
    }
  });
});

describe("revoke", () => {
  it("asks, and tells what the token is and that it is done", async () => {
    const { tokenId } = await createToken("--name", "carol", "--scope", "read");
    const asked = await tokens("revoke", tokenId);
    expect(asked).toEqual({
      code: 2,
      stdout: "",
      stderr: `countersign: This ends the token ${tokenId} of carol (read) at once. Add --yes to do it.\n`,
    });
    const [revoked] = await runJson(["tokens", "revoke", tokenId, "--yes"], { env: admin.env });
    expect(revoked).toMatchObject({ name: "carol", revoke_time: expect.any(String) });
    // Nothing is left to ask about.
    expect(await tokens("revoke", tokenId)).toMatchObject({ code: 0, stderr: "" });
    expect((await tokens("list")).stdout).toMatch(/^\w+ +carol +read +all +revoked /m);
  });

  it("leads from a name to the id", async () => {
    const { tokenId } = await createToken("--name", "dave", "--scope", "read");
    const { code, stderr } = await tokens("revoke", "dave", "--yes");
    expect(code).toBe(1);
    expect(stderr).toContain(
      `There is no token dave that this token may see (tokens of that name: ${tokenId}).`,
    );
  });

  it("warns of the end of the token in use, and of the last that may do everything", async () => {
    const own = await createToken("--name", "me", "--scope", "admin", "--producer", "a");
    const mine = await run(["tokens", "revoke", own.tokenId, "--yes"], { env: own.env });
    expect([mine.code, mine.stderr]).toEqual([
      0,
      expect.stringContaining("It is the one that you are using."),
    ]);
    const listed = await runJson(["tokens", "list"], { env: admin.env });
    const first = listed.find(({ token_id: id }) => admin.token.includes(String(id)));
    const others = listed.filter(
      (each) =>
        each !== first &&
        each.revoke_time === undefined &&
        (each.producer_ids as string[]).length === 0 &&
        (each.scopes as string[]).includes("admin"),
    );
    for (const { token_id: id } of others) await tokens("revoke", String(id), "--yes");
    const { code, stderr } = await tokens("revoke", String(first?.token_id));
    expect(code).toBe(2);
    expect(stderr).toContain(
      "It is the one that you are using. It is the last one that administers",
    );
  });
});

describe("bootstrap", () => {
  /** A database that no server has used yet. */
  async function migratedDatabase() {
    const database = await createTestDatabase();
    onTestFinished(() => database.drop());
    return { env: { DATABASE_URL: database.url }, url: database.url };
  }

  it("makes the first token, another only if forced, and leaves a record of both", async () => {
    const { env, url } = await migratedDatabase();
    const file = path.join(workspace.path, "first.env");
    const made = await run(["tokens", "bootstrap", "--env-file", file], { env });
    expect([made.code, made.stdout]).toEqual([0, ""]);
    expect(await readFile(file, "utf8")).toMatch(
      /^COUNTERSIGN_TOKEN=cs_tok_\w+\n# COUNTERSIGN_URL=\n# COUNTERSIGN_OPS_URL=\n$/,
    );
    const second = path.join(workspace.path, "second.env");
    const refused = await run(["tokens", "bootstrap", "--env-file", second], { env });
    expect([refused.code, refused.stdout]).toEqual([1, ""]);
    expect(refused.stderr).toContain("There is a live token already that may do everything");
    await expect(stat(second)).rejects.toThrow("ENOENT");
    const asked = await run(["tokens", "bootstrap", "--force"], { env });
    expect([asked.code, asked.stderr]).toEqual([2, expect.stringContaining("Add --yes to do it.")]);
    const forced = await run(["tokens", "bootstrap", "--force", "--yes", "--json"], { env });
    expect(jsonLines(forced.stdout)).toEqual([
      { token: expect.stringMatching(TOKEN), token_id: expect.any(String) },
    ]);
    const sql = postgres(url, { max: 1 });
    onTestFinished(() => sql.end());
    const entries = await sql`SELECT actor_token_id, actor_name, action FROM audit_log`;
    expect(entries).toHaveLength(2);
    for (const entry of entries) {
      expect(entry).toEqual({
        actor_token_id: null,
        actor_name: "countersign tokens bootstrap",
        action: "token.bootstrap",
      });
    }
  });

  it("says what to do on a database without the schema, and without a database", async () => {
    const database = await createTestDatabase("empty");
    onTestFinished(() => database.drop());
    const empty = await run(["tokens", "bootstrap"], { env: { DATABASE_URL: database.url } });
    expect([empty.code, empty.stdout]).toEqual([1, ""]);
    expect(empty.stderr).toContain('run "countersign migrate up"');
    const DATA_DIR = path.join(workspace.path, "nothing");
    const none = await run(["tokens", "bootstrap"], { env: { DATA_DIR } });
    expect([none.code, none.stderr]).toEqual([
      2,
      expect.stringContaining("There is no database under"),
    ]);
  });
});
