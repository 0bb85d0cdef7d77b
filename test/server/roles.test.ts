/** A server under a role that may do no more than docs/operations.md says. */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import postgres from "postgres";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MissingGrantError, migrateUp, openDatabase } from "../../src/store/index.ts";
import { eventually } from "../support/eventually.ts";
import {
  createTestDatabase,
  runOnServer,
  silentLog,
  type TestDatabase,
} from "../support/postgres.ts";
import {
  spawnServer,
  startTestServer,
  TEST_PRODUCER_ID,
  testHeaders,
  testServerEnv,
} from "../support/server.ts";
import { restBody } from "../support/signals.ts";

const ENDPOINT = "/api/v1/signals";

let database: TestDatabase;
let owner: string;
let server: string;
/** The two blocks of SQL on the page: for the administrator, and for the owner. */
let pageSql: [forAdministrator: string, forOwner: string];

beforeEach(async () => {
  database = await createTestDatabase("empty");
  // Roles belong to all databases of the test server.
  const suffix = randomUUID().replaceAll("-", "");
  owner = `owner_${suffix}`;
  server = `server_${suffix}`;
  const page = await readFile(new URL("../../docs/operations.md", import.meta.url), "utf8");
  const section = page.slice(page.indexOf("### Roles"), page.indexOf("## More cores"));
  const [administrator = "", ofOwner = ""] = [...section.matchAll(/```sql\n(.*?)```/gs)].map(
    ([, sql = ""]) =>
      sql.replaceAll("countersign_owner", owner).replaceAll("countersign_server", server),
  );
  pageSql = [administrator, ofOwner];
});

afterEach(async () => {
  await database.drop();
  for (const role of [owner, server]) {
    await runOnServer(adminUrl(), `DROP ROLE IF EXISTS ${role}`);
  }
});

function adminUrl(): string {
  return database.url.replace(database.name, "postgres");
}

function urlOf(role: string, password: string, query = "?schema=countersign"): string {
  const url = new URL(database.url);
  return `postgres://${role}:${password}@${url.host}/${database.name}${query}`;
}

async function migrateAs(url: string): Promise<string[]> {
  const connection = openDatabase({ url, poolSize: 1, log: silentLog });
  try {
    return await migrateUp(connection, silentLog);
  } finally {
    await connection.close();
  }
}

/** The schema as the page's commands make it. @returns the server's URL. */
async function prepare(): Promise<string> {
  await runOnServer(database.url, pageSql[0]);
  const ownerUrl = urlOf(owner, "change-me-1");
  expect((await migrateAs(ownerUrl)).length).toBeGreaterThan(2);
  await runOnServer(urlOf(owner, "change-me-1", ""), pageSql[1]);
  return urlOf(server, "change-me-2");
}

