import { randomBytes } from "node:crypto";
import { beforeEach, expect, test } from "vitest";
import { LIVE_TOKENS_MAX } from "../../../src/access/index.ts";
import { openTestDatabase } from "../openTestDatabase.ts";
import { ACTOR, aToken, FIRST_PAGE, openTestStore, TIMEOUT_MS } from "./support.ts";

const database = await openTestDatabase(2);
const store = openTestStore(database);

beforeEach(async () => {
  await database.query(TIMEOUT_MS, (sql) => sql`TRUNCATE access_tokens`);
});

test("gives a token as it was created, to the microsecond, and the audit tells so", async () => {
  const token = {
    ...aToken(),
    name: "Mia's ☃ desk",
    scopes: ["read", "review"] as const,
    producerIds: ["bot-1", "bot-2"],
    expireTime: 253_402_300_799_123_456_000n,
  };
  expect(await store.createToken(token, ACTOR, TIMEOUT_MS)).toBe("done");
  const { tokenSha256, ...known } = token;
  expect(await store.getToken(token.tokenId, TIMEOUT_MS)).toEqual({
    ...known,
    createTime: expect.any(BigInt),
    revokeTime: undefined,
    lastUsedTime: undefined,
  });
  const story = await store.storyOfToken(token.tokenId);
  expect(story).toMatchObject([
    {
      actor: ACTOR,
      action: "token.create",
      producerId: undefined,
      tokenId: token.tokenId,
      before: undefined,
      after: {
        name: token.name,
        scopes: token.scopes,
        producer_ids: token.producerIds,
        expire_time: "9999-12-31T23:59:59Z",
        revoke_time: null,
      },
    },
  ]);
  const text = JSON.stringify(story, (_, value) =>
    typeof value === "bigint" ? String(value) : value,
  );
  expect(text).not.toContain(Buffer.from(tokenSha256).toString("hex"));
});

test("knows no token that is not there", async () => {
  expect(await store.getToken("nobody", TIMEOUT_MS)).toBeUndefined();
  expect(await store.revokeToken("nobody", ACTOR, TIMEOUT_MS)).toBe("not_found");
  expect(await store.storyOfToken("nobody")).toEqual([]);
});

test("revokes a token once", async () => {
  const token = aToken();
  await store.createToken(token, ACTOR, TIMEOUT_MS);
  expect(await store.revokeToken(token.tokenId, ACTOR, TIMEOUT_MS)).toBe("done");
  const revoked = await store.getToken(token.tokenId, TIMEOUT_MS);
  expect(revoked?.revokeTime).toBeTypeOf("bigint");
  expect(await store.revokeToken(token.tokenId, ACTOR, TIMEOUT_MS)).toBe("done");
  expect(await store.getToken(token.tokenId, TIMEOUT_MS)).toEqual(revoked);
  const [, ...story] = await store.storyOfToken(token.tokenId);
  expect(story).toMatchObject([
    {
      actor: ACTOR,
      action: "token.revoke",
      before: { revoke_time: null },
      after: { revoke_time: expect.stringMatching(/^20.*Z$/) },
    },
  ]);
});

