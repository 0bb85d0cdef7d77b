import { expect, test } from "vitest";
import { openTestDatabase } from "../openTestDatabase.ts";
import {
  ACTOR,
  aProducerId,
  aSecret,
  FIRST_PAGE,
  KEY_ID,
  OTHER_KEY_ID,
  openTestStore,
  SETTINGS,
  TIMEOUT_MS,
} from "./support.ts";

const database = await openTestDatabase(2);
const store = openTestStore(database);

const HOUR = 3_600_000_000_000n;
const now = () => BigInt(Date.now()) * 1_000_000n;

test("gives a producer as it was created, and the audit tells so without its secret", async () => {
  const settings = {
    displayName: "Gold, fast ☃",
    requireApproval: true,
    rateLimitPerSecond: 7,
    allowedInstruments: ["GOLD", 'EU"R,{}\\'],
  };
  const { producerId, secret } = await store.make(settings);
  const producer = await store.getProducer(producerId, TIMEOUT_MS);
  expect(producer).toEqual({
    ...settings,
    producerId,
    enabled: true,
    secrets: [
      {
        secretId: secret.secretId,
        createTime: expect.any(BigInt),
        expireTime: undefined,
        lastUsedTime: undefined,
      },
    ],
    createTime: expect.any(BigInt),
    updateTime: producer?.createTime,
    lastSeenTime: undefined,
  });
  const age = now() - (producer?.createTime ?? 0n);
  expect(age > -HOUR && age < HOUR).toBe(true);
  expect(await store.storyOf(producerId)).toEqual([
    {
      entryId: expect.any(BigInt),
      time: expect.any(BigInt),
      actor: ACTOR,
      action: "producer.create",
      producerId,
      tokenId: undefined,
      reason: undefined,
      before: undefined,
      after: {
        display_name: settings.displayName,
        enabled: true,
        require_approval: true,
        rate_limit_per_second: 7,
        allowed_instruments: settings.allowedInstruments,
        secrets: [{ secret_id: secret.secretId, expire_time: null }],
      },
    },
  ]);
});

test("creates a producer once, and leaves the first one alone", async () => {
  const { producerId, secret } = await store.make({ displayName: "first" });
  const again = { producerId, ...SETTINGS, displayName: "second" };
  expect(await store.createProducer(again, aSecret(), ACTOR, TIMEOUT_MS)).toBe("already_exists");
  expect(await store.getProducer(producerId, TIMEOUT_MS)).toMatchObject({ displayName: "first" });
  expect(await store.liveSecretIds(producerId)).toEqual([secret.secretId]);
  expect(await store.storyOf(producerId)).toHaveLength(1);
});

test("adds no secret that is sealed under another key than the one in force", async () => {
  const { producerId, secret } = await store.make();
  const stale = aSecret(OTHER_KEY_ID);
  const newcomer = aProducerId();
  const rule = { graceSeconds: 0, force: true };
  expect([
    await store.createProducer({ producerId: newcomer, ...SETTINGS }, stale, ACTOR, TIMEOUT_MS),
    await store.rotateProducerSecret(producerId, stale, rule, ACTOR, TIMEOUT_MS),
    await store.ensureProducer(newcomer, stale, "test", TIMEOUT_MS),
  ]).toEqual(["stale_key", "stale_key", "stale_key"]);
  expect(await store.getProducer(newcomer, TIMEOUT_MS)).toBeUndefined();
  expect(await store.liveSecretIds(producerId)).toEqual([secret.secretId]);
  expect((await store.load(TIMEOUT_MS)).sealingKeyId).toEqual(KEY_ID);
});

