/**
 * Whatever is changed is on disk when the database says so, and not only soon, even where
 * it was told not to wait for the disk.
 */
import { randomUUID } from "node:crypto";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AccessStore } from "../../src/access/index.ts";
import {
  createAccessStore,
  createRateLimitStore,
  createSignalStore,
  type Database,
  migrateDown,
  migrateUp,
  openDatabase,
} from "../../src/store/index.ts";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
import { runOnServer, silentLog } from "../support/postgres.ts";
import { ACTOR, aSecret, aToken, FIRST_PAGE, KEY_ID, SETTINGS } from "./access/support.ts";
import { aCandidate, aSignature } from "./builders.ts";

const TIMEOUT_MS = 10_000;

let cluster: TestCluster;
let observer: postgres.Sql;

beforeAll(async () => {
  cluster = await createTestCluster();
  // The background process that writes what nobody waits for rests meanwhile.
  // So does all else that writes by itself.
  await cluster.start({
    wal_writer_delay: "10s",
    checkpoint_timeout: "1h",
    autovacuum: "off",
    wal_level: "minimal",
    max_wal_senders: "0",
  });
  observer = postgres(cluster.url, { max: 1, fetch_types: false });
  const database = openDatabase({ url: cluster.url, poolSize: 1, log: silentLog });
  await migrateUp(database, silentLog);
  await ensureBot(database, "bot-1");
  await database.close();
});

afterAll(async () => {
  await observer.end();
  await cluster[Symbol.asyncDispose]();
});

const WAL_PAGE_BYTES = 8_192;
/** The greatest header of a page of the WAL; no record is so short that it would hide in it. */
const WAL_PAGE_HEADER_BYTES = 40;

/** How many bytes of what was committed are not on disk yet. */
async function unflushedBytes(): Promise<number> {
  const [row] = await observer<{ bytes: number; in_page: number }[]>`
    SELECT (pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn())::integer AS bytes,
      ((pg_current_wal_flush_lsn() - '0/0') % ${WAL_PAGE_BYTES})::integer AS in_page
  `;
  if (row === undefined) return Number.NaN;
  // Where a page is full to its end, the next record is inserted behind the next page's header.
  const isHeader = row.in_page === 0 && row.bytes <= WAL_PAGE_HEADER_BYTES;
  return isHeader ? 0 : row.bytes;
}

const ensureBot = (database: Database, producerId: string) =>
  createAccessStore(database).ensureProducer(producerId, aSecret(), "test", TIMEOUT_MS);

type Change = (database: Database) => Promise<unknown>;

/** The same of the access store. */
function access(change: (store: AccessStore) => Promise<unknown>): Change {
  return (database) => change(createAccessStore(database));
}

/** Every way in which the stores change something, by the name of its method. */
const CHANGES: Readonly<Record<string, readonly Change[]>> = {
  createProducer: [
    access((store) =>
      store.createProducer({ producerId: randomUUID(), ...SETTINGS }, aSecret(), ACTOR, TIMEOUT_MS),
    ),
  ],
  updateProducer: [
    access((store) =>
      store.updateProducer("bot-1", { displayName: randomUUID() }, ACTOR, TIMEOUT_MS),
    ),
  ],
  setProducerEnabled: [false, true].map((enabled) =>
    access((store) => store.setProducerEnabled("bot-1", enabled, ACTOR, TIMEOUT_MS)),
  ),
  rotateProducerSecret: [
    access((store) => {
      const rule = { graceSeconds: 60, force: true };
      return store.rotateProducerSecret("bot-1", aSecret(), rule, ACTOR, TIMEOUT_MS);
    }),
  ],
  revokeProducerSecret: [
    access(async (store) => {
      const [secret] = (await store.getProducer("bot-1", TIMEOUT_MS))?.secrets ?? [];
      await store.revokeProducerSecret("bot-1", secret?.secretId ?? "", ACTOR, TIMEOUT_MS);
    }),
  ],
  ensureProducer: [(database) => ensureBot(database, randomUUID())],
  createToken: [access((store) => store.createToken(aToken(), ACTOR, TIMEOUT_MS))],
  bootstrapToken: [access((store) => store.bootstrapToken(aToken(), true, "test", TIMEOUT_MS))],
  revokeToken: [
    access(async (store) => {
      const page = await store.listTokens(undefined, FIRST_PAGE, TIMEOUT_MS);
      const live = page.items.find(({ revokeTime }) => revokeTime === undefined);
      await store.revokeToken(live?.tokenId ?? "", ACTOR, TIMEOUT_MS);
    }),
  ],
  addRefusedAttempt: [
    access((store) =>
      store.addRefusedAttempt(
        {
          actor: ACTOR,
          action: "producer.update",
          producerId: "bot-1",
          tokenId: undefined,
          reason: "SCOPE_MISSING",
        },
        TIMEOUT_MS,
      ),
    ),
  ],
  recordUse: [
    access(async (store) => {
      const { producers } = await store.load(TIMEOUT_MS);
      // All that were made by now, so that some are new.
      const secretIds = producers.flatMap(({ secrets }) => secrets.map(({ secretId }) => secretId));
      await store.recordUse({ producerIds: [], secretIds, tokenIds: [] }, TIMEOUT_MS);
    }),
  ],
  resealSecrets: [
    access(async (store) => {
      const { secrets } = await store.loadSealedSecrets(TIMEOUT_MS);
      const keys = { from: KEY_ID, to: KEY_ID };
      await store.resealSecrets(secrets, keys, "master_key.reseal", "test", TIMEOUT_MS);
    }),
  ],
  ingest: [
    (database) => createSignalStore(database).ingest([aCandidate()], TIMEOUT_MS),
    (database) =>
      createSignalStore(database).ingest(
        [aCandidate(), aCandidate({ requestSignature: aSignature() })],
        TIMEOUT_MS,
      ),
  ],
  migrate: [
    (database) => migrateDown(database, silentLog, { steps: 1 }),
    (database) => migrateUp(database, silentLog),
  ],
};
/**
 * What a crash may lose: a lease lost is a token more for a producer, once. It has to be as fast
 * as memory, since signals wait for it.
 */
