/** What many servers and people do at the same time, over several pools as they have. */
import postgres from "postgres";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { NewSecret } from "../../../src/access/index.ts";
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
  EVERYTHING,
  FIRST_PAGE,
  KEY_ID,
  OTHER_KEY_ID,
  openTestStore,
  SETTINGS,
  TIMEOUT_MS,
} from "./support.ts";

let testDatabase: TestDatabase;
let databases: Database[];
let stores: ReturnType<typeof openTestStore>[];

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  databases = Array.from({ length: 4 }, () =>
    openDatabase({ url: testDatabase.url, poolSize: 5, log: silentLog }),
  );
  stores = databases.map(openTestStore);
});

afterAll(async () => {
  await Promise.all(databases.map((database) => database.close()));
  await testDatabase.drop();
});

beforeEach(async () => {
  await databases[0]?.query(
    TIMEOUT_MS,
    (sql) => sql`TRUNCATE producers, producer_secrets, access_tokens, sealing_key`,
  );
});

/** The store of one of the pools. */
function storeOf(index: number): ReturnType<typeof openTestStore> {
  const store = stores[index % stores.length];
  if (store === undefined) throw new Error("There is no store");
  return store;
}

type Work<Result> = (store: ReturnType<typeof openTestStore>, index: number) => Promise<Result>;

/** Does something many times at once, in turns over the pools. */
function atOnce<Result>(times: number, work: Work<Result>): Promise<Result[]> {
  return Promise.all(Array.from({ length: times }, (_, index) => work(storeOf(index), index)));
}

function count<Value>(values: readonly Value[], value: Value): number {
  return values.filter((each) => each === value).length;
}

test("of 20 rotations at once, one wins", async () => {
  const { producerId, secret } = await storeOf(0).make();
  const results = await atOnce(20, (store) => store.rotate(producerId));
  const won = results.filter(({ outcome }) => outcome === "done");
  expect(won).toHaveLength(1);
  expect(results.filter(({ outcome }) => outcome === "under_way")).toHaveLength(19);
  expect(await storeOf(0).liveSecretIds(producerId)).toEqual([
    won[0]?.secret.secretId,
    secret.secretId,
  ]);
  expect(await storeOf(0).storyOf(producerId)).toHaveLength(2);
});

test("whatever adds secrets at once, never more than two are live", async () => {
  const { producerId } = await storeOf(0).make();
  let isOver = false;
  const watch = async () => {
    const most = [];
    while (!isOver) most.push((await storeOf(1).liveSecretIds(producerId)).length);
    return Math.max(...most);
  };
  const watched = watch();
  const outcomes = await atOnce(40, (store, index) =>
    index % 4 === 0
      ? store.ensureProducer(producerId, aSecret(), "test", TIMEOUT_MS)
      : store.rotate(producerId, { force: true }).then(({ outcome }) => outcome),
  );
  isOver = true;
  expect(count(outcomes, "done")).toBe(40);
  expect(await watched).toBe(2);
  // Each entry says what the one before it left.
  const story = await storeOf(0).storyOf(producerId);
  const ids = (state: unknown) =>
    ((state as { secrets?: { secret_id: string }[] })?.secrets ?? []).map(
      ({ secret_id }) => secret_id,
    );
  expect(story).toHaveLength(41);
  for (const [index, entry] of story.entries()) {
    if (index > 0) expect(ids(entry.before)).toEqual(ids(story[index - 1]?.after));
  }
});

test("of 20 creations of one producer at once, one wins", async () => {
  const producerId = aProducerId();
  const outcomes = await atOnce(20, (store) =>
    store.createProducer({ producerId, ...SETTINGS }, aSecret(), ACTOR, TIMEOUT_MS),
  );
  expect(count(outcomes, "done")).toBe(1);
  expect(count(outcomes, "already_exists")).toBe(19);
  expect(await storeOf(0).liveSecretIds(producerId)).toHaveLength(1);
  expect(await storeOf(0).storyOf(producerId)).toHaveLength(1);
});

test("20 servers that make sure of one producer at once add its secret once", async () => {
  const [producerId, secret] = [aProducerId(), aSecret()];
  const outcomes = await atOnce(20, (store) =>
    store.ensureProducer(producerId, secret, "test", TIMEOUT_MS),
  );
  expect(count(outcomes, "done")).toBe(20);
  expect(await storeOf(0).liveSecretIds(producerId)).toEqual([secret.secretId]);
  expect(await storeOf(0).storyOf(producerId)).toHaveLength(1);
});

test("of 20 first tokens at once, one is made", async () => {
  const outcomes = await atOnce(20, (store) =>
    store.bootstrapToken(aToken(), false, "test", TIMEOUT_MS),
  );
  expect(count(outcomes, "done")).toBe(1);
  expect(count(outcomes, "already_exists")).toBe(19);
});

