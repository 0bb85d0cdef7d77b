/** The audit of a scripted day, as a person and a program read it. */
import postgres from "postgres";
import { expect, it, onTestFinished } from "vitest";
import { adminServerOfFile, runJson } from "./support/adminServer.ts";
import { run, workspaceOfFile } from "./support/run.ts";

const admin = adminServerOfFile();
const workspace = workspaceOfFile();

function audit(...args: string[]) {
  return run(["audit", "list", ...args], { env: admin.env });
}

it("reads as a story: who did what, what it was before and after, and what was refused", async () => {
  const as = (...args: string[]) => run(args, { env: admin.env, cwd: workspace.path });
  const made = await runJson(
    ["tokens", "create", "--name", "\u200bdesk", "--scope", "admin", "--producer", "gold-bot"],
    { env: admin.env },
  );
  const { token, info } = made[0] as { token: string; info: { token_id: string } };
  const desk = { ...admin.env, COUNTERSIGN_TOKEN: token };
  const asDesk = (...args: string[]) => run(args, { env: desk, cwd: workspace.path });

  await asDesk("producers", "create", "gold-bot", "--env-file", "gold-bot.env");
  await asDesk("producers", "update", "gold-bot", "--rate-limit", "10", "--instruments", "GOLD");
  await asDesk("producers", "rotate", "gold-bot", "--env-file", "gold-bot.env");
  await asDesk("producers", "disable", "test-bot");
  await as("producers", "disable", "gold-bot");
  await as("tokens", "revoke", info.token_id, "--yes");

  const deskPattern = `\\\\u\\{200b\\}desk \\[${info.token_id}\\]`;
  const adminPattern = "admin \\[\\w{12}\\]";
  const story = [
    ["countersign serve", "producer\\.create test-bot", "enabled true; secrets \\S+"],
    [
      "countersign tokens bootstrap",
      "token\\.bootstrap token \\w{12}",
      "name admin; scopes read, review, admin",
    ],
    [
      adminPattern,
      `token\\.create token ${info.token_id}`,
      "name \\\\u\\{200b\\}desk; scopes admin; producer_ids gold-bot",
    ],
    [deskPattern, "producer\\.create gold-bot", "enabled true; secrets \\w{12}"],
    [
      deskPattern,
      "producer\\.update gold-bot",
      "allowed_instruments all → GOLD; rate_limit_per_second none → 10",
    ],
    [
      deskPattern,
      "producer_secret\\.rotate gold-bot",
      "secrets (\\w{12}) → \\w{12}, \\1 until \\S+Z",
    ],
    [deskPattern, "producer\\.disable test-bot refused: NOT_FOUND"],
    [adminPattern, "producer\\.disable gold-bot", "enabled true → false"],
    [adminPattern, `token\\.revoke token ${info.token_id}`, "revoke_time none → \\S+Z"],
  ].map(([who, what, changes]) => {
    const lines = `^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ  ${who}  ${what}\n`;
    return new RegExp(`${lines}${changes === undefined ? "" : `    ${changes}\n`}`, "m");
  });
  // What is refused is written a moment later.
  await expect.poll(async () => (await audit()).stdout).toContain("refused: NOT_FOUND");
  const { code, stdout, stderr } = await audit();
  expect([code, stderr]).toEqual([0, ""]);
  for (const part of story) expect(stdout).toMatch(part);
  // In the order in which it happened; the refusal has no fixed place.
  const places = story.filter((_, index) => index !== 6).map((part) => stdout.search(part));
  expect(places).toEqual(places.toSorted((a, b) => a - b));
  expect(stdout).not.toMatch(/cs_(sec|tok)_/);

  const entries = await runJson(["audit", "list", "--producer", "gold-bot"], { env: admin.env });
  expect(entries.map(({ action, actor_name: who }) => [action, who])).toEqual([
    ["producer.create", "\u200bdesk"],
    ["producer.update", "\u200bdesk"],
    ["producer_secret.rotate", "\u200bdesk"],
    ["producer.disable", "admin"],
  ]);
  expect(entries[1]).toMatchObject({
    entry_id: expect.any(Number),
    actor_token_id: info.token_id,
    producer_id: "gold-bot",
    reason: "",
    before: { rate_limit_per_second: 0 },
    after: { rate_limit_per_second: 10, allowed_instruments: ["GOLD"] },
  });
  const byDesk = await runJson(["audit", "list", "--token", info.token_id], { env: admin.env });
  expect(byDesk.length).toBeGreaterThan(4);
  const secrets = await runJson(["audit", "list", "--action", "producer_secret"], {
    env: admin.env,
  });
  expect(new Set(secrets.map(({ action }) => String(action).split(".")[0]))).toEqual(
    new Set(["producer_secret"]),
  );
});

it("shows the newest entries, over all pages, and says where there are none", async () => {
  const sql = postgres(admin.databaseUrl, { max: 1 });
  onTestFinished(() => sql.end());
  await sql`
    INSERT INTO audit_log (actor_name, action, producer_id)
    SELECT 'many', 'producer.read', 'p' || n FROM generate_series(1, 250) n ORDER BY n`;
  const lines = (await audit("--limit", "3")).stdout.trimEnd().split("\n");
  expect(lines.map((line) => line.split(" ").at(-1))).toEqual(["p248", "p249", "p250"]);
  const all = await runJson(["audit", "list", "--limit", "240", "--action", "producer.read"], {
    env: admin.env,
  });
  expect(all.map(({ producer_id: id }) => id)).toEqual(
    Array.from({ length: 240 }, (_, index) => `p${index + 11}`),
  );
  const none = await audit("--producer", "nobody");
  expect([none.code, none.stdout]).toEqual([0, ""]);
  expect(none.stderr).toContain("there are no such entries");
});