async function post(url: string, body: string): Promise<Record<string, unknown>> {
  const response = await fetch(`${url}${ENDPOINT}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...testHeaders(ENDPOINT, Buffer.from(body)) },
    body,
  });
  return { ...(await response.json()), status: response.status };
}

test("serves with the grants of the page, over restarts", async () => {
  const url = await prepare();
  // With a limit, which the server has to ask for.
  await runOnServer(
    database.url,
    `INSERT INTO countersign.producers (producer_id, rate_limit_per_second)
    VALUES ('${TEST_PRODUCER_ID}', 1000)`,
  );
  for (const expected of ["first", "again"]) {
    const running = await startTestServer(url, { OPS_PORT: "0" });
    try {
      const metrics = await fetch(`${running.opsUrl}/metrics`);
      expect(await metrics.text()).toContain("countersign_purged_request_signatures_total 0");
      const keyed = restBody({ idempotency_key: "roles-1" });
      expect(await post(running.url, keyed)).toMatchObject(
        expected === "first" ? { status: 201, duplicate: false } : { duplicate: true },
      );
      expect(await post(running.url, keyed)).toMatchObject({ duplicate: true });
      // Without a key, the request is known by its signature, which has a table of its own.
      expect(await post(running.url, restBody())).toMatchObject({ status: 201 });
      const health = await fetch(`${running.url}/api/v1/ready`);
      expect(health.status).toBe(200);
    } finally {
      await running.close();
    }
  }
  const sql = postgres(database.url, { max: 1, fetch_types: false });
  const [{ stored } = {}] = await sql`SELECT count(*)::int AS stored FROM countersign.signals`;
  const buckets = await sql`SELECT producer_id FROM countersign.rate_limit_buckets`;
  const publicTables = await sql`SELECT FROM pg_tables WHERE schemaname = 'public'`;
  await sql.end();
  expect([stored, publicTables.length]).toEqual([3, 0]);
  expect(buckets).toEqual([{ producer_id: TEST_PRODUCER_ID }]);
});

test.each([1, 2])(
  "purges old request signatures with %i workers",
  async (workers) => {
    const url = await prepare();
    await runOnServer(
      database.url,
      `INSERT INTO countersign.request_signatures
      (producer_id, request_signature, request_item, signal_id, created_at)
    SELECT 'bot', sha256(n::text::bytea), 0, gen_random_uuid(), now() - interval '2 days'
    FROM generate_series(1, 30000) AS n`,
    );
    const running = await spawnServer(
      testServerEnv(url, { OPS_PORT: "0", WORKERS: String(workers) }),
    );
    try {
      await eventually(
        "all rows are purged and counted",
        async () => {
          const metrics = await (await fetch(`${running.opsUrl}/metrics`)).text();
          return metrics.includes("\ncountersign_purged_request_signatures_total 30000\n");
        },
        60_000,
      );
    } finally {
      expect(await running.stop()).toBe(0);
    }
  },
  90_000,
);

test("starts on a schema whose table of migrations only its owner could rename", async () => {
  const url = await prepare();
  await runOnServer(
    urlOf(owner, "change-me-1", ""),
    "ALTER TABLE countersign.countersign_migrations RENAME TO schema_migrations",
  );
  const running = await startTestServer(url);
  await running.close();
  await expect(migrateAs(url)).resolves.toEqual([]);
});

test.each([
  ["SELECT ON countersign_migrations", "GRANT SELECT ON countersign_migrations"],
  ["SELECT, INSERT ON signals", "GRANT SELECT, INSERT ON TABLE signals"],
  ["INSERT ON producers", "GRANT INSERT ON TABLE producers"],
  ["DELETE ON request_signatures", "GRANT DELETE ON TABLE request_signatures"],
  ["UPDATE ON maintenance_tasks", "GRANT UPDATE ON TABLE maintenance_tasks"],
  ["INSERT ON rate_limit_buckets", "GRANT INSERT ON TABLE rate_limit_buckets"],
  ["EXECUTE ON FUNCTION ingest_signals", "GRANT EXECUTE ON FUNCTION ingest_signals"],
  ["EXECUTE ON FUNCTION lease_rate_tokens", "GRANT EXECUTE ON FUNCTION lease_rate_tokens"],
  ["USAGE ON SEQUENCE signal_sequence", "GRANT USAGE ON SEQUENCE signal_sequence"],
])("does not start without %s, and names it", async (revoked, command) => {
  const url = await prepare();
  await runOnServer(
    urlOf(owner, "change-me-1", ""),
    `SET search_path = countersign; REVOKE ${revoked} FROM ${server}, PUBLIC`,
  );
  await expect(startTestServer(url)).rejects.toThrow(`run: ${command} TO ${server};`);
});

test("needs no INSERT for producers if it is given none", async () => {
  const url = await prepare();
  await runOnServer(
    urlOf(owner, "change-me-1", ""),
    `SET search_path = countersign; REVOKE INSERT ON producers, producer_secrets FROM ${server}`,
  );
  const none = { PRODUCER_ID: undefined, HMAC_PRODUCER_SECRET: undefined };
  const running = await startTestServer(url, none);
  await running.close();
});

test("a role that may not migrate is refused before anything is changed, and told why", async () => {
  await runOnServer(database.url, pageSql[0]);
  await expect(startTestServer(urlOf(server, "change-me-2"))).rejects.toThrow(
    `The role ${server} may not migrate the database, since it lacks CREATE on the schema countersign. Run: GRANT CREATE ON SCHEMA countersign TO ${server};`,
  );
  await expect(migrateAs(urlOf(server, "change-me-2"))).rejects.toThrow(MissingGrantError);
  // CREATE alone is not enough to change what another role has made.
  const url = await prepareHalf();
  await expect(startTestServer(url)).rejects.toThrow(
    new RegExp(`does not own \\w+, which belongs to ${owner}. Migrate as that role`),
  );
  await expect(startTestServer(urlOf(server, "change-me-2", "?schema=nowhere"))).rejects.toThrow(
    `The role ${server} has no schema to use in the database ${database.name}. Run: CREATE SCHEMA`,
  );
});

/** The schema of an older version, in which the server's role may create. */
async function prepareHalf(): Promise<string> {
  await migrateAs(urlOf(owner, "change-me-1"));
  const last = "(SELECT max(name) FROM countersign_migrations)";
  await runOnServer(
    urlOf(owner, "change-me-1", ""),
    `SET search_path = countersign;
    DELETE FROM countersign_migrations WHERE name = ${last};
    GRANT SELECT ON countersign_migrations TO ${server};
    GRANT CREATE ON SCHEMA countersign TO ${server};`,
  );
  return urlOf(server, "change-me-2");
}
