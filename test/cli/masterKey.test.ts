import postgres from "postgres";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sealAnew } from "../../src/cli/masterKey/rotation.ts";
import {
  createSecretBox,
  isSealedUnder,
  type SecretBox,
  SecretText,
} from "../../src/server/auth/secretBox.ts";
import { generateCredential } from "../../src/signing/index.ts";
import { createAccessStore, openDatabase } from "../../src/store/index.ts";
import { sealBefore, sealNow } from "../server/support/sealed.ts";
import { createTestDatabase, silentLog, type TestDatabase } from "../support/postgres.ts";
import { jsonLines, run, runProcess, workspaceOfFile } from "./support/run.ts";

const OLD_KEY = Buffer.alloc(32, 0x5a);
const NEW_KEY = Buffer.alloc(32, 0xa5);
const FOREIGN_KEY = Buffer.alloc(32, 0x77);
const TIMEOUT_MS = 10_000;
const workspace = workspaceOfFile();

const base64 = (key: Buffer) => key.toString("base64");
const keyIdOf = (key: Buffer) => createSecretBox([key]).keyIds[0] as Uint8Array;
const hexIdOf = (key: Buffer) => Buffer.from(keyIdOf(key)).toString("hex");
const ROTATE = ["master-key", "rotate"];

let database: TestDatabase;
let sql: postgres.Sql;
/** The texts of the secrets by the ids of their producers. */
let texts: Map<string, string>;

beforeEach(async () => {
  database = await createTestDatabase();
  sql = postgres(database.url, { max: 1, onnotice: () => {} });
  texts = new Map();
});
afterEach(async () => {
  await sql.end();
  await database.drop();
});

function env(masterKey?: Buffer, previousKey?: Buffer): NodeJS.ProcessEnv {
  return {
    DATABASE_URL: database.url,
    ...(masterKey && { COUNTERSIGN_MASTER_KEY: base64(masterKey) }),
    ...(previousKey && { COUNTERSIGN_PREVIOUS_MASTER_KEY: base64(previousKey) }),
  };
}

/** Adds a producer with a secret that is sealed as given. */
async function add(
  producerId: string,
  seal: (producerId: string, text: string) => Uint8Array,
  expiresAt: Date | null = null,
): Promise<void> {
  const { id, text } = generateCredential("sec");
  texts.set(producerId, text);
  await sql`INSERT INTO producers (producer_id) VALUES (${producerId})`;
  await sql`
    INSERT INTO producer_secrets (secret_id, producer_id, sealed, expires_at)
    VALUES (${id}, ${producerId}, ${seal(producerId, text)}, ${expiresAt})
  `;
}
const sealedBefore = (key: Buffer) => (id: string, text: string) => sealBefore(key, id, text);
const sealedNow = (key: Buffer) => (id: string, text: string) => sealNow(key, id, text).sealed;

async function putInForce(key: Buffer): Promise<void> {
  await sql`INSERT INTO sealing_key (key_id) VALUES (${keyIdOf(key)})`;
}

async function contents() {
  return {
    secrets: [...(await sql`SELECT * FROM producer_secrets ORDER BY secret_id`)],
    key: [...(await sql`SELECT * FROM sealing_key`)],
    audit: [...(await sql`SELECT actor_name, action, before, after FROM audit_log`)],
  };
}

/** What of the producers' secrets is not the very same one, sealed under a key as now. */
async function notSealedUnder(key: Buffer): Promise<string[]> {
  const box = createSecretBox([key]);
  const rows = await sql`SELECT producer_id, sealed FROM producer_secrets`;
  return rows
    .filter(({ producer_id, sealed }) => {
      const text = new SecretText(texts.get(producer_id) ?? "");
      return !isSealedUnder(sealed, keyIdOf(key)) || !box.holds(sealed, producer_id, text);
    })
    .map(({ producer_id }) => producer_id);
}