test("makes the first token that administers everything, and no second one unless forced", async () => {
  const bootstrap = (token: ReturnType<typeof aToken>, force = false) =>
    store.bootstrapToken(token, force, "countersign tokens bootstrap", TIMEOUT_MS);
  // None of these administers everything.
  const past = BigInt(Date.now() - 1_000) * 1_000_000n;
  const scopes = ["admin"] as const;
  const revoked = { ...aToken(), scopes };
  for (const token of [
    { ...aToken(), scopes: ["read", "review"] as const },
    { ...aToken(), scopes, producerIds: ["bot-1"] },
    { ...aToken(), scopes, expireTime: past },
    revoked,
  ]) {
    await store.createToken(token, ACTOR, TIMEOUT_MS);
  }
  await store.revokeToken(revoked.tokenId, ACTOR, TIMEOUT_MS);

  const [first, second] = [aToken(), aToken()];
  expect(await bootstrap(first)).toBe("done");
  expect(await store.getToken(first.tokenId, TIMEOUT_MS)).toMatchObject({
    scopes: ["read", "review", "admin"],
    producerIds: undefined,
    expireTime: undefined,
  });
  expect(await bootstrap(second)).toBe("already_exists");
  expect(await store.storyOfToken(second.tokenId)).toEqual([]);
  expect(await bootstrap(second, true)).toBe("done");
  expect(await store.storyOfToken(second.tokenId)).toMatchObject([
    {
      actor: { tokenId: undefined, name: "countersign tokens bootstrap" },
      action: "token.bootstrap",
      after: { scopes: ["read", "review", "admin"], producer_ids: [] },
    },
  ]);
});

test("has no more live tokens than servers keep in memory", async () => {
  await database.query(
    TIMEOUT_MS,
    (sql) => sql`
      INSERT INTO access_tokens (token_id, token_sha256, name, scopes)
      SELECT 'many' || n, sha256(n::text::bytea), 'many', '{read}'
      FROM generate_series(1, ${LIVE_TOKENS_MAX}::integer) AS n
    `,
  );
  const token = aToken();
  expect([
    await store.createToken(token, ACTOR, TIMEOUT_MS),
    await store.bootstrapToken(token, true, "test", TIMEOUT_MS),
  ]).toEqual(["too_many", "too_many"]);
  expect((await store.load(TIMEOUT_MS)).tokens).toHaveLength(LIVE_TOKENS_MAX);
  await store.revokeToken("many1", ACTOR, TIMEOUT_MS);
  expect(await store.createToken(token, ACTOR, TIMEOUT_MS)).toBe("done");
});

test("lists tokens page by page, the newest first, and only those within", async () => {
  const lists = [undefined, ["bot-1"], ["bot-1", "bot-2"], ["bot-3"], ["bot-2"]];
  const tokens = lists.map((producerIds) => ({ ...aToken(), producerIds }));
  for (const token of tokens) await store.createToken(token, ACTOR, TIMEOUT_MS);
  // Also where some were made at the same time.
  await database.query(
    TIMEOUT_MS,
    (sql) => sql`
    UPDATE access_tokens SET created_at = now() WHERE producer_ids = '{bot-1}' OR producer_ids = '{bot-3}'
  `,
  );
  const all = await store.listTokens(undefined, FIRST_PAGE, TIMEOUT_MS);
  expect(all.items).toHaveLength(5);
  const times = all.items.map(({ createTime }) => createTime);
  expect(times).toEqual(times.toSorted((a, b) => Number(b - a)));

  const ids: string[] = [];
  let after: string | undefined;
  do {
    const page = await store.listTokens(undefined, { size: 1, after }, TIMEOUT_MS);
    ids.push(...page.items.map(({ tokenId }) => tokenId));
    after = page.next;
    // What is made meanwhile is no part of the pages that follow.
    await store.createToken(aToken(), ACTOR, TIMEOUT_MS);
  } while (after !== undefined);
  expect(ids).toEqual(all.items.map(({ tokenId }) => tokenId));

  const within = await store.listTokens(["bot-1", "bot-2"], FIRST_PAGE, TIMEOUT_MS);
  expect(within.items.map(({ producerIds }) => producerIds).toSorted()).toEqual([
    ["bot-1"],
    ["bot-1", "bot-2"],
    ["bot-2"],
  ]);
});

test("a hash of another length is no token", async () => {
  const token = { ...aToken(), tokenSha256: new Uint8Array(randomBytes(31)) };
  await expect(store.createToken(token, ACTOR, TIMEOUT_MS)).rejects.toThrow("23514");
  expect(await store.storyOfToken(token.tokenId)).toEqual([]);
});