test("changes only the settings that are named, and tells before and after", async () => {
  const { producerId } = await store.make({ rateLimitPerSecond: 5, allowedInstruments: ["GOLD"] });
  const update = (changes: Parameters<typeof store.updateProducer>[1]) =>
    store.updateProducer(producerId, changes, ACTOR, TIMEOUT_MS);
  const created = await store.getProducer(producerId, TIMEOUT_MS);

  expect(await update({ requireApproval: true })).toBe("done");
  expect(await update({ displayName: "named", rateLimitPerSecond: undefined })).toBe("done");
  expect(await update({ allowedInstruments: undefined })).toBe("done");

  const changed = await store.getProducer(producerId, TIMEOUT_MS);
  expect(changed).toEqual({
    ...created,
    displayName: "named",
    requireApproval: true,
    rateLimitPerSecond: undefined,
    allowedInstruments: undefined,
    updateTime: expect.any(BigInt),
  });
  expect(changed?.updateTime).toBeGreaterThan(created?.updateTime ?? 0n);
  const [, first, second, third] = await store.storyOf(producerId);
  expect(first).toMatchObject({
    actor: ACTOR,
    action: "producer.update",
    before: { require_approval: false, rate_limit_per_second: 5 },
    after: { require_approval: true, rate_limit_per_second: 5 },
  });
  expect(second).toMatchObject({
    before: { display_name: "", rate_limit_per_second: 5 },
    after: { display_name: "named", rate_limit_per_second: 0 },
  });
  expect(third).toMatchObject({
    before: { allowed_instruments: ["GOLD"] },
    after: { allowed_instruments: [] },
  });
});

test("leaves no entry and no new time where nothing changes", async () => {
  const { producerId } = await store.make({ displayName: "same" });
  const before = await store.getProducer(producerId, TIMEOUT_MS);
  for (const changes of [{}, { displayName: "same" }, { rateLimitPerSecond: undefined }]) {
    expect(await store.updateProducer(producerId, changes, ACTOR, TIMEOUT_MS)).toBe("done");
  }
  expect(await store.setProducerEnabled(producerId, true, ACTOR, TIMEOUT_MS)).toBe("done");
  expect(await store.getProducer(producerId, TIMEOUT_MS)).toEqual(before);
  expect(await store.storyOf(producerId)).toHaveLength(1);
});

test("disables and enables, and tells who did", async () => {
  const { producerId } = await store.make();
  for (const enabled of [false, true]) {
    expect(await store.setProducerEnabled(producerId, enabled, ACTOR, TIMEOUT_MS)).toBe("done");
    expect(await store.getProducer(producerId, TIMEOUT_MS)).toMatchObject({ enabled });
  }
  const [, disabled, enabled] = await store.storyOf(producerId);
  expect([disabled, enabled]).toMatchObject([
    { action: "producer.disable", before: { enabled: true }, after: { enabled: false } },
    { action: "producer.enable", before: { enabled: false }, after: { enabled: true } },
  ]);
});

test("a producer that is not there cannot be changed", async () => {
  const [stranger, secret] = [aProducerId(), aSecret()];
  const rule = { graceSeconds: 0, force: true };
  expect([
    await store.updateProducer(stranger, { displayName: "x" }, ACTOR, TIMEOUT_MS),
    await store.setProducerEnabled(stranger, false, ACTOR, TIMEOUT_MS),
    await store.rotateProducerSecret(stranger, secret, rule, ACTOR, TIMEOUT_MS),
    await store.revokeProducerSecret(stranger, secret.secretId, ACTOR, TIMEOUT_MS),
  ]).toEqual(["not_found", "not_found", "not_found", "not_found"]);
  expect(await store.getProducer(stranger, TIMEOUT_MS)).toBeUndefined();
  expect(await store.storyOf(stranger)).toEqual([]);
});

