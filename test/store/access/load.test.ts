import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type Database, openDatabase } from "../../../src/store/index.ts";
import {
  createTestDatabase,
  runOnServer,
  silentLog,
  type TestDatabase,
} from "../../support/postgres.ts";
import {
  ACTOR,
  aProducerId,
  aSecret,
  aToken,
  KEY_ID,
  openTestStore,
  TIMEOUT_MS,
} from "./support.ts";

let testDatabase: TestDatabase;
let database: Database;
let store: ReturnType<typeof openTestStore>;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 2, log: silentLog });
  store = openTestStore(database);
});

afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

beforeEach(async () => {
  await run("TRUNCATE producers, producer_secrets, access_tokens, sealing_key");
});

/** As a person does in psql, on a connection of its own. */
const run = (statement: string) => runOnServer(testDatabase.url, statement);

/** By how much the version grows meanwhile. */
async function growthBy(work: () => Promise<unknown>): Promise<number> {
  const before = await store.version(TIMEOUT_MS);
  await work();
  return Number((await store.version(TIMEOUT_MS)) - before);
}

test("gives nothing of nothing", async () => {
  expect(await store.load(TIMEOUT_MS)).toEqual({
    version: await store.version(TIMEOUT_MS),
    sealingKeyId: undefined,
    producers: [],
    tokens: [],
    nextExpiryMs: undefined,
  });
});

test("gives producers with their live secrets, and the live tokens", async () => {
  const odd = { allowedInstruments: ["GOLD", 'EU"R,{}\\'], rateLimitPerSecond: 7 };
  const first = await store.make({ producerId: "b", requireApproval: true, ...odd });
  const second = await store.rotate("b");
  const third = await store.rotate("b", { force: true });
  await store.make({ producerId: "a" });
  await store.setProducerEnabled("a", false, ACTOR, TIMEOUT_MS);
  const [live] = await store.liveSecretIds("a");
  await store.revokeProducerSecret("a", live ?? "", ACTOR, TIMEOUT_MS);

  const inAnHour = BigInt(Date.now() + 3_600_000) * 1_000_000n;
  const tokens = [
    { ...aToken(), name: "Mia's ☃", producerIds: ["a", "b"], expireTime: inAnHour },
    aToken(),
    { ...aToken(), expireTime: BigInt(Date.now() - 1) * 1_000_000n },
  ];
  for (const token of tokens) await store.createToken(token, ACTOR, TIMEOUT_MS);
  const revoked = aToken();
  await store.createToken(revoked, ACTOR, TIMEOUT_MS);
  await store.revokeToken(revoked.tokenId, ACTOR, TIMEOUT_MS);

  const loaded = await store.load(TIMEOUT_MS);
  const sealed = ({ secret: { secretId, sealed } }: typeof first | typeof second) => ({
    secretId,
    sealed,
  });
  expect(loaded).toEqual({
    version: await store.version(TIMEOUT_MS),
    sealingKeyId: KEY_ID,
    producers: [
      {
        producerId: "a",
        enabled: false,
        requireApproval: false,
        rateLimitPerSecond: undefined,
        allowedInstruments: undefined,
        secrets: [],
      },
      {
        producerId: "b",
        enabled: true,
        requireApproval: true,
        ...odd,
        secrets: [sealed(third), sealed(second)],
      },
    ],
    tokens: expect.toSatisfy((given: readonly { tokenId: string }[]) => given.length === 2),
    nextExpiryMs: expect.any(Number),
  });
  expect(loaded.tokens).toEqual(
    expect.arrayContaining(tokens.slice(0, 2).map(({ expireTime: _, ...token }) => token)),
  );
  expect(JSON.stringify(loaded.producers)).not.toContain(first.secret.secretId);
});

test("tells in how many milliseconds the next secret or token ends", async () => {
  const { producerId } = await store.make();
  expect((await store.load(TIMEOUT_MS)).nextExpiryMs).toBeUndefined();
  await store.rotate(producerId, { graceSeconds: 3_600 });
  const ofSecret = (await store.load(TIMEOUT_MS)).nextExpiryMs ?? 0;
  expect(ofSecret > 3_500_000 && ofSecret <= 3_600_000).toBe(true);
  const expireTime = BigInt(Date.now() + 60_000) * 1_000_000n;
  await store.createToken({ ...aToken(), expireTime }, ACTOR, TIMEOUT_MS);
  const ofToken = (await store.load(TIMEOUT_MS)).nextExpiryMs ?? 0;
  expect(ofToken > 0 && ofToken <= 60_000 && Number.isInteger(ofToken)).toBe(true);
  await run("UPDATE access_tokens SET expires_at = now()");
  expect((await store.load(TIMEOUT_MS)).tokens).toEqual([]);
});

