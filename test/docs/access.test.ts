/**
 * Runs the commands of docs/access.md in their order, against a server on its embedded database,
 * as somebody who has no more than the file that it wrote.
 */
import { chmod, mkdtempDisposable, readFile, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Outcome, ROOT, run } from "../interop/support/command.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { type ServerProcess, spawnServer } from "../support/server.ts";
import { pageText } from "./page.ts";

const page = pageText("docs/access.md");
/** Those inside of lists are indented. */
const blocks = [...page.matchAll(/^( *)```sh\n(.*?)^ *```$/gms)].map(([, indent = "", text = ""]) =>
  text.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
);
const BOOTSTRAP = blocks.findIndex((block) => block.includes("tokens bootstrap"));

let folder: string;
let server: ServerProcess;
const parts = new AsyncDisposableStack();
beforeAll(async () => {
  const made = await mkdtempDisposable(join(tmpdir(), "countersign-access-"));
  parts.defer(() => made.remove());
  folder = made.path;
  // As root, PostgreSQL runs under another account, which has to get in.
  await chmod(folder, 0o711);
  server = await spawnServer({ PORT: "0", OPS_PORT: "0", DATA_DIR: join(folder, ".countersign") });
  parts.defer(async () => void (await server.stop()));
});
afterAll(() => parts.disposeAsync());

/** Runs commands of the page in the folder of the server. */
async function runBlock(block: string, env: Record<string, string> = {}): Promise<Outcome> {
  const npx = `npx() { [ "$1" != -- ] || shift; shift; node -- '${ROOT}src/cli/main.ts' "$@"; }`;
  return run("sh", ["-euc", `cd '${folder}'\n${npx}\n${block}`], { env, timeoutMs: 120_000 });
}

/** What a command prints for programs. */
async function json(command: string): Promise<Record<string, unknown>[]> {
  const { stdout } = await runBlock(`npx countersign ${command} --json`);
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

/**
 * Puts the ids in place that a reader copies from what was shown before, and makes four bots in
 * place of eighteen.
 */
async function asRun(block: string): Promise<string> {
  if (block.includes("seq 3 20")) return block.replace("seq 3 20", "seq 3 6");
  if (block.includes("SECRET_ID")) {
    const [gold = {}] = await json("producers show gold-bot");
    const [, old] = gold.secrets as { secret_id: string }[];
    return block.replace("SECRET_ID", String(old?.secret_id));
  }
  if (!block.includes("TOKEN_ID")) return block;
  const alice = (await json("tokens list")).find(({ name }) => name === "alice");
  return block.replace("TOKEN_ID", String(alice?.token_id));
}

describe("the commands", () => {
  it.each(blocks.filter((_, index) => index !== BOOTSTRAP))("%s", async (block) => {
    const { code, stdout, stderr } = await runBlock(await asRun(block));
    expect(code, stderr).toBe(0);
    expect(stdout + stderr).not.toMatch(/cs_(sec|tok)_/);
  });

  it("leave what the page tells", async () => {
    const producers = await json("producers list");
    // The server made one of its own.
    expect(producers).toHaveLength(6 + 1);
    expect(producers.find(({ producer_id: id }) => id === "fx-bot")).toMatchObject({
      enabled: true,
      require_approval: false,
      rate_limit_per_second: 0,
      allowed_instruments: ["EURUSD", "GBPUSD"],
    });
    const gold = await readFile(join(folder, "gold-bot.env"), "utf8");
    expect((await stat(join(folder, "gold-bot.env"))).mode & 0o777).toBe(0o600);
    expect(gold).toContain(`OUTBOUND_SERVER_URL=${server.url}\n`);
    const sent = await runBlock(
      "npx countersign send --env-file gold-bot.env --instrument GOLD --side buy --entry-price 1950.5",
    );
    expect(sent).toMatchObject({ code: 0, stdout: expect.stringContaining("stored") });
    const desk = await runBlock("npx countersign producers list --admin-env-file desk.env --json");
    const seen = desk.stdout.trimEnd().split("\n");
    expect(seen.map((line) => JSON.parse(line).producer_id)).toEqual(["fx-bot", "gold-bot"]);
    const alice = (await json("tokens list")).find(({ name }) => name === "alice");
    expect(alice).toMatchObject({ revoke_time: expect.any(String) });
    const audit = await json("audit list --limit 200");
    const actions = new Set(audit.map(({ action }) => action));
    for (const action of [
      "producer.create",
      "producer.update",
      "producer.disable",
      "producer.enable",
      "producer_secret.rotate",
      "producer_secret.revoke",
      "token.create",
      "token.revoke",
    ]) {
      expect(actions).toContain(action);
    }
  });

  it("make the first token on a database of one's own", async () => {
    const database = await createTestDatabase();
    parts.defer(() => database.drop());
    const block = blocks[BOOTSTRAP] ?? "";
    const { code, stdout } = await runBlock(block, { DATABASE_URL: database.url });
    expect([code, stdout]).toEqual([0, ""]);
    expect(await readFile(join(folder, "admin.env"), "utf8")).toContain(
      "COUNTERSIGN_TOKEN=cs_tok_",
    );
    expect((await runBlock(block, { DATABASE_URL: database.url })).code).toBe(2);
  });

  it("make another on the embedded database while its server runs", async () => {
    const again = await runBlock("npx countersign tokens bootstrap");
    expect([again.code, again.stderr]).toEqual([
      1,
      expect.stringContaining("There is a live token already"),
    ]);
    const forced = await runBlock(
      "npx countersign tokens bootstrap --force --yes --env-file second.env",
    );
    expect([forced.code, forced.stdout]).toEqual([0, ""]);
    const list = "npx countersign tokens list --admin-env-file second.env";
    await expect.poll(async () => (await runBlock(list)).code, { timeout: 10_000 }).toBe(0);
  });
});

it("shows what the audit prints", async () => {
  const sample = /^```\n(2.*?)^```$/ms.exec(page)?.[1] ?? "";
  const line =
    /^(\S+Z {2}[\w-]+ \[\w{12}\] {2}[a-z_]+\.[a-z_]+ [\w-]+(?: refused: [A-Z_]+)?| {4}\w+ .*)$/;
  for (const each of sample.trimEnd().split("\n")) expect(each).toMatch(line);
});
