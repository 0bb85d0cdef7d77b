import { link, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createSecretBox, SecretText } from "../../../src/server/auth/secretBox.ts";
import { ConfigError } from "../../../src/server/config/config.ts";
import { masterKeyOf } from "../../../src/server/config/masterKey.ts";
import { TEST_MASTER_KEY, TEST_SECRET } from "../../support/server.ts";
import { temporaryDirectory } from "../../support/temporaryDirectory.ts";

/** The key of a start with no variable set, on a database without secrets. */
function loadMasterKey(dataDir: string): Promise<Buffer> {
  return masterKeyOf({ masterKey: undefined, dataDir }, new Map());
}

test("is made once, for its owner only, and found again", async () => {
  const directory = await temporaryDirectory();
  const key = await loadMasterKey(directory);
  expect(key).toHaveLength(32);
  expect(await loadMasterKey(directory)).toEqual(key);
  const { mode } = await stat(join(directory, "master.key"));
  expect(mode & 0o777).toBe(0o600);
  expect(await readdir(directory)).toEqual(["master.key"]);
});

test("is one for all who ask at the same time", async () => {
  const directory = await temporaryDirectory();
  const keys = await Promise.all(Array.from({ length: 20 }, () => loadMasterKey(directory)));
  expect(new Set(keys.map((key) => key.toString("hex"))).size).toBe(1);
  expect(await loadMasterKey(directory)).toEqual(keys[0]);
  expect(await readdir(directory)).toEqual(["master.key"]);
});

test("survives whatever a crashed server with this process's id left behind", async () => {
  const directory = await temporaryDirectory();
  const path = join(directory, "master.key");
  const key = await loadMasterKey(directory);
  // The second name of a file that was linked but not yet unlinked.
  await link(path, `${path}.${process.pid}`);
  expect(await loadMasterKey(directory)).toEqual(key);
  expect(await readFile(path, "utf8")).toBe(`${key.toString("base64")}\n`);
});

test.each([
  ["nothing", ""],
  ["no base64", "hello"],
  ["too few bytes", Buffer.alloc(31).toString("base64")],
  ["too many bytes", Buffer.alloc(33).toString("base64")],
  ["something around the key", `x${TEST_MASTER_KEY}`],
  ["a key cut short", TEST_MASTER_KEY.slice(0, 40)],
])("a file that holds %s is an error, and stays as it is", async (_, text) => {
  const directory = await temporaryDirectory();
  const path = join(directory, "master.key");
  await writeFile(path, text);
  await expect(loadMasterKey(directory)).rejects.toThrow("does not hold a key of 32 bytes");
  expect(await readFile(path, "utf8")).toBe(text);
});

test("may end with a line feed, or not", async () => {
  for (const end of ["", "\n", "\r\n"]) {
    const directory = await temporaryDirectory();
    await writeFile(join(directory, "master.key"), TEST_MASTER_KEY + end);
    expect((await loadMasterKey(directory)).toString("base64")).toBe(TEST_MASTER_KEY);
  }
});

describe("must be the key that sealed the secrets of every producer", () => {
  const key = Buffer.alloc(32, 1);
  const otherKey = Buffer.alloc(32, 2);
  const sealedBy = (by: Buffer, producerId: string) =>
    createSecretBox(by).seal(new SecretText(TEST_SECRET), producerId);

  async function refusal(
    masterKey: Buffer | undefined,
    sealed: ReadonlyMap<string, readonly Uint8Array[]>,
  ): Promise<string> {
    const dataDir = await temporaryDirectory();
    const refused = await masterKeyOf({ masterKey, dataDir }, sealed).then(
      () => expect.unreachable("the key was taken"),
      (error: unknown) => error,
    );
    expect(refused).toBeInstanceOf(ConfigError);
    // Above all no new key, which would hide that the right one is missing.
    expect(await readdir(dataDir)).toEqual([]);
    return (refused as Error).message;
  }

  test("or of none, if none has one", async () => {
    const dataDir = await temporaryDirectory();
    expect(await masterKeyOf({ masterKey: key, dataDir }, new Map())).toBe(key);
  });

  test("and one of a producer's secrets suffices, as after a rotation that was cut short", async () => {
    const sealed = new Map([["bot", [sealedBy(otherKey, "bot"), sealedBy(key, "bot")]]]);
    const dataDir = await temporaryDirectory();
    expect(await masterKeyOf({ masterKey: key, dataDir }, sealed)).toBe(key);
  });

  test("and the producers whose secrets do not open are named", async () => {
    const sealed = new Map([
      ["gold-bot", [sealedBy(key, "gold-bot")]],
      ["oil-bot", [sealedBy(otherKey, "oil-bot"), sealedBy(key, "gold-bot")]],
    ]);
    const message = await refusal(key, sealed);
    expect(message).toMatch(/COUNTERSIGN_MASTER_KEY opens no secret of the producer oil-bot, so/);
    expect(message).toContain("Set COUNTERSIGN_MASTER_KEY to the key that sealed them");
    expect(message).not.toContain("gold-bot");
  });

  test("but no more than ten of them", async () => {
    const ids = Array.from({ length: 13 }, (_, n) => `bot-${n}`);
    const message = await refusal(key, new Map(ids.map((id) => [id, [sealedBy(otherKey, id)]])));
    expect(message).toContain("of the producers bot-0, ");
    expect(message).toContain("bot-9 and 3 more, so");
  });

  test("and is asked for if its file is gone", async () => {
    const message = await refusal(undefined, new Map([["bot", [sealedBy(key, "bot")]]]));
    expect(message).toMatch(/COUNTERSIGN_MASTER_KEY is not set and .*master\.key is gone/);
    expect(message).toContain("Restore the file from a backup");
  });
});