test("a token that is revoked by 20 at once is revoked once", async () => {
  const token = aToken();
  await storeOf(0).createToken(token, ACTOR, TIMEOUT_MS);
  const outcomes = await atOnce(20, (store) => store.revokeToken(token.tokenId, ACTOR, TIMEOUT_MS));
  expect(count(outcomes, "done")).toBe(20);
  expect(await storeOf(0).storyOfToken(token.tokenId)).toHaveLength(2);
});

test("the first use of a secret is told once, whoever notes it", async () => {
  const { producerId, secret } = await storeOf(0).make();
  const seen = { producerIds: [producerId], secretIds: [secret.secretId], tokenIds: [] };
  await atOnce(20, (store) => store.recordUse(seen, TIMEOUT_MS));
  const story = await storeOf(0).storyOf(producerId);
  expect(story.map(({ action }) => action)).toEqual([
    "producer.create",
    "producer_secret.first_use",
  ]);
});

test("to note who was seen waits for nobody, and leaves for later what is held", async () => {
  const held = await storeOf(0).make();
  const free = await storeOf(0).make();
  const seen = {
    producerIds: [held.producerId, free.producerId],
    secretIds: [held.secret.secretId, free.secret.secretId],
    tokenIds: [],
  };
  const times = async () => {
    const both = [held, free].map(({ producerId }) =>
      storeOf(0).getProducer(producerId, TIMEOUT_MS),
    );
    return (await Promise.all(both)).map((producer) => [
      producer?.lastSeenTime !== undefined,
      producer?.secrets[0]?.lastUsedTime !== undefined,
    ]);
  };
  const holder = postgres(testDatabase.url, { max: 1, fetch_types: false });
  await holder`BEGIN`;
  await holder`SELECT FROM producers WHERE producer_id = ${held.producerId} FOR UPDATE`;
  await holder`SELECT FROM producer_secrets WHERE producer_id = ${held.producerId} FOR UPDATE`;
  try {
    await storeOf(1).recordUse(seen, 2_000);
    expect(await times()).toEqual([
      [false, false],
      [true, true],
    ]);
  } finally {
    await holder`ROLLBACK`;
    await holder.end();
  }
  await storeOf(1).recordUse(seen, TIMEOUT_MS);
  expect(await times()).toEqual([
    [true, true],
    [true, true],
  ]);
});

test("in an isolation that keeps no changes apart, nothing is changed", async () => {
  const { producerId } = await storeOf(0).make();
  const setting = `ALTER DATABASE ${testDatabase.name} SET default_transaction_isolation`;
  await runOnServer(testDatabase.url, `${setting} = 'repeatable read'`);
  // Behind a pooler, a session is as it is found.
  const url = `${testDatabase.url}?pgbouncer=true`;
  const pooled = openDatabase({ url, poolSize: 1, log: silentLog });
  try {
    await expect(openTestStore(pooled).rotate(producerId)).rejects.toThrow(
      "see its setting default_transaction_isolation",
    );
    expect(await storeOf(0).storyOf(producerId)).toHaveLength(1);
  } finally {
    await pooled.close();
    await runOnServer(testDatabase.url, `${setting} TO DEFAULT`);
  }
});

/** A secret whose sealed bytes tell the key, as real ones do. */
function sealedUnder(keyId: Uint8Array): NewSecret {
  return { ...aSecret(), keyId, sealed: new Uint8Array([...keyId, 0]) };
}

test("while the key is rotated, no secret is left that is sealed under the other key", async () => {
  const producers = await Promise.all(
    Array.from({ length: 8 }, async () => {
      const producerId = aProducerId();
      await storeOf(0).ensureProducer(producerId, sealedUnder(KEY_ID), "test", TIMEOUT_MS);
      return producerId;
    }),
  );
  const keys = [KEY_ID, OTHER_KEY_ID] as const;
  let isOver = false;
  let rotations = 0;

  /** Rotates the key to and fro, as `master-key rotate` would. */
  async function rotateKeys(): Promise<void> {
    for (let turn = 0; turn < 30; ) {
      const [from, to] = turn % 2 === 0 ? keys : [keys[1], keys[0]];
      const { secrets } = await storeOf(1).loadSealedSecrets(TIMEOUT_MS);
      const anew = secrets.map(({ secretId }) => ({ ...sealedUnder(to), secretId }));
      const outcome = await storeOf(1).resealSecrets(
        anew,
        { from, to },
        "master_key.rotate",
        "test",
        TIMEOUT_MS,
      );
      if (outcome === "done") turn += 1;
      rotations = turn;
    }
    isOver = true;
  }

  /** Adds secrets under the key that it read a moment ago. */
  async function addSecrets(worker: number): Promise<number> {
    const store = storeOf(worker);
    let added = 0;
    for (let turn = 0; !isOver; turn += 1) {
      const { sealingKeyId = KEY_ID } = await store.load(TIMEOUT_MS);
      const secret = sealedUnder(sealingKeyId);
      const producerId = producers[(worker + turn) % producers.length] ?? "";
      const rule = { graceSeconds: 0, force: true };
      const outcome = await (turn % 2 === 0
        ? store.rotateProducerSecret(producerId, secret, rule, ACTOR, TIMEOUT_MS)
        : store.createProducer(
            { producerId: aProducerId(), ...SETTINGS },
            secret,
            ACTOR,
            TIMEOUT_MS,
          ));
      if (outcome === "done") added += 1;
    }
    return added;
  }

  /** Reads all at one moment, and finds what only the other key opens. */
  async function findStray(): Promise<number> {
    let strays = 0;
    while (!isOver) {
      const { sealingKeyId, producers: loaded } = await storeOf(3).load(TIMEOUT_MS);
      const sealed = loaded.flatMap(({ secrets }) => secrets.map((one) => one.sealed));
      strays += sealed.filter((bytes) => bytes[0] !== sealingKeyId?.[0]).length;
    }
    return strays;
  }

  const [, strays, ...added] = await Promise.all([
    rotateKeys(),
    findStray(),
    ...[0, 1].map(addSecrets),
  ]);
  expect(rotations).toBe(30);
  expect(strays).toBe(0);
  expect(added.every((count) => count > 0)).toBe(true);
});

