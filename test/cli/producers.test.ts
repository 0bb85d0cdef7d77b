/** The commands that administer producers, against a real server. */
import { existsSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import path from "node:path";
import { parseEnv } from "node:util";
import { describe, expect, it, onTestFinished } from "vitest";
import { adminServerOfFile, runJson } from "./support/adminServer.ts";
import { type RunResult, run, workspaceOfFile } from "./support/run.ts";

const admin = adminServerOfFile();
const workspace = workspaceOfFile();
const SECRET = /cs_sec_\w+/;

let count = 0;
/** A name that no other test has. */
function newName(): string {
  count += 1;
  return `bot-${count}`;
}

/** Runs a command as somebody who may do everything. */
function producers(...args: string[]): Promise<RunResult> {
  return run(["producers", ...args], { env: admin.env, cwd: workspace.path });
}

async function producersJson(...args: string[]): Promise<Record<string, unknown>> {
  const [first = {}] = await runJson(["producers", ...args], { env: admin.env });
  return first;
}

/** Sends a signal with what a file has. */
function sendAs(envFile: string): Promise<RunResult> {
  const signal = ["--instrument", "GOLD", "--side", "buy", "--entry-price", "1950.5"];
  return run(["send", ...signal, "--retries", "0", "--env-file", envFile], {
    cwd: workspace.path,
    // Nothing of the environment of whoever administers.
    env: {},
  });
}

describe("create", () => {
  it("writes all that a bot needs to a file for its owner, and shows it nowhere", async () => {
    const name = newName();
    const made = await producers("create", name, "--env-file", `${name}.env`);
    expect([made.code, made.stdout]).toEqual([0, ""]);
    expect(made.stderr).toBe(
      `countersign: ${name}.env has what ${name} needs: "countersign send --env-file ${name}.env" sends as it\n`,
    );
    const file = path.join(workspace.path, `${name}.env`);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(parseEnv(await readFile(file, "utf8"))).toEqual({
      PRODUCER_ID: name,
      HMAC_PRODUCER_SECRET: expect.stringMatching(SECRET),
      OUTBOUND_SERVER_URL: admin.server.url,
    });
    expect(await sendAs(file)).toMatchObject({ code: 0, stdout: expect.stringMatching("stored") });
  });

  it("prints the secret once where there is no file, and no other command does", async () => {
    const name = newName();
    const { code, stdout, stderr } = await producers("create", name);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^PRODUCER_ID=bot-\d+\nHMAC_PRODUCER_SECRET=cs_sec_\w+\n$/);
    expect(stderr).toContain("is shown this once");
    expect(stderr).not.toMatch(SECRET);
    for (const args of [["show", name], ["list"], ["show", name, "--json"]]) {
      expect((await producers(...args)).stdout).not.toMatch(SECRET);
    }
  });

  it("takes all settings, and gives them back as JSON", async () => {
    const name = newName();
    const settings = ["--display-name", "Gold", "--rate-limit", "10", "--require-approval"];
    const made = await producersJson("create", name, ...settings, "--instruments", "GOLD,EURUSD");
    expect(made).toEqual({
      secret: expect.stringMatching(SECRET),
      producer: {
        producer_id: name,
        display_name: "Gold",
        enabled: true,
        require_approval: true,
        rate_limit_per_second: 10,
        allowed_instruments: ["GOLD", "EURUSD"],
        secrets: [{ secret_id: expect.any(String), create_time: expect.any(String) }],
        create_time: expect.any(String),
        update_time: expect.any(String),
      },
    });
    const shown = await producersJson("show", name);
    expect(shown).toEqual(made.producer);
    const file = path.join(workspace.path, "json.env");
    const other = await producersJson("create", newName(), "--env-file", file);
    expect(other).toMatchObject({ env_file: file, producer: {} });
    expect(JSON.stringify(other)).not.toMatch(SECRET);
  });

  it("makes nothing if the file is there, or cannot be written", async () => {
    const name = newName();
    await workspace.write("there.env", "mine\n");
    for (const [file, why] of [
      ["there.env", "is there already"],
      ["nowhere/new.env", "there is no such directory"],
    ] as const) {
      const { code, stdout, stderr } = await producers("create", name, "--env-file", file);
      expect([code, stdout]).toEqual([2, ""]);
      expect(stderr).toMatch(/^countersign: --env-file [^\n]+\n$/);
      expect(stderr).toContain(why);
    }
    expect((await producers("show", name)).code).toBe(1);
    expect(await readFile(path.join(workspace.path, "there.env"), "utf8")).toBe("mine\n");
  });

  it("leaves no file where nothing was made", async () => {
    const name = newName();
    await producersJson("create", name);
    const again = await producers("create", name, "--env-file", `${name}.env`);
    expect([again.code, again.stdout]).toEqual([1, ""]);
    expect(again.stderr).toContain(`There is a producer ${name} already.`);
    const wrong = await producers(
      ...["create", "-x", "--env-file", `${name}.env`, "--instruments", "gold", "--"],
    );
    expect(wrong.code).toBe(2);
    expect(existsSync(path.join(workspace.path, `${name}.env`))).toBe(false);
    expect((await readdir(workspace.path)).filter((file) => file.startsWith(name))).toEqual([]);
  });

  it("names every option that is wrong, as the server judges them", async () => {
    const { code, stderr } = await producers(
      ...["create", ".x", "--display-name", "n".repeat(101), "--instruments", "gold"],
    );
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /^countersign: the producer id must .*; --display-name must have at most 100 .*; --instruments each .*\n$/,
    );
  });

  it("leaves out the bots' URL where it is not known, and says so", async () => {
    const name = newName();
    const file = path.join(workspace.path, `${name}.env`);
    const { COUNTERSIGN_OPS_URL = "", COUNTERSIGN_TOKEN = "" } = admin.env;
    const { code, stderr } = await run(["producers", "create", name, "--env-file", file], {
      env: { COUNTERSIGN_URL: COUNTERSIGN_OPS_URL, COUNTERSIGN_TOKEN },
    });
    expect([code, stderr]).toEqual([0, expect.stringContaining("but OUTBOUND_SERVER_URL: set")]);
    expect(await readFile(file, "utf8")).toContain("\n# OUTBOUND_SERVER_URL=\n");
  });
});

