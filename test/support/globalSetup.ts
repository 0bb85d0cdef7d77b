/**
 * Starts the PostgreSQL of the whole test run, or uses the one that TEST_DATABASE_URL
 * names, and prepares the database that {@link createTestDatabase} copies.
 */
import { randomUUID } from "node:crypto";
import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { TestProject } from "vitest/node";
import { migrateUp, openDatabase, startEmbeddedPostgres } from "../../src/store/index.ts";
import { databaseUrl, runOnServer, silentLog } from "./postgres.ts";

const template = `template_${randomUUID().replaceAll("-", "")}`;
let stopServer = async () => {};

export async function setup(project: TestProject): Promise<void> {
  const serverUrl = process.env.TEST_DATABASE_URL ?? (await startServer());
  await runOnServer(serverUrl, `CREATE DATABASE ${template} TEMPLATE template0`);
  const stopOwnServer = stopServer;
  stopServer = async () => {
    await runOnServer(serverUrl, `DROP DATABASE ${template}`);
    await stopOwnServer();
  };

  const database = openDatabase({
    url: databaseUrl(serverUrl, template),
    poolSize: 1,
    log: silentLog,
  });
  await migrateUp(database, silentLog);
  await database.close();

  project.provide("processCoverageDir", await makeProcessCoverageDir(project));
  project.provide("postgresUrl", serverUrl);
  project.provide("postgresTemplate", template);
}

/** An empty folder for what started processes cover; `undefined` if nothing is measured. */
async function makeProcessCoverageDir(project: TestProject): Promise<string | undefined> {
  const { enabled, reportsDirectory } = project.vitest.config.coverage;
  if (!enabled) return undefined;
  const dir = path.resolve(project.config.root, reportsDirectory, "processes");
  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { recursive: true });
  return dir;
}

export async function teardown(): Promise<void> {
  await stopServer();
}

async function startServer(): Promise<string> {
  const dataDir = await mkdtemp(path.join(tmpdir(), "countersign-test-"));
  // As root, PostgreSQL runs under another account, which has to get in.
  await chmod(dataDir, 0o711);
  const server = await startEmbeddedPostgres({ dataDir, log: silentLog });
  stopServer = async () => {
    await server.close();
    await rm(dataDir, { recursive: true, force: true });
  };
  return server.url;
}
