/** A server under a role that may do no more than docs/operations.md says. */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import postgres from "postgres";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MissingGrantError, migrateUp, openDatabase } from "../../src/store/index.ts";
import {
  ACTOR,
  aSecret,
  aToken,
  EVERYTHING,
  FIRST_PAGE,
  KEY_ID,
  OTHER_KEY_ID,
  openTestStore,
  TIMEOUT_MS,
} from "../store/access/support.ts";
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
  ["UPDATE ON producers", "GRANT UPDATE ON TABLE producers"],
  ["INSERT, UPDATE ON sealing_key", "GRANT INSERT, UPDATE ON TABLE sealing_key"],
  ["SELECT ON access_tokens", "GRANT SELECT ON TABLE access_tokens"],
  ["UPDATE ON access_version", "GRANT UPDATE ON TABLE access_version"],
  ["INSERT ON audit_log", "GRANT INSERT ON TABLE audit_log"],
  ["USAGE ON SEQUENCE audit_entry_id", "GRANT USAGE ON SEQUENCE audit_entry_id"],
  ["EXECUTE ON FUNCTION add_secret", "GRANT EXECUTE ON FUNCTION add_secret"],
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

test("administers with the grants of the page, also where functions are granted one by one", async () => {
  const url = await prepare();
  const functions = "ALL FUNCTIONS IN SCHEMA countersign";
  await runOnServer(
    urlOf(owner, "change-me-1", ""),
    `REVOKE EXECUTE ON ${functions} FROM PUBLIC; GRANT EXECUTE ON ${functions} TO ${server}`,
  );
  const connection = openDatabase({ url, poolSize: 1, log: silentLog });
  const store = openTestStore(connection);
  try {
    const { producerId, secret } = await store.make();
    const token = aToken();
    const seen = { producerIds: [producerId], secretIds: [secret.secretId], tokenIds: [] };
    const attempt = { actor: ACTOR, producerId, tokenId: undefined } as const;
    const keys = { from: KEY_ID, to: OTHER_KEY_ID };
    await store.updateProducer(producerId, { displayName: "x" }, ACTOR, TIMEOUT_MS);
    await store.setProducerEnabled(producerId, false, ACTOR, TIMEOUT_MS);
    await store.rotate(producerId);
    await store.revokeProducerSecret(producerId, secret.secretId, ACTOR, TIMEOUT_MS);
    await store.ensureProducer("ensured", aSecret(), "test", TIMEOUT_MS);
    await store.createToken(token, ACTOR, TIMEOUT_MS);
    await store.bootstrapToken(aToken(), false, "test", TIMEOUT_MS);
    await store.revokeToken(token.tokenId, ACTOR, TIMEOUT_MS);
    await store.addRefusedAttempt(
      { ...attempt, action: "producer.read", reason: "NOT_FOUND" },
      TIMEOUT_MS,
    );
    await store.recordUse(seen, TIMEOUT_MS);
    const { secrets } = await store.loadSealedSecrets(TIMEOUT_MS);
    await store.resealSecrets(secrets, keys, "master_key.rotate", "test", TIMEOUT_MS);
    await store.load(TIMEOUT_MS);
    const page = await store.listAuditEntries(EVERYTHING, FIRST_PAGE, TIMEOUT_MS);
    expect(page.items.map(({ action }) => action)).toEqual([
      "master_key.rotate",
      "producer_secret.first_use",
      "producer.read",
      "token.revoke",
      "token.bootstrap",
      "token.create",
      "producer.create",
      "producer_secret.revoke",
      "producer_secret.rotate",
      "producer.disable",
      "producer.update",
      "producer.create",
    ]);
  } finally {
    await connection.close();
  }
});

test("the server's role changes nothing in the audit, and drops and alters nothing", async () => {
  const url = await prepare();
  const running = await startTestServer(url);
  await running.close();
  const sql = postgres(database.url, { max: 1, fetch_types: false });
  const objects = await sql<{ kind: string; name: string }[]>`
    SELECT CASE relkind WHEN 'r' THEN 'TABLE' WHEN 'S' THEN 'SEQUENCE' ELSE 'INDEX' END AS kind,
      relname::text AS name
    FROM pg_class WHERE relnamespace = 'countersign'::regnamespace AND relkind IN ('r', 'S', 'i')
    UNION ALL
    SELECT 'FUNCTION', proname::text FROM pg_proc
    WHERE pronamespace = 'countersign'::regnamespace
  `;
  const entries = () => sql`SELECT * FROM countersign.audit_log ORDER BY entry_id`;
  const before = await entries();
  expect(before.length).toBeGreaterThan(0);
  expect(objects.length).toBeGreaterThan(40);
  const tables = objects.filter(({ kind }) => kind === "TABLE").map(({ name }) => name);
  const statements = [
    "UPDATE audit_log SET actor_name = 'nobody'",
    "DELETE FROM audit_log",
    "INSERT INTO audit_log (entry_id, actor_name, action) VALUES (1, 'x', 'a.b') ON CONFLICT (entry_id) DO UPDATE SET actor_name = 'nobody'",
    "SELECT FROM audit_log FOR UPDATE",
    "SELECT setval('audit_entry_id', 1)",
    "DELETE FROM producers",
    "DELETE FROM access_tokens",
    "UPDATE countersign_migrations SET name = name",
    "CREATE TABLE made (x integer)",
    "CREATE FUNCTION made() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA made",
    `SET ROLE ${owner}`,
    "SET session_replication_role = replica",
    ...tables.flatMap((name) => [
      `TRUNCATE ${name} CASCADE`,
      `ALTER TABLE ${name} ADD COLUMN made integer`,
      `ALTER TABLE ${name} DISABLE TRIGGER ALL`,
      `CREATE TRIGGER made BEFORE INSERT ON ${name} FOR EACH ROW EXECUTE FUNCTION set_updated_at()`,
    ]),
    ...objects.map(({ kind, name }) => `DROP ${kind} ${name} CASCADE`),
  ];
  const refused = /permission denied|must be owner|must be able to SET ROLE/;
  for (const statement of statements) {
    const work = runOnServer(
      url.replace("?schema=countersign", ""),
      `SET search_path = countersign; ${statement}`,
    );
    await expect(work, statement).rejects.toThrow(refused);
  }
  expect(await entries()).toEqual(before);
  await sql.end();
});

test("the owner does not change the audit by mistake", async () => {
  const url = await prepare();
  const running = await startTestServer(url);
  await running.close();
  for (const statement of [
    "UPDATE audit_log SET after = NULL",
    "DELETE FROM audit_log",
    "TRUNCATE audit_log",
  ]) {
    const work = runOnServer(
      urlOf(owner, "change-me-1", ""),
      `SET search_path = countersign; ${statement}`,
    );
    await expect(work, statement).rejects.toThrow("audit_log is append-only");
  }
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
