import { link, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadMasterKey } from "../../src/server/masterKey.ts";
import { TEST_MASTER_KEY } from "../support/server.ts";
import { temporaryDirectory } from "./support/temporaryDirectory.ts";

test("is made once, for its owner only, and found again", async () => {
  const directory = join(await temporaryDirectory(), "deep", "down");
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