const UNLOGGED: Readonly<Record<string, Change>> = {
  leaseTokens: (database) =>
    createRateLimitStore(database).leaseTokens(
      { producerId: "bot-1", perSecond: 10, least: 1, most: 1 },
      TIMEOUT_MS,
    ),
};
const READS = [
  ...["version", "load", "loadSealedSecrets", "listAuditEntries"],
  ...["getProducer", "listProducers", "getToken", "listTokens"],
  ...["findSignal", "listSignals"],
];

test.each(Object.entries(UNLOGGED))("%s waits for no disk", async (_, change) => {
  const database = openDatabase({ url: cluster.url, poolSize: 1, log: silentLog });
  try {
    for (let repeat = 0; repeat < 3; repeat++) {
      await change(database);
      expect(await unflushedBytes()).toBeGreaterThan(0);
      await observer`CHECKPOINT`;
    }
  } finally {
    await database.close();
  }
});

/** Where and how somebody tells the database not to wait. */
const PLACES = [
  { place: "the server", set: "ALTER SYSTEM SET", reset: "ALTER SYSTEM RESET" },
  { place: "the role", set: "ALTER ROLE countersign SET", reset: "ALTER ROLE countersign RESET" },
  {
    place: "the database",
    set: "ALTER DATABASE postgres SET",
    reset: "ALTER DATABASE postgres RESET",
  },
] as const;

const reload = () => runOnServer(cluster.url, "SELECT pg_reload_conf(), pg_sleep(0.1)");

test("every method of the stores is known to change something, or only to read", () => {
  const database = openDatabase({ url: cluster.url, poolSize: 1, log: silentLog });
  const methods = [
    ...Object.keys(createAccessStore(database)),
    ...Object.keys(createSignalStore(database)),
    ...Object.keys(createRateLimitStore(database)),
  ];
  const known = [...Object.keys(CHANGES), ...Object.keys(UNLOGGED), ...READS];
  expect(methods.filter((method) => !known.includes(method))).toEqual([]);
});

describe.each(PLACES)("with synchronous_commit off for $place", ({ set, reset }) => {
  for (const [way, query] of [
    ["directly", ""],
    ["behind a pooler", "?pgbouncer=true"],
  ]) {
    test(`a commit waits for the disk, ${way}`, async () => {
      const options = { url: `${cluster.url}${query}`, poolSize: 1, log: silentLog };
      const database = openDatabase(options);
      await database.query(TIMEOUT_MS, (sql) => sql`SELECT 1`);
      await runOnServer(cluster.url, `${set} synchronous_commit = off`);
      await reload();
      const later = openDatabase(options);
      try {
        // Sessions from before, and those from after it was turned off.
        for (const session of [database, later]) {
          for (const [name, changes] of Object.entries(CHANGES)) {
            for (const change of changes) {
              await change(session);
              expect(await unflushedBytes(), name).toBe(0);
            }
          }
        }
        // Without our doing, it would not wait: that is how this test can fail.
        await later.query(
          TIMEOUT_MS,
          (sql) => sql`
            INSERT INTO producers (producer_id) VALUES (${`asynchronous-${randomUUID()}`})
          `,
        );
        expect(await unflushedBytes()).toBeGreaterThan(0);
      } finally {
        await database.close();
        await later.close();
        await runOnServer(cluster.url, `${reset} synchronous_commit`);
        await reload();
      }
    });
  }
});

test.each([
  ["off", "on"],
  ["local", "on"],
  ["remote_write", "on"],
  ["on", "on"],
  ["remote_apply", "remote_apply"],
])("with synchronous_commit = %s, a commit waits as with %s", async (found, used) => {
  // A trigger tells what a transaction has at its end, when it commits.
  await runOnServer(
    cluster.url,
    `CREATE TABLE witness (value text);
     CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       INSERT INTO witness VALUES (current_setting('synchronous_commit')); RETURN NULL;
     END $$;
     CREATE CONSTRAINT TRIGGER witness AFTER INSERT ON signals DEFERRABLE INITIALLY DEFERRED
       FOR EACH ROW EXECUTE FUNCTION witness();
     ALTER ROLE countersign SET synchronous_commit = ${found}`,
  );
  const database = openDatabase({ url: cluster.url, poolSize: 1, log: silentLog });
  await createSignalStore(database).ingest([aCandidate()], TIMEOUT_MS);
  await database.close();
  const rows = await observer<{ value: string }[]>`SELECT value FROM witness`;
  await runOnServer(
    cluster.url,
    `DROP FUNCTION witness CASCADE; DROP TABLE witness;
     ALTER ROLE countersign RESET synchronous_commit`,
  );
  expect(rows.map(({ value }) => value)).toEqual([used]);
});