describe("list and show", () => {
  it("tell people what is set, and when each was seen", async () => {
    const name = newName();
    await producersJson("create", name, "--display-name", "\u200bGold", "--rate-limit", "10");
    const { stdout } = await producers("list");
    const [titles, ...rows] = stdout.trimEnd().split("\n");
    expect(titles).toMatch(
      /^PRODUCER +NAME +STATE +APPROVAL +LIMIT +INSTRUMENTS +SECRETS +LAST SEEN$/,
    );
    expect(rows.find((row) => row.startsWith(`${name} `))).toMatch(
      /^bot-\d+ +\\u\{200b\}Gold +enabled +none +10\/s +all +1 +never$/,
    );
    const shown = await producers("show", name);
    expect(shown.stdout).toMatch(/^producer +bot-\d+\nname +\\u\{200b\}Gold\nstate +enabled\n/);
    expect(shown.stdout).toMatch(/\ncreated +\d{4}-\S+Z \(\d+ s ago\)\n/);
    expect(shown.stdout).toMatch(
      /\n\nSECRET +CREATED +ENDS +LAST USED\n\w{12} +.* +never +never\n$/,
    );
  });

  it("lists every page", async () => {
    const { databaseUrl } = admin;
    const postgres = (await import("postgres")).default;
    const sql = postgres(databaseUrl, { max: 1, onnotice() {} });
    onTestFinished(async () => {
      await sql`DELETE FROM producers WHERE producer_id LIKE 'many-%'`;
      await sql.end();
    });
    await sql`INSERT INTO producers (producer_id) SELECT 'many-' || n FROM generate_series(1, 250) n`;
    const listed = await runJson(["producers", "list"], { env: admin.env });
    const names = listed.map(({ producer_id: id }) => id).filter((id) => /^many-/.test(String(id)));
    expect(new Set(names).size).toBe(250);
  });

  it("leads from a mistyped name to the one that was meant", async () => {
    const name = "gold-breakout";
    await producersJson("create", name);
    for (const args of [["show"], ["disable"], ["update", "--rate-limit", "1"], ["rotate"]]) {
      const [command = "", ...rest] = args;
      const { code, stdout, stderr } = await producers(command, "gold-brekout", ...rest);
      expect([code, stdout]).toEqual([1, ""]);
      expect(stderr).toBe(
        "countersign: There is no producer gold-brekout that this token may see (did you mean gold-breakout?).\n",
      );
    }
  });
});

describe("update, disable and enable", () => {
  it("change what is given and nothing else", async () => {
    const name = newName();
    await producersJson("create", name, "--display-name", "Gold", "--rate-limit", "10");
    const changed = await producers(
      ...["update", name, "--instruments", "GOLD", "--require-approval", "true"],
    );
    expect(changed).toEqual({
      code: 0,
      stdout: `${name}: approval required, instruments GOLD\n`,
      stderr: "",
    });
    const back = ["--instruments", "all", "--rate-limit", "none", "--require-approval", "false"];
    expect(await producersJson("update", name, ...back)).toMatchObject({
      display_name: "Gold",
      require_approval: false,
      rate_limit_per_second: 0,
      allowed_instruments: [],
    });
    await producers("update", name, "--display-name", "");
    expect(await producersJson("show", name)).toMatchObject({ display_name: "" });
  });

  it("hold within a second", async () => {
    const name = newName();
    const file = path.join(workspace.path, `${name}.env`);
    await producers("create", name, "--env-file", file);
    const refusals = [
      [["disable", name], /disabled: its requests are refused/, /PRODUCER_DISABLED/],
      [["enable", name], /enabled: its requests are taken/, /stored/],
      [["update", name, "--instruments", "EURUSD"], /instruments EURUSD/, /INSTRUMENT_NOT_ALLOWED/],
    ] as const;
    for (const [args, answer, then] of refusals) {
      expect((await producers(...args)).stdout).toMatch(answer);
      const { stdout, stderr } = await sendAs(file);
      expect(stdout + stderr).toMatch(then);
    }
  });
});

