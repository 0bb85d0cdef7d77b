/** The versions of PostgreSQL that are promised are those that are tested. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { expect, inject, test } from "vitest";
import { findInstallation, readInstallation } from "../../src/store/embedded/binaries.ts";
import { openDatabase } from "../../src/store/index.ts";
import { OLDEST_VERSION } from "../../src/store/session.ts";
import others from "../postgres/package.json" with { type: "json" };
import { silentLog } from "../support/postgres.ts";

const majorOf = (version: string) => Number.parseInt(version, 10);

test("each from the oldest to the embedded one has its programs", async () => {
  const embedded = majorOf((await findInstallation()).version);
  const tested = Object.values(others.optionalDependencies).map((range) =>
    majorOf(range.split("@").at(-1) ?? ""),
  );
  const promised = Array.from({ length: embedded - OLDEST_VERSION }, (_, i) => OLDEST_VERSION + i);
  expect([...new Set(tested)].sort()).toEqual(promised);
});

test("the oldest is the one that the page for operators names", async () => {
  const page = await readFile(path.join(import.meta.dirname, "../../docs/operations.md"), "utf8");
  expect(page).toContain(`version ${OLDEST_VERSION} or newer`);
});

test.runIf(process.env.TEST_DATABASE_URL === undefined)("these tests run on theirs", async () => {
  const packageDir = process.env.TEST_POSTGRES_PACKAGE;
  const { version } = await (packageDir === undefined
    ? findInstallation()
    : readInstallation(packageDir));
  const database = openDatabase({ url: inject("postgresUrl"), poolSize: 1, log: silentLog });
  const [row] = await database.query<{ version: number }>(
    5_000,
    (sql) => sql`SELECT current_setting('server_version_num')::integer / 10000 AS version`,
  );
  await database.close();
  expect(row?.version).toBe(majorOf(version));
});