test("after a rotation the secret before goes on for the grace period", async () => {
  const { producerId, secret: old } = await store.make();
  const { secret: fresh, outcome } = await store.rotate(producerId, { graceSeconds: 3_600 });
  expect(outcome).toBe("done");
  const producer = await store.getProducer(producerId, TIMEOUT_MS);
  expect(producer?.secrets).toMatchObject([
    { secretId: fresh.secretId, expireTime: undefined },
    { secretId: old.secretId },
  ]);
  const [newest, kept] = producer?.secrets ?? [];
  expect((kept?.expireTime ?? 0n) - (newest?.createTime ?? 0n)).toBe(HOUR);
  expect((await store.storyOf(producerId)).at(-1)).toMatchObject({
    action: "producer_secret.rotate",
    before: { secrets: [{ secret_id: old.secretId, expire_time: null }] },
    after: {
      secrets: [
        { secret_id: fresh.secretId, expire_time: null },
        { secret_id: old.secretId, expire_time: expect.stringMatching(/^20.*Z$/) },
      ],
    },
  });
});

test("without a grace period the secret before ends at once, and the next rotation may come", async () => {
  const { producerId } = await store.make();
  const first = await store.rotate(producerId, { graceSeconds: 0 });
  expect(await store.liveSecretIds(producerId)).toEqual([first.secret.secretId]);
  expect((await store.rotate(producerId)).outcome).toBe("done");
});

test("a rotation waits for the one before, unless it is forced, and never lengthens a term", async () => {
  const { producerId, secret: oldest } = await store.make();
  const first = await store.rotate(producerId, { graceSeconds: 60 });
  expect((await store.rotate(producerId)).outcome).toBe("under_way");
  expect(await store.liveSecretIds(producerId)).toEqual([first.secret.secretId, oldest.secretId]);

  const forced = await store.rotate(producerId, { force: true, graceSeconds: 3_600 });
  expect(await store.liveSecretIds(producerId)).toEqual([
    forced.secret.secretId,
    first.secret.secretId,
  ]);
  // Its newest secret ends soon by itself.
  await database.query(
    TIMEOUT_MS,
    (sql) => sql`
      UPDATE producer_secrets SET expires_at = now() + interval '10 seconds'
      WHERE secret_id = ${forced.secret.secretId}
    `,
  );
  await store.rotate(producerId, { force: true, graceSeconds: 3_600 });
  const kept = (await store.getProducer(producerId, TIMEOUT_MS))?.secrets[1];
  expect(kept?.secretId).toBe(forced.secret.secretId);
  expect((kept?.expireTime ?? 0n) - now()).toBeLessThan(HOUR / 2n);
});

test("the newest secret is the one that was added last, also after the clock was set back", async () => {
  const { producerId, secret: early } = await store.make();
  await database.query(
    TIMEOUT_MS,
    (sql) => sql`
      UPDATE producer_secrets SET created_at = now() + interval '1 hour'
      WHERE secret_id = ${early.secretId}
    `,
  );
  const { secret } = await store.rotate(producerId);
  expect(await store.liveSecretIds(producerId)).toEqual([secret.secretId, early.secretId]);
});

test("revokes a secret once, and the last one too", async () => {
  const { producerId, secret: old } = await store.make();
  const { secret: fresh } = await store.rotate(producerId);
  const revoke = (secretId: string) =>
    store.revokeProducerSecret(producerId, secretId, ACTOR, TIMEOUT_MS);

  expect(await revoke(old.secretId)).toBe("done");
  expect(await store.liveSecretIds(producerId)).toEqual([fresh.secretId]);
  expect(await revoke(fresh.secretId)).toBe("done");
  expect(await revoke(fresh.secretId)).toBe("done");
  expect(await store.liveSecretIds(producerId)).toEqual([]);
  const story = await store.storyOf(producerId);
  expect(story.map(({ action }) => action)).toEqual([
    "producer.create",
    "producer_secret.rotate",
    "producer_secret.revoke",
    "producer_secret.revoke",
  ]);
  expect(story.at(-1)).toMatchObject({
    before: { secrets: [{ secret_id: fresh.secretId, expire_time: null }] },
    after: { secrets: [] },
  });
  expect((await store.rotate(producerId)).outcome).toBe("done");
});