test("a storm of all changes at once ends without a deadlock, and each is told or refused", async () => {
  const shared = Array.from({ length: 3 }, aProducerId);
  const tokens = Array.from({ length: 3 }, aToken);
  const pick = <Item>(from: readonly Item[]): Item => {
    const item = from[Math.floor(Math.random() * from.length)];
    if (item === undefined) throw new Error("There is none");
    return item;
  };
  const keyIds = [KEY_ID, OTHER_KEY_ID];
  const works: Work<unknown>[] = [
    (store) =>
      store.createProducer(
        { producerId: pick(shared), ...SETTINGS },
        aSecret(pick(keyIds)),
        ACTOR,
        TIMEOUT_MS,
      ),
    (store) => store.ensureProducer(pick(shared), aSecret(pick(keyIds)), "test", TIMEOUT_MS),
    (store, index) =>
      store.updateProducer(
        pick(shared),
        { displayName: `${index}`, rateLimitPerSecond: index + 1 },
        ACTOR,
        TIMEOUT_MS,
      ),
    (store, index) => store.setProducerEnabled(pick(shared), index % 2 === 0, ACTOR, TIMEOUT_MS),
    (store) =>
      store.rotateProducerSecret(
        pick(shared),
        aSecret(pick(keyIds)),
        { graceSeconds: 60, force: true },
        ACTOR,
        TIMEOUT_MS,
      ),
    async (store) => {
      const producerId = pick(shared);
      const [secretId = ""] = await store.liveSecretIds(producerId);
      return store.revokeProducerSecret(producerId, secretId, ACTOR, TIMEOUT_MS);
    },
    (store) => store.createToken(aToken(), ACTOR, TIMEOUT_MS),
    (store) => store.bootstrapToken(aToken(), false, "test", TIMEOUT_MS),
    (store) => store.revokeToken(pick(tokens).tokenId, ACTOR, TIMEOUT_MS),
    async (store) => {
      const { sealingKeyId = KEY_ID, secrets } = await store.loadSealedSecrets(TIMEOUT_MS);
      const to = pick(keyIds);
      const keys = { from: sealingKeyId, to };
      return store.resealSecrets(secrets, keys, "master_key.reseal", "test", TIMEOUT_MS);
    },
    async (store) => {
      const { producers } = await store.load(TIMEOUT_MS);
      return store.recordUse(
        {
          producerIds: shared,
          secretIds: producers.flatMap(({ secrets }) => secrets.map(({ secretId }) => secretId)),
          tokenIds: tokens.map(({ tokenId }) => tokenId),
        },
        TIMEOUT_MS,
      );
    },
    (store) => store.listProducers(undefined, FIRST_PAGE, TIMEOUT_MS),
    (store) => store.listAuditEntries(EVERYTHING, { size: 10, after: undefined }, TIMEOUT_MS),
  ];
  for (const token of tokens) await storeOf(0).createToken(token, ACTOR, TIMEOUT_MS);
  const results = await atOnce(20, async (store, worker) => {
    const outcomes: unknown[] = [];
    for (let turn = 0; turn < 40; turn += 1) {
      const work = pick(works);
      outcomes.push(await work(store, worker * 100 + turn));
    }
    return outcomes;
  });
  expect(count(results.flat(), "done")).toBeGreaterThan(100);
  const { producers } = await storeOf(0).load(TIMEOUT_MS);
  expect(producers.every(({ secrets }) => secrets.length <= 2)).toBe(true);
});