describe("rotate and revoke", () => {
  async function createdWithFile(): Promise<{ name: string; file: string }> {
    const name = newName();
    const file = path.join(workspace.path, `${name}.env`);
    await producers("create", name, "--env-file", file);
    return { name, file };
  }

  it("change the secret in the file and nothing else, and let both sign meanwhile", async () => {
    const { name, file } = await createdWithFile();
    const before = await readFile(file, "utf8");
    const old = await workspace.write(`${name}-old.env`, before);
    const { code, stdout, stderr } = await producers("rotate", name, "--env-file", file);
    expect([code, stdout]).toEqual([0, ""]);
    expect(stderr).toMatch(
      /^countersign: the secret before, \w{12}, still signs for bot-\d+ until \S+Z \(in (24\.0|23\.9|24) h\)\ncountersign: .* has the new secret: start the bot anew with it\n$/,
    );
    const after = await readFile(file, "utf8");
    expect(after.replace(SECRET, "")).toBe(before.replace(SECRET, ""));
    expect(after).not.toBe(before);
    for (const each of [old, file]) expect(await sendAs(each)).toMatchObject({ code: 0 });

    const again = await producers("rotate", name);
    expect([again.code, again.stdout]).toEqual([1, ""]);
    expect(again.stderr).toContain("add --force");

    const { secrets } = await producersJson("show", name);
    const [, oldSecret] = secrets as { secret_id: string }[];
    const id = oldSecret?.secret_id ?? "";
    const asked = await producers("revoke", name, id);
    expect([asked.code, asked.stdout]).toEqual([2, ""]);
    expect(asked.stderr).toMatch(
      /^countersign: This ends the secret \w{12} of bot-\d+, which was [^\n]* Add --yes to do it\.\n$/,
    );
    const revoked = await producers("revoke", name, id, "--yes");
    expect(revoked).toEqual({ code: 0, stdout: `${name}: secret ${id} revoked\n`, stderr: "" });
    expect(await producers("revoke", name, id, "--yes")).toEqual(revoked);
    expect((await sendAs(old)).stderr).toContain("UNAUTHENTICATED");
    expect(await sendAs(file)).toMatchObject({ code: 0 });
  });

  it("end everything before at once with a grace of 0, which is asked first", async () => {
    const { name, file } = await createdWithFile();
    const old = await workspace.write(`${name}-old.env`, await readFile(file, "utf8"));
    const asked = await producers("rotate", name, "--grace", "0", "--env-file", file);
    expect(asked.code).toBe(2);
    expect(asked.stderr).toContain("it is refused until it has the new one. Add --yes to do it.");
    expect(await readFile(file, "utf8")).toBe(await readFile(old, "utf8"));
    const done = await producers("rotate", name, "--grace", "0", "--env-file", file, "--yes");
    expect(done.code).toBe(0);
    expect((await sendAs(old)).stderr).toContain("UNAUTHENTICATED");
    expect(await sendAs(file)).toMatchObject({ code: 0 });
  });

  it("rotate although a rotation is under way, if forced", async () => {
    const { name } = await createdWithFile();
    expect(await producersJson("rotate", name, "--grace", "7d")).toMatchObject({
      secret: expect.stringMatching(SECRET),
    });
    const asked = await producers("rotate", name, "--force");
    expect([asked.code, asked.stderr]).toEqual([2, expect.stringContaining("Add --yes to do it.")]);
    const forced = await producersJson("rotate", name, "--force", "--yes");
    expect((forced.producer as { secrets: unknown[] }).secrets).toHaveLength(2);
  });

  it("say what the end of the last secret means", async () => {
    const { name } = await createdWithFile();
    const { secrets } = await producersJson("show", name);
    const [secret] = secrets as { secret_id: string }[];
    const id = secret?.secret_id ?? "";
    const asked = await producers("revoke", name, id);
    expect(asked.stderr).toContain(`It is the only one, so ${name} cannot send until it has`);
    const revoked = await producers("revoke", name, id, "--yes");
    expect(revoked.code).toBe(0);
    expect(revoked.stderr).toContain(`${name} cannot send until it has a new secret`);
    expect((await producers("show", name)).stdout).toContain("No secret is live");
    const unknown = await producers("revoke", name, "nothing", "--yes");
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toContain(`${name} has no secret nothing`);
  });

  it("take no file of another producer, and make no secret then", async () => {
    const one = await createdWithFile();
    const other = await createdWithFile();
    const { code, stderr } = await producers("rotate", one.name, "--env-file", other.file);
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining(`is not the file of ${one.name}: its PRODUCER_ID is not that.`),
    ]);
    const { secrets } = await producersJson("show", one.name);
    expect(secrets).toHaveLength(1);
    const wrongGrace = await producers("rotate", one.name, "--grace", "8d");
    expect([wrongGrace.code, wrongGrace.stderr]).toEqual([
      2,
      expect.stringContaining(
        "--grace must be a whole number of seconds from 0 to 604800 (7 days)",
      ),
    ]);
  });
});
