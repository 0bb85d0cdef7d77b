/**
 * A real server whose operations port can be administered, and a token for it as an operator
 * has one.
 */
import { afterAll, beforeAll, expect } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { startTestServer, type TestServer } from "../../support/server.ts";
import { jsonLines, type LocalRunOptions, type RunResult, run } from "./run.ts";

/** What a test administers. */
export interface AdminServer {
  readonly server: TestServer;
  readonly databaseUrl: string;
  /** The first token, which may do everything. */
  readonly token: string;
  /** All that a user has who may do everything. */
  readonly env: Readonly<Record<string, string>>;
}

/** Starts one before the tests of a file, and ends it after them. */
export function adminServerOfFile(): AdminServer {
  const admin = {} as AdminServer;
  const parts = new AsyncDisposableStack();
  beforeAll(async () => {
    const database = await createTestDatabase();
    parts.defer(() => database.drop());
    const server = await startTestServer(database.url, { OPS_PORT: "0" });
    parts.defer(() => server.close());
    const made = await run(["tokens", "bootstrap", "--json"], {
      env: { DATABASE_URL: database.url },
    });
    expect(made).toMatchObject({ code: 0 });
    const token = String(jsonLines(made.stdout)[0]?.token);
    const env = {
      COUNTERSIGN_URL: server.url,
      COUNTERSIGN_OPS_URL: server.opsUrl ?? "",
      COUNTERSIGN_TOKEN: token,
    };
    // A token that no server made itself is known to it within a second.
    const isTaken = async () => (await run(["producers", "list"], { env })).code === 0;
    await eventually("the server takes the first token", isTaken);
    Object.assign(admin, { server, databaseUrl: database.url, token, env });
  });
  afterAll(() => parts.disposeAsync());
  return admin;
}

/** Runs a command to its end, which must be a success. @returns the JSON lines that it printed. */
export async function runJson(
  args: readonly string[],
  options: LocalRunOptions,
): Promise<Record<string, unknown>[]> {
  const result: RunResult = await run([...args, "--json"], options);
  expect(result, args.join(" ")).toMatchObject({ code: 0 });
  return jsonLines(result.stdout);
}
