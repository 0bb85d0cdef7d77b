import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, link, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { SealedSecrets } from "../../../src/access/index.ts";
import { createSecretBox } from "../../../src/server/auth/secretBox.ts";
import { ConfigError } from "../../../src/server/config/config.ts";
import { masterKeysOf, openSecretBox } from "../../../src/server/config/masterKey.ts";
import { readMasterKeys, replaceMasterKeys } from "../../../src/server/config/masterKeyFile.ts";
import { TEST_MASTER_KEY, TEST_SECRET } from "../../support/server.ts";
import { temporaryDirectory } from "../../support/temporaryDirectory.ts";
import { sealBefore, sealNow } from "../support/sealed.ts";

const NOTHING: SealedSecrets = { sealingKeyId: undefined, secrets: [] };
const KEY = Buffer.alloc(32, 1);
const OTHER_KEY = Buffer.alloc(32, 2);
const FOREIGN_KEY = Buffer.alloc(32, 3);
const UNSET = { masterKey: undefined, previousMasterKey: undefined };

const lineOf = (key: Buffer) => `${key.toString("base64")}\n`;
const keyIdOf = (key: Buffer) => createSecretBox([key]).keyIds[0];

/** The keys of a start with no variable set, on a database without secrets. */
async function loadMasterKeys(dataDir: string): Promise<readonly Buffer[]> {
  const { keys, file } = await masterKeysOf({ ...UNSET, dataDir }, async () => NOTHING);
  expect(file).toBe(join(dataDir, "master.key"));
  return keys;
}

test("is made once, for its owner only, and found again", async () => {
  const directory = await temporaryDirectory();
  const keys = await loadMasterKeys(directory);
  expect(keys).toEqual([expect.any(Buffer)]);
  expect(keys[0]).toHaveLength(32);
  expect(await loadMasterKeys(directory)).toEqual(keys);
  const { mode } = await stat(join(directory, "master.key"));
  expect(mode & 0o777).toBe(0o600);
  expect(await readdir(directory)).toEqual(["master.key"]);
});

test("is one for all who ask at the same time", async () => {
  const directory = await temporaryDirectory();
  const keys = await Promise.all(Array.from({ length: 20 }, () => loadMasterKeys(directory)));
  expect(new Set(keys.map((each) => each[0]?.toString("hex"))).size).toBe(1);
  expect(await loadMasterKeys(directory)).toEqual(keys[0]);
  expect(await readdir(directory)).toEqual(["master.key"]);
});

test("survives whatever a crashed server with this process's id left behind", async () => {
  const directory = await temporaryDirectory();
  const path = join(directory, "master.key");
  const [key] = (await loadMasterKeys(directory)) as [Buffer];
  // The second name of a file that was linked but not yet unlinked.
  await link(path, `${path}.${process.pid}`);
  expect(await loadMasterKeys(directory)).toEqual([key]);
  expect(await readFile(path, "utf8")).toBe(lineOf(key));
});

test.each([
  ["nothing", ""],
  ["no base64", "hello"],
  ["too few bytes", Buffer.alloc(31).toString("base64")],
  ["too many bytes", Buffer.alloc(33).toString("base64")],
  ["something around the key", `x${TEST_MASTER_KEY}`],
  ["a key cut short", TEST_MASTER_KEY.slice(0, 40)],
  ["a second key cut short", `${lineOf(KEY)}${TEST_MASTER_KEY.slice(0, 40)}`],
  ["two keys on one line", TEST_MASTER_KEY + TEST_MASTER_KEY],
  ["a line between", `${lineOf(KEY)}\n${lineOf(OTHER_KEY)}`],
  ["three keys", [KEY, OTHER_KEY, FOREIGN_KEY].map(lineOf).join("")],
])("a file that holds %s is an error, and stays as it is", async (_, text) => {
  const directory = await temporaryDirectory();
  const path = join(directory, "master.key");
  await writeFile(path, text);
  await expect(loadMasterKeys(directory)).rejects.toThrow("does not hold a key of 32 bytes");
  expect(await readFile(path, "utf8")).toBe(text);
});

test("a pipe in place of the file is an error at once, which nobody has to write to", async () => {
  const directory = await temporaryDirectory();
  const path = join(directory, "master.key");
  execFileSync("mkfifo", [path]);
  await expect(loadMasterKeys(directory)).rejects.toThrow(`${path} is not a regular file.`);
});

test("may end with a line feed, or not", async () => {
  for (const end of ["", "\n", "\r\n"]) {
    const directory = await temporaryDirectory();
    await writeFile(join(directory, "master.key"), TEST_MASTER_KEY + end);
    expect(await loadMasterKeys(directory)).toEqual([Buffer.from(TEST_MASTER_KEY, "base64")]);
  }
});

