import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { VERSION } from "../../src/server/version.ts";

test("the version is the one of the package", async () => {
  const file = await readFile(new URL("../../package.json", import.meta.url), "utf8");
  expect(VERSION).toBe(JSON.parse(file).version);
});