describe("countersign master-key rotate", () => {
  it("seals every secret anew, in whatever form it was, and says what to do next", async () => {
    await add("old-form-bot", sealedBefore(OLD_KEY));
    await add("new-form-bot", sealedNow(OLD_KEY));
    await add("ended-bot", sealedBefore(OLD_KEY), new Date(0));
    await putInForce(OLD_KEY);
    const file = await workspace.write(
      "rotation.env",
      Object.entries(env(NEW_KEY, OLD_KEY))
        .map(([name, value]) => `${name}=${value}\n`)
        .join(""),
    );
    expect(await runProcess([...ROTATE, "--env-file", file, "--yes"])).toEqual({
      code: 0,
      stdout:
        `Sealed 3 secrets anew (key id ${hexIdOf(NEW_KEY)}).\n` +
        "Restart the servers without COUNTERSIGN_PREVIOUS_MASTER_KEY. Back the new key up, and keep the old one as long as you keep backups of the database from before.\n",
      stderr: "",
    });
    expect(await notSealedUnder(NEW_KEY)).toEqual([]);
    const { key, audit } = await contents();
    expect(key).toMatchObject([{ key_id: Buffer.from(keyIdOf(NEW_KEY)) }]);
    expect(audit).toEqual([
      {
        actor_name: "countersign master-key rotate",
        action: "master_key.rotate",
        before: { key_id: hexIdOf(OLD_KEY) },
        after: { key_id: hexIdOf(NEW_KEY), secrets: 3 },
      },
    ]);

    const all = await contents();
    const again = await run([...ROTATE, "--yes"], { env: env(NEW_KEY, OLD_KEY) });
    expect(again).toMatchObject({ code: 0, stderr: "" });
    expect(again.stdout).toContain("Nothing to seal anew: all secrets are sealed under this key");
    expect(await contents()).toEqual(all);
  });

  it("prints JSON, and a repetition too", async () => {
    await add("bot", sealedBefore(OLD_KEY));
    const rotate = async () =>
      jsonLines((await run([...ROTATE, "--yes", "--json"], { env: env(NEW_KEY, OLD_KEY) })).stdout);
    const [keyId, previousId] = [hexIdOf(NEW_KEY), hexIdOf(OLD_KEY)];
    const done = { resealed: 1, unopened: 0, key_id: keyId, previous_key_id: previousId };
    expect(await rotate()).toEqual([done]);
    expect(await rotate()).toEqual([{ ...done, resealed: 0, previous_key_id: null }]);
  });

  it("changes nothing without --yes, and says what it would do", async () => {
    await add("bot", sealedNow(OLD_KEY));
    await putInForce(OLD_KEY);
    const all = await contents();
    const { code, stdout, stderr } = await run(ROTATE, { env: env(NEW_KEY, OLD_KEY) });
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^countersign: This seals 1 secret anew under COUNTERSIGN_MASTER_KEY\./);
    expect(stderr).toContain("Add --yes to do it.");
    expect(await contents()).toEqual(all);
  });

  it("brings secrets to the form of now under the same key", async () => {
    await add("bot", sealedBefore(OLD_KEY));
    await add("new-bot", sealedNow(OLD_KEY));
    const { code, stdout } = await run([...ROTATE, "--yes"], { env: env(OLD_KEY) });
    expect(code).toBe(0);
    expect(stdout).toContain("Sealed 1 secret anew");
    expect(await notSealedUnder(OLD_KEY)).toEqual([]);
    expect((await contents()).audit).toMatchObject([{ action: "master_key.reseal" }]);
    const again = await run([...ROTATE, "--yes"], { env: env(OLD_KEY) });
    expect(again.stdout).toContain("set COUNTERSIGN_MASTER_KEY to a new key");
  });

  it("leaves alone what no key opens, and says so", async () => {
    await add("bot", sealedNow(OLD_KEY));
    await add("lost-bot", sealedNow(FOREIGN_KEY), new Date(0));
    const [lost] = await sql`SELECT sealed FROM producer_secrets WHERE producer_id = 'lost-bot'`;
    const { code, stdout } = await run([...ROTATE, "--yes"], { env: env(NEW_KEY, OLD_KEY) });
    expect(code).toBe(0);
    expect(stdout).toContain("Left as they are: 1, which no key at hand opens.");
    expect(await notSealedUnder(NEW_KEY)).toEqual(["lost-bot"]);
    expect(await sql`SELECT sealed FROM producer_secrets WHERE producer_id = 'lost-bot'`).toEqual([
      lost,
    ]);
  });

  it.each([
    ["the new key alone", () => env(NEW_KEY), /opens no secret of the producer bot, .*PREVIOUS/],
    ["other keys", () => env(NEW_KEY, FOREIGN_KEY), /opens no secret of the producer bot/],
    ["no key", () => env(), /COUNTERSIGN_MASTER_KEY must be set with DATABASE_URL/],
    ["one key twice", () => env(NEW_KEY, NEW_KEY), /must be the key before/],
  ] as const)("refuses %s, and changes nothing", async (_, given, message) => {
    await add("bot", sealedNow(OLD_KEY));
    await putInForce(OLD_KEY);
    const all = await contents();
    const { code, stdout, stderr } = await run([...ROTATE, "--yes"], { env: given() });
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^countersign: [^\n]*\n$/);
    for (const key of [OLD_KEY, NEW_KEY, FOREIGN_KEY]) expect(stderr).not.toContain(base64(key));
    expect(await contents()).toEqual(all);
  });

  it("asks for the migrations first", async () => {
    const empty = await createTestDatabase("empty");
    const given = { ...env(NEW_KEY, OLD_KEY), DATABASE_URL: empty.url };
    const { code, stderr } = await run([...ROTATE, "--yes"], { env: given });
    await empty.drop();
    expect(code).toBe(1);
    expect(stderr).toContain('Run "countersign migrate up" first.');
  });

  it("takes no key from the command line, where others could see it", async () => {
    const { stdout } = await run([...ROTATE, "--help"]);
    expect(stdout.match(/--[a-z-]+/g)).toEqual(
      expect.arrayContaining(["--env-file", "--json", "--yes", "--help"]),
    );
    expect(stdout).not.toMatch(/--(previous-|master-)?key/);
    const { code, stderr } = await run([...ROTATE, base64(NEW_KEY)], {
      env: env(NEW_KEY, OLD_KEY),
    });
    expect(code).toBe(2);
    expect(stderr).toContain("make another key, if one was given so");
    expect(stderr).not.toContain(base64(NEW_KEY));
  });
});