test("the version grows by one with each change that counts, by whomever", async () => {
  const { producerId, secret } = await store.make();
  const token = aToken();
  const changes = {
    rotate: () => store.rotate(producerId),
    revoke: () => store.revokeProducerSecret(producerId, secret.secretId, ACTOR, TIMEOUT_MS),
    create: () => store.make(),
    update: () => store.updateProducer(producerId, { requireApproval: true }, ACTOR, TIMEOUT_MS),
    disable: () => store.setProducerEnabled(producerId, false, ACTOR, TIMEOUT_MS),
    ensure: () => store.ensureProducer(aProducerId(), aSecret(), "test", TIMEOUT_MS),
    token: () => store.createToken(token, ACTOR, TIMEOUT_MS),
    bootstrap: () => store.bootstrapToken(aToken(), false, "test", TIMEOUT_MS),
    revokeToken: () => store.revokeToken(token.tokenId, ACTOR, TIMEOUT_MS),
    byHand: () => run("UPDATE producers SET enabled = true"),
    byHandInMany: () =>
      run("BEGIN; UPDATE producers SET enabled = false; DELETE FROM access_tokens; COMMIT"),
    elsewhere: () =>
      run("SET search_path = ''; UPDATE public.producers SET rate_limit_per_second = 3"),
    replica: () =>
      run("SET session_replication_role = replica; UPDATE producers SET enabled = true"),
    lengthen: () => run("UPDATE producer_secrets SET expires_at = now() + interval '1 day'"),
    key: () => run("UPDATE sealing_key SET key_id = '\\x0303030303030303'"),
    secrets: () => run("TRUNCATE producer_secrets"),
    tokens: () => run("TRUNCATE access_tokens"),
    keys: () => run("TRUNCATE sealing_key"),
    producers: () => run("TRUNCATE producers CASCADE"),
  };
  for (const [name, change] of Object.entries(changes)) {
    expect(await growthBy(change), name).toBe(1);
  }
});

test("the version stays with what does not count", async () => {
  const { producerId, secret } = await store.make();
  const token = aToken();
  await store.createToken(token, ACTOR, TIMEOUT_MS);
  const seen = {
    producerIds: [producerId],
    secretIds: [secret.secretId],
    tokenIds: [token.tokenId],
  };
  const others = {
    load: () => store.load(TIMEOUT_MS),
    listProducers: () => store.listProducers(undefined, { size: 1, after: undefined }, TIMEOUT_MS),
    recordUse: () => store.recordUse(seen, TIMEOUT_MS),
    displayName: () => store.updateProducer(producerId, { displayName: "x" }, ACTOR, TIMEOUT_MS),
    same: () => store.updateProducer(producerId, { requireApproval: false }, ACTOR, TIMEOUT_MS),
    enabled: () => store.setProducerEnabled(producerId, true, ACTOR, TIMEOUT_MS),
    refused: () =>
      store.addRefusedAttempt(
        {
          actor: ACTOR,
          action: "producer.read",
          producerId,
          tokenId: undefined,
          reason: "NOT_FOUND",
        },
        TIMEOUT_MS,
      ),
    nobody: () => store.revokeToken("nobody", ACTOR, TIMEOUT_MS),
    ensured: () =>
      store.ensureProducer(
        producerId,
        { ...aSecret(), secretId: secret.secretId },
        "x",
        TIMEOUT_MS,
      ),
    sameByHand: () => run("UPDATE producers SET enabled = enabled"),
    undone: () => run("BEGIN; UPDATE producers SET enabled = NOT enabled; ROLLBACK"),
  };
  for (const [name, work] of Object.entries(others)) {
    expect(await growthBy(work), name).toBe(0);
  }
});

test("a table of the version that lost its row is told, and by its name", async () => {
  await run("BEGIN; CREATE TABLE kept AS TABLE access_version; DELETE FROM access_version; COMMIT");
  await expect(store.load(TIMEOUT_MS)).rejects.toThrow("access_version has lost its only row");
  await expect(store.version(TIMEOUT_MS)).rejects.toThrow("access_version has lost its only row");
  await run("INSERT INTO access_version TABLE kept; DROP TABLE kept");
});
