/** The package as others install it: what is packed is enough, and can be imported. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ROOT, run } from "./interop/support/command.ts";
import { createTestDatabase, type TestDatabase } from "./support/postgres.ts";

let dir: string;
let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase("empty");
  dir = await mkdtemp(join(tmpdir(), "countersign-package-"));
  const packed = await run("npm", ["pack", "--silent", "--pack-destination", dir]);
  expect(packed.code, packed.stderr).toBe(0);
  const home = join(dir, "node_modules", "countersign");
  await mkdir(home, { recursive: true });
  const file = packed.stdout.trim().split("\n").at(-1) as string;
  await run("tar", ["-xzf", join(dir, file), "-C", home, "--strip-components=1"]);
  await symlink(join(ROOT, "node_modules"), join(home, "node_modules"));
});

afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
  await database.drop();
});

test("exports the client, the signing functions and the protos", async () => {
  const program = join(dir, "program.mjs");
  await writeFile(
    program,
    `import { createSignalClient, createSigningInterceptor } from "countersign/client";
     import { IngestService } from "countersign/proto";
     import { Secret, signatureHeaders } from "countersign/signing";
     const all = [createSignalClient, createSigningInterceptor, Secret, signatureHeaders];
     console.log(all.every((each) => typeof each === "function"), IngestService.typeName);`,
  );
  const { code, stdout, stderr } = await run(process.execPath, [program]);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toBe("true signals.v1.IngestService\n");
});

test("has a command line that finds its migrations", async () => {
  const main = join(dir, "node_modules", "countersign", "dist", "src", "cli", "main.js");
  const env = { DATABASE_URL: database.url };
  const { code, stderr } = await run(process.execPath, [main, "migrate", "up"], { env });
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  const status = await run(process.execPath, [main, "migrate", "status", "--json"], { env });
  expect(status.stdout).toContain("0003_ingest_signals");
});
