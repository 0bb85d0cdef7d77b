/**
 * Starts the PostgreSQL of the whole test run, or uses the one that TEST_DATABASE_URL
 * names, and prepares the database that {@link createTestDatabase} copies.
 */
import { randomUUID } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import type { TestProject } from "vitest/node";
import { migrateUp, openDatabase } from "../../src/store/index.ts";
import { createTestCluster } from "./cluster.ts";
import { databaseUrl, runOnServer, silentLog } from "./postgres.ts";

const template = `template_${randomUUID().replaceAll("-", "")}`;
let stopServer = async () => {};

export async function setup(project: TestProject): Promise<void> {
  const serverUrl = process.env.TEST_DATABASE_URL ?? (await startServer());
  await runOnServer(serverUrl, `CREATE DATABASE ${template} TEMPLATE template0`);
  if (process.env.TEST_DATABASE_URL !== undefined) {
    stopServer = () => runOnServer(serverUrl, `DROP DATABASE ${template}`);
  }

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
  const cluster = await createTestCluster();
  stopServer = async () => cluster[Symbol.asyncDispose]();
  // For all test files that run at a time.
  await cluster.start({ max_connections: "300" });
  return cluster.url;
}