describe("a file that is replaced", () => {
  test("holds both keys for as long as it is told to, for its owner only", async () => {
    const directory = await temporaryDirectory();
    const path = join(directory, "master.key");
    await writeFile(path, lineOf(KEY));
    await replaceMasterKeys(path, [OTHER_KEY, KEY]);
    expect(await readFile(path, "utf8")).toBe(lineOf(OTHER_KEY) + lineOf(KEY));
    expect(await readMasterKeys(path)).toEqual([OTHER_KEY, KEY]);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await replaceMasterKeys(path, [OTHER_KEY]);
    expect(await loadMasterKeys(directory)).toEqual([OTHER_KEY]);
    expect(await readdir(directory)).toEqual(["master.key"]);
  });

  test("is the one that a link leads to", async () => {
    const [directory, elsewhere] = [await temporaryDirectory(), await temporaryDirectory()];
    await writeFile(join(elsewhere, "key"), lineOf(KEY));
    const path = join(directory, "master.key");
    await symlink(join(elsewhere, "key"), path);
    await replaceMasterKeys(path, [OTHER_KEY, KEY]);
    expect(await readMasterKeys(join(elsewhere, "key"))).toEqual([OTHER_KEY, KEY]);
    expect(await readMasterKeys(path)).toEqual([OTHER_KEY, KEY]);
  });

  test.runIf(process.geteuid?.() === 0)(
    "stays that of its owner, whoever replaces it",
    async () => {
      const directory = await temporaryDirectory();
      const path = join(directory, "master.key");
      await writeFile(path, lineOf(KEY));
      const { chown } = await import("node:fs/promises");
      await chown(path, 12_345, 12_346);
      await replaceMasterKeys(path, [OTHER_KEY, KEY]);
      expect(await stat(path)).toMatchObject({ uid: 12_345, gid: 12_346 });
    },
  );

  test.skipIf(process.geteuid?.() === 0)("stays as it is where it cannot be", async () => {
    const directory = await temporaryDirectory();
    const path = join(directory, "master.key");
    await writeFile(path, lineOf(KEY));
    await chmod(directory, 0o500);
    await expect(replaceMasterKeys(path, [OTHER_KEY, KEY])).rejects.toThrow("EACCES");
    expect(await readFile(path, "utf8")).toBe(lineOf(KEY));
  });
});