describe("secrets that are added while it works", () => {
  let box: SecretBox;
  let connection: ReturnType<typeof openDatabase>;
  beforeEach(async () => {
    box = createSecretBox([NEW_KEY, OLD_KEY]);
    connection = openDatabase({ url: database.url, poolSize: 2, log: silentLog });
    await add("bot", sealedNow(OLD_KEY));
    await putInForce(OLD_KEY);
  });
  afterEach(() => connection.close());

  /** The store, where something happens after each reading, before it is acted upon. */
  function interrupted(happens: (reading: number) => Promise<unknown>) {
    const store = createAccessStore(connection);
    let readings = 0;
    return {
      resealSecrets: store.resealSecrets,
      async loadSealedSecrets(timeoutMs: number) {
        const read = await store.loadSealedSecrets(timeoutMs);
        readings += 1;
        await happens(readings);
        return read;
      },
    };
  }

  it("are sealed anew, too", async () => {
    const store = interrupted(async (reading) => {
      if (reading < 3) await add(`late-bot-${reading}`, sealedNow(OLD_KEY));
    });
    expect(await sealAnew(store, box, undefined)).toMatchObject({ resealed: 3 });
    expect(await notSealedUnder(NEW_KEY)).toEqual([]);
  });

  it("end it after some attempts, if it never comes to rest", async () => {
    const all: unknown[] = [];
    const store = interrupted(async (reading) => {
      await add(`late-bot-${reading}`, sealedNow(OLD_KEY));
      all.push(reading);
    });
    await expect(sealAnew(store, box, undefined)).rejects.toThrow("nothing was changed. Try again");
    expect(all).toHaveLength(10);
    expect(await notSealedUnder(OLD_KEY)).toEqual([]);
    expect((await contents()).key).toMatchObject([{ key_id: Buffer.from(keyIdOf(OLD_KEY)) }]);
  });

  it("are refused under the old key as soon as it is done", async () => {
    const store = createAccessStore(connection);
    await sealAnew(store, box, undefined);
    const stale = sealNow(OLD_KEY, "late-bot", "a-secret-that-comes-too-late");
    const outcome = await store.ensureProducer("late-bot", stale, "test", TIMEOUT_MS);
    expect(outcome).toBe("stale_key");
  });

  it("by another rotation at the same time do no harm", async () => {
    let other: unknown;
    const store = interrupted(async (reading) => {
      if (reading === 1) other = await sealAnew(createAccessStore(connection), box, undefined);
    });
    expect(await sealAnew(store, box, undefined)).toBeUndefined();
    expect(other).toMatchObject({ resealed: 1 });
    expect(await notSealedUnder(NEW_KEY)).toEqual([]);
  });
});