test("revokes no secret of another producer", async () => {
  const { secret } = await store.make();
  const { producerId } = await store.make();
  expect(await store.revokeProducerSecret(producerId, secret.secretId, ACTOR, TIMEOUT_MS)).toBe(
    "not_found",
  );
});

test("makes sure of a producer, and undoes nothing that a person changed", async () => {
  const producerId = aProducerId();
  const secret = aSecret();
  const ensure = (which = secret) =>
    store.ensureProducer(producerId, which, "countersign serve", TIMEOUT_MS);

  expect(await ensure()).toBe("done");
  await store.updateProducer(producerId, { requireApproval: true }, ACTOR, TIMEOUT_MS);
  await store.setProducerEnabled(producerId, false, ACTOR, TIMEOUT_MS);
  await store.revokeProducerSecret(producerId, secret.secretId, ACTOR, TIMEOUT_MS);
  expect(await ensure()).toBe("done");
  expect(await store.getProducer(producerId, TIMEOUT_MS)).toMatchObject({
    enabled: false,
    requireApproval: true,
    secrets: [],
  });
  const story = await store.storyOf(producerId);
  expect(story.map(({ action }) => action)).toEqual([
    "producer.create",
    "producer.update",
    "producer.disable",
    "producer_secret.revoke",
  ]);
  expect(story[0]).toMatchObject({
    actor: { tokenId: undefined, name: "countersign serve" },
    before: undefined,
    after: { enabled: true, secrets: [{ secret_id: secret.secretId, expire_time: null }] },
  });
});

test("of the secrets that configurations name, the two newest are live", async () => {
  const producerId = aProducerId();
  const secrets = [aSecret(), aSecret(), aSecret()];
  for (const secret of secrets) {
    expect(await store.ensureProducer(producerId, secret, "test", TIMEOUT_MS)).toBe("done");
  }
  const [first, second, third] = secrets.map(({ secretId }) => secretId);
  expect(await store.liveSecretIds(producerId)).toEqual([third, second]);
  // Neither has a term, so that a rotation would end one that may be in use.
  expect((await store.rotate(producerId)).outcome).toBe("under_way");
  expect((await store.storyOf(producerId)).at(-1)).toMatchObject({
    action: "producer_secret.add",
    before: { secrets: [{ secret_id: second }, { secret_id: first }] },
    after: { secrets: [{ secret_id: third }, { secret_id: second }] },
  });
});

test("lists producers page by page in the order of their ids, and only those within", async () => {
  const prefix = `page-${Date.now()}`;
  const ids = ["c", "B", "a", "D", "e"].map((letter) => `${prefix}-${letter}`);
  for (const producerId of ids) {
    await store.make({ producerId });
    await store.rotate(producerId);
  }
  const sorted = ids.toSorted();
  const pages: string[][] = [];
  let after: string | undefined = prefix;
  do {
    const page = await store.listProducers(undefined, { size: 2, after }, TIMEOUT_MS);
    expect(page.items.every(({ secrets }) => secrets.length === 2)).toBe(true);
    pages.push(page.items.map(({ producerId }) => producerId));
    after = page.next;
  } while (after !== undefined);
  expect(pages.flat().filter((id) => id.startsWith(prefix))).toEqual(sorted);
  expect(pages.slice(0, 2)).toEqual([sorted.slice(0, 2), sorted.slice(2, 4)]);

  const within = [sorted[1], sorted[3], "not-there"].map(String);
  const page = await store.listProducers(within, FIRST_PAGE, TIMEOUT_MS);
  expect(page.items.map(({ producerId }) => producerId)).toEqual([sorted[1], sorted[3]]);
  expect(page.next).toBeUndefined();
  const half = await store.listProducers(within, { size: 1, after: undefined }, TIMEOUT_MS);
  expect(half.next).toBe(sorted[1]);
});