describe("must be the key that sealed the secrets of every producer", () => {
  /** A secret that is sealed, by an earlier version if so told. */
  function sealed(by: Buffer, producerId: string, { isLive = true, isOld = false } = {}) {
    const secretId = randomBytes(4).toString("hex");
    const bytes = isOld
      ? sealBefore(by, producerId, TEST_SECRET)
      : sealNow(by, producerId, TEST_SECRET).sealed;
    return { secretId, producerId, isLive, sealed: bytes };
  }

  function state(
    secrets: SealedSecrets["secrets"],
    sealingKey: Buffer | undefined = undefined,
  ): SealedSecrets {
    return { secrets, sealingKeyId: sealingKey && keyIdOf(sealingKey) };
  }

  async function accepted(
    given: { masterKey?: Buffer; previousMasterKey?: Buffer },
    found: SealedSecrets,
  ): Promise<readonly Buffer[]> {
    const dataDir = await temporaryDirectory();
    const keys = await masterKeysOf({ ...UNSET, ...given, dataDir }, async () => found);
    expect(keys.file).toBeUndefined();
    expect(await readdir(dataDir)).toEqual([]);
    return keys.keys;
  }

  async function refusal(
    given: { masterKey?: Buffer; previousMasterKey?: Buffer },
    found: SealedSecrets,
  ): Promise<string> {
    const dataDir = await temporaryDirectory();
    const refused = await masterKeysOf({ ...UNSET, ...given, dataDir }, async () => found).then(
      () => expect.unreachable("the key was taken"),
      (error: unknown) => error,
    );
    expect(refused).toBeInstanceOf(ConfigError);
    // Above all no new key, which would hide that the right one is missing.
    expect(await readdir(dataDir)).toEqual([]);
    return (refused as Error).message;
  }

  test("or of none, if none has one", async () => {
    expect(await accepted({ masterKey: KEY }, NOTHING)).toEqual([KEY]);
  });

  test("in whatever form they are", async () => {
    const found = state([sealed(KEY, "new-bot"), sealed(KEY, "old-bot", { isOld: true })], KEY);
    expect(await accepted({ masterKey: KEY }, found)).toEqual([KEY]);
  });

  test("and one of a producer's secrets suffices, as after a rotation that was cut short", async () => {
    const found = state([sealed(FOREIGN_KEY, "bot"), sealed(KEY, "bot")]);
    expect(await accepted({ masterKey: KEY }, found)).toEqual([KEY]);
  });

  test("but not one that has ended, while one that has not does not open", async () => {
    const found = state([sealed(FOREIGN_KEY, "bot"), sealed(KEY, "bot", { isLive: false })]);
    expect(await refusal({ masterKey: KEY }, found)).toContain("the producer bot");
  });

  test("or the one before it, while it is rotated", async () => {
    const given = { masterKey: OTHER_KEY, previousMasterKey: KEY };
    const found = state([sealed(KEY, "bot"), sealed(OTHER_KEY, "new-bot")], KEY);
    expect(await accepted(given, found)).toEqual([OTHER_KEY, KEY]);
    expect(await accepted(given, { ...found, sealingKeyId: keyIdOf(OTHER_KEY) })).toHaveLength(2);
    expect(await refusal({ masterKey: OTHER_KEY }, found)).toMatch(
      /opens no secret of the producer bot, .* during a rotation, COUNTERSIGN_PREVIOUS_MASTER_KEY/,
    );
  });

  test("and the producers whose secrets do not open are named", async () => {
    const found = state([
      sealed(KEY, "gold-bot"),
      sealed(FOREIGN_KEY, "oil-bot"),
      { ...sealed(KEY, "gold-bot"), producerId: "oil-bot" },
    ]);
    const message = await refusal({ masterKey: KEY }, found);
    expect(message).toMatch(/COUNTERSIGN_MASTER_KEY opens no secret of the producer oil-bot, so/);
    expect(message).toContain("Set COUNTERSIGN_MASTER_KEY to the key that sealed them");
    expect(message).not.toContain("gold-bot");
    for (const secret of [TEST_SECRET, KEY.toString("base64")]) {
      expect(message).not.toContain(secret);
    }
  });

  test("but no more than ten of them", async () => {
    const ids = Array.from({ length: 13 }, (_, n) => `bot-${String(n).padStart(2, "0")}`);
    const message = await refusal(
      { masterKey: KEY },
      state(ids.map((id) => sealed(FOREIGN_KEY, id))),
    );
    expect(message).toContain("of the producers bot-00, ");
    expect(message).toContain("bot-09 and 3 more, so");
  });

  test("and the one that is in force, also if nothing live is sealed", async () => {
    const ended = [sealed(FOREIGN_KEY, "bot", { isLive: false })];
    const message = await refusal({ masterKey: KEY }, state(ended, FOREIGN_KEY));
    expect(message).toContain("COUNTERSIGN_MASTER_KEY is not the one that this database's secrets");
    expect(message).toContain("the new one if it was rotated since");
  });

  test("and is asked for if its file is gone", async () => {
    const message = await refusal({}, state([sealed(KEY, "bot")]));
    expect(message).toMatch(/COUNTERSIGN_MASTER_KEY is not set and .*master\.key is gone/);
    expect(message).toContain("(of the producer bot). Restore the file from a backup");
    expect(await refusal({}, state([], KEY))).toContain("opens. Restore the file from a backup");
  });
});

describe("a file that is rotated while the server starts or runs", () => {
  const sealedBy = (key: Buffer) => ({
    sealingKeyId: keyIdOf(key),
    secrets: [
      {
        secretId: "a",
        producerId: "bot",
        isLive: true,
        sealed: sealNow(key, "bot", TEST_SECRET).sealed,
      },
    ],
  });

  test("is read again when the database names a key that is not known", async () => {
    const dataDir = await temporaryDirectory();
    const path = join(dataDir, "master.key");
    await writeFile(path, lineOf(KEY));
    const found = await masterKeysOf({ ...UNSET, dataDir }, async () => {
      await replaceMasterKeys(path, [OTHER_KEY]);
      return sealedBy(OTHER_KEY);
    });
    // What a worker is told that starts later.
    const box = openSecretBox(found);
    const { sealingKeyId, secrets } = sealedBy(OTHER_KEY);
    await box.learnKey(sealingKeyId);
    expect(box.opens(secrets[0]?.sealed ?? Buffer.of(), "bot")).toBe(true);
  });

  test("and one that was given by a variable is not looked for in a file", async () => {
    const dataDir = await temporaryDirectory();
    await writeFile(join(dataDir, "master.key"), lineOf(OTHER_KEY));
    const starting = masterKeysOf({ ...UNSET, masterKey: KEY, dataDir }, async () =>
      sealedBy(OTHER_KEY),
    );
    await expect(starting).rejects.toThrow("COUNTERSIGN_MASTER_KEY opens no secret");
  });
});
