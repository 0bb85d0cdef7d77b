import { beforeEach, expect, test } from "vitest";
import type { AuditEntry, RefusedAttempt } from "../../../src/access/index.ts";
import { openTestDatabase } from "../openTestDatabase.ts";
import {
  ACTOR,
  aProducerId,
  aToken,
  EVERYTHING,
  FIRST_PAGE,
  openTestStore,
  TIMEOUT_MS,
} from "./support.ts";

const database = await openTestDatabase(2);
const store = openTestStore(database);

beforeEach(async () => {
  await database.query(
    TIMEOUT_MS,
    (sql) => sql`TRUNCATE producers, producer_secrets, access_tokens`,
  );
});

const list = (filter: Partial<Parameters<typeof store.listAuditEntries>[0]>) =>
  store.listAuditEntries({ ...EVERYTHING, ...filter }, FIRST_PAGE, TIMEOUT_MS);

const subjects = (items: readonly AuditEntry[]) =>
  items.map(({ action, producerId, tokenId }) => `${action} ${producerId ?? tokenId ?? ""}`.trim());

/** Ages what was noted, as if it had been minutes ago. */
async function passMinutes(): Promise<void> {
  await database.query(
    TIMEOUT_MS,
    (sql) => sql`
      WITH producers AS (
        UPDATE producers SET last_seen_at = last_seen_at - interval '5 minutes'
      ), secrets AS (
        UPDATE producer_secrets SET last_used_at = last_used_at - interval '5 minutes'
      )
      UPDATE access_tokens SET last_used_at = last_used_at - interval '5 minutes'
    `,
  );
}

test("keeps an attempt that was refused, and why", async () => {
  const attempt: RefusedAttempt = {
    actor: { tokenId: "tokOfBob", name: "bob" },
    action: "producer.update",
    producerId: aProducerId(),
    tokenId: undefined,
    reason: "SCOPE_MISSING",
  };
  await store.addRefusedAttempt(attempt, TIMEOUT_MS);
  expect(await store.storyOf(attempt.producerId ?? "")).toEqual([
    {
      ...attempt,
      entryId: expect.any(BigInt),
      time: expect.any(BigInt),
      before: undefined,
      after: undefined,
    },
  ]);
});

test("gives the entries page by page, the newest first, whatever is added meanwhile", async () => {
  const { producerId } = await store.make();
  for (const enabled of [false, true, false, true]) {
    await store.setProducerEnabled(producerId, enabled, ACTOR, TIMEOUT_MS);
  }
  const filter = { ...EVERYTHING, producerId };
  const entries: AuditEntry[] = [];
  const sizes: number[] = [];
  let after: string | undefined;
  do {
    const page = await store.listAuditEntries(filter, { size: 2, after }, TIMEOUT_MS);
    entries.push(...page.items);
    sizes.push(page.items.length);
    after = page.next;
    await store.setProducerEnabled(producerId, sizes.length % 2 === 0, ACTOR, TIMEOUT_MS);
  } while (after !== undefined);
  expect(sizes).toEqual([2, 2, 1]);
  expect(entries.map(({ action }) => action)).toEqual([
    "producer.enable",
    "producer.disable",
    "producer.enable",
    "producer.disable",
    "producer.create",
  ]);
});

test("finds entries by the producer, by a token that did it or is meant, and by the action", async () => {
  const { producerId } = await store.make();
  await store.rotate(producerId);
  const token = aToken();
  await store.createToken(token, ACTOR, TIMEOUT_MS);
  const asToken = { tokenId: token.tokenId, name: token.name };
  await store.setProducerEnabled(producerId, false, asToken, TIMEOUT_MS);

  expect(subjects(await store.storyOf(producerId))).toEqual([
    `producer.create ${producerId}`,
    `producer_secret.rotate ${producerId}`,
    `producer.disable ${producerId}`,
  ]);
  expect(subjects(await store.storyOfToken(token.tokenId))).toEqual([
    `token.create ${token.tokenId}`,
    `producer.disable ${producerId}`,
  ]);
  const ofProducer = async (action: string) => subjects((await list({ producerId, action })).items);
  expect(await ofProducer("producer")).toEqual([
    `producer.disable ${producerId}`,
    `producer.create ${producerId}`,
  ]);
  expect(await ofProducer("producer_secret.rotate")).toEqual([
    `producer_secret.rotate ${producerId}`,
  ]);
  for (const other of ["prod", "producer.", "producer.%", ""]) {
    expect(await ofProducer(other)).toEqual([]);
  }
});

