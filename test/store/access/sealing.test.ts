import { randomBytes } from "node:crypto";
import { beforeEach, expect, test } from "vitest";
import { migrateDown, migrateUp } from "../../../src/store/index.ts";
import { silentLog } from "../../support/postgres.ts";
import { openTestDatabase } from "../openTestDatabase.ts";
import {
  aProducerId,
  aSecret,
  EVERYTHING,
  FIRST_PAGE,
  KEY_ID,
  OTHER_KEY_ID,
  openTestStore,
  TIMEOUT_MS,
} from "./support.ts";

const database = await openTestDatabase(2);
const store = openTestStore(database);

beforeEach(async () => {
  await database.query(TIMEOUT_MS, (sql) => sql`TRUNCATE producers, producer_secrets, sealing_key`);
});

const reseal = (
  secrets: Parameters<typeof store.resealSecrets>[0],
  keys = { from: KEY_ID, to: OTHER_KEY_ID },
) => store.resealSecrets(secrets, keys, "master_key.rotate", "test", TIMEOUT_MS);

test("tells every sealed secret there is, and the key that is in force", async () => {
  expect(await store.loadSealedSecrets(TIMEOUT_MS)).toEqual({
    sealingKeyId: undefined,
    secrets: [],
  });
  const { producerId, secret: ended } = await store.make();
  const { secret: live } = await store.rotate(producerId, { graceSeconds: 0 });
  const { sealingKeyId, secrets } = await store.loadSealedSecrets(TIMEOUT_MS);
  expect(sealingKeyId).toEqual(KEY_ID);
  const byPlace = secrets.toSorted((a, b) => Number(a.isLive) - Number(b.isLive));
  expect(byPlace).toEqual(
    [
      { ...ended, isLive: false },
      { ...live, isLive: true },
    ].map(({ secretId, sealed, isLive }) => ({ secretId, sealed, producerId, isLive })),
  );
});

test("tells them on a database of the version before, too, and on an empty one", async () => {
  await migrateDown(database, silentLog, { to: "0005_access" });
  const [secretId, producerId] = ["0b1d5f3e-0000-4000-8000-000000000001", aProducerId()];
  const sealed = new Uint8Array(randomBytes(60));
  await database.query(
    TIMEOUT_MS,
    (sql) => sql`
      WITH added AS (INSERT INTO producers (producer_id) VALUES (${producerId}))
      INSERT INTO producer_secrets (secret_id, producer_id, sealed, expires_at)
      VALUES (${secretId}, ${producerId}, ${sealed}, 'infinity')
    `,
  );
  const before = await store.loadSealedSecrets(TIMEOUT_MS);
  expect(before).toEqual({
    sealingKeyId: undefined,
    secrets: [{ secretId, producerId, sealed, isLive: true }],
  });
  // What never ends is written as such from then on, and not as a time.
  await migrateUp(database, silentLog);
  expect(await store.loadSealedSecrets(TIMEOUT_MS)).toEqual(before);
  expect((await store.load(TIMEOUT_MS)).nextExpiryMs).toBeUndefined();
  await migrateDown(database, silentLog, { to: "0001_producers" });
  expect((await store.loadSealedSecrets(TIMEOUT_MS)).secrets).toEqual([]);
  await migrateUp(database, silentLog);
});

test("seals all secrets anew, under the new key from then on", async () => {
  const { producerId } = await store.make();
  await store.rotate(producerId);
  const { secrets } = await store.loadSealedSecrets(TIMEOUT_MS);
  const anew = secrets.map((one) => ({ ...one, sealed: new Uint8Array(randomBytes(61)) }));
  expect(await reseal(anew)).toBe("done");
  expect(await store.loadSealedSecrets(TIMEOUT_MS)).toEqual({
    sealingKeyId: OTHER_KEY_ID,
    secrets: expect.arrayContaining(anew),
  });
  const outcomes = [];
  for (const keyId of [KEY_ID, OTHER_KEY_ID]) {
    outcomes.push(await store.ensureProducer(aProducerId(), aSecret(keyId), "test", TIMEOUT_MS));
  }
  expect(outcomes).toEqual(["stale_key", "done"]);
  const page = await store.listAuditEntries(
    { ...EVERYTHING, action: "master_key" },
    FIRST_PAGE,
    TIMEOUT_MS,
  );
  expect(page.items).toMatchObject([
    {
      actor: { tokenId: undefined, name: "test" },
      action: "master_key.rotate",
      before: { key_id: "0101010101010101" },
      after: { key_id: "0202020202020202", secrets: 2 },
    },
  ]);
});

test("seals nothing anew where the key or the secrets are others by now", async () => {
  const { producerId } = await store.make();
  const { secrets } = await store.loadSealedSecrets(TIMEOUT_MS);
  expect(await reseal(secrets, { from: OTHER_KEY_ID, to: KEY_ID })).toBe("stale_key");
  expect(await reseal([...secrets, aSecret()])).toBe("changed");
  await store.rotate(producerId);
  const before = await store.loadSealedSecrets(TIMEOUT_MS);
  expect(await reseal(secrets)).toBe("changed");
  expect(await store.loadSealedSecrets(TIMEOUT_MS)).toEqual(before);
});

test("a database without secrets gets its key by the rotation", async () => {
  expect(await reseal([])).toBe("done");
  expect((await store.load(TIMEOUT_MS)).sealingKeyId).toEqual(OTHER_KEY_ID);
});