test("who is confined to some producers sees only what concerns them, and tokens inside", async () => {
  const [mine, also, other] = [aProducerId(), aProducerId(), aProducerId()];
  for (const producerId of [mine, also, other]) await store.make({ producerId });
  const lists = [[mine], [mine, also], [mine, other], undefined];
  const tokens = lists.map((producerIds) => ({ ...aToken(), producerIds }));
  for (const token of tokens) await store.createToken(token, ACTOR, TIMEOUT_MS);
  // Neither about a producer nor about a token, and about a token that is not there.
  const nowhere = { actor: ACTOR, producerId: undefined, reason: "NOT_FOUND" } as const;
  await store.addRefusedAttempt(
    { ...nowhere, action: "audit.read", tokenId: undefined },
    TIMEOUT_MS,
  );
  await store.addRefusedAttempt(
    { ...nowhere, action: "token.revoke", tokenId: "nobody" },
    TIMEOUT_MS,
  );

  const { items } = await list({ within: [mine, also] });
  expect(subjects(items)).toEqual([
    `token.create ${tokens[1]?.tokenId}`,
    `token.create ${tokens[0]?.tokenId}`,
    `producer.create ${also}`,
    `producer.create ${mine}`,
  ]);
  const page = await store.listAuditEntries(
    { ...EVERYTHING, within: [mine, also] },
    { size: 3, after: undefined },
    TIMEOUT_MS,
  );
  expect(page.items).toEqual(items.slice(0, 3));
});

test("notes who was seen, once a minute, and tells a first use in the audit once", async () => {
  const { producerId, secret } = await store.make();
  const idle = await store.make();
  const token = aToken();
  await store.createToken(token, ACTOR, TIMEOUT_MS);
  const seen = {
    producerIds: [producerId, "nobody"],
    secretIds: [secret.secretId],
    tokenIds: new Set([token.tokenId]),
  };
  const times = async () => {
    const producer = await store.getProducer(producerId, TIMEOUT_MS);
    const known = await store.getToken(token.tokenId, TIMEOUT_MS);
    return [producer?.lastSeenTime, producer?.secrets[0]?.lastUsedTime, known?.lastUsedTime];
  };
  await store.recordUse(seen, TIMEOUT_MS);
  const first = await times();
  expect(first.every((time) => typeof time === "bigint")).toBe(true);
  await store.recordUse(seen, TIMEOUT_MS);
  expect(await times()).toEqual(first);
  await passMinutes();
  await store.recordUse(seen, TIMEOUT_MS);
  const later = await times();
  expect(later.every((time, place) => (time ?? 0n) > (first[place] ?? 0n))).toBe(true);

  expect((await store.storyOf(producerId)).slice(1)).toMatchObject([
    {
      actor: { tokenId: undefined, name: `producer ${producerId}` },
      action: "producer_secret.first_use",
      after: { secret_id: secret.secretId },
    },
  ]);
  expect((await store.storyOfToken(token.tokenId)).slice(1)).toMatchObject([
    {
      actor: { tokenId: token.tokenId, name: token.name },
      action: "token.first_use",
      tokenId: token.tokenId,
    },
  ]);
  expect(await store.getProducer(idle.producerId, TIMEOUT_MS)).toMatchObject({
    lastSeenTime: undefined,
    secrets: [{ lastUsedTime: undefined }],
  });
});

test("to note who was seen is no change of the producer", async () => {
  const { producerId, secret } = await store.make();
  const before = await store.getProducer(producerId, TIMEOUT_MS);
  await store.recordUse(
    { producerIds: [producerId], secretIds: [secret.secretId], tokenIds: [] },
    TIMEOUT_MS,
  );
  const after = await store.getProducer(producerId, TIMEOUT_MS);
  expect(after?.updateTime).toBe(before?.updateTime);
  expect(after?.lastSeenTime).toBeTypeOf("bigint");
});

test.each([
  "UPDATE audit_log SET actor_name = 'nobody'",
  "DELETE FROM audit_log",
  "TRUNCATE audit_log",
])("refuses %s, also to the owner of the table", async (statement) => {
  const { producerId } = await store.make();
  const before = await store.storyOf(producerId);
  for (const mode of ["origin", "replica"]) {
    await expect(
      database.query(TIMEOUT_MS, (sql) =>
        sql.unsafe(`SET LOCAL session_replication_role = ${mode}; ${statement}`),
      ),
    ).rejects.toThrow("audit_log is append-only");
  }
  expect(await store.storyOf(producerId)).toEqual(before);
});
