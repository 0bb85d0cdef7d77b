/** TokenService on a server, by the generated clients over every protocol. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { ProducerService } from "../../../gen/signals/v1/producer_service_pb.ts";
import { Scope, TokenService } from "../../../gen/signals/v1/token_service_pb.ts";
import { LIVE_TOKENS_MAX } from "../../../src/access/index.ts";
import { generateCredential, readCredential } from "../../../src/signing/index.ts";
import { eventually } from "../../support/eventually.ts";
import { serveFile } from "../../support/serveFile.ts";
import {
  addTokens,
  aToken,
  CLIENT_FORMS,
  type ClientForm,
  clientOf,
  refusalOf,
  type TestToken,
} from "../support/tokens.ts";

const admin = aToken();
const restricted = aToken({ name: "bob", producerIds: ["own-1", "own-2"] });
const other = aToken({ name: "dave", producerIds: ["else-1"] });
const reader = aToken({ name: "carol", scopes: ["read", "review"] });
const file = serveFile({ OPS_PORT: "0" }, (url) =>
  addTokens(url, [admin, restricted, other, reader]),
);

function tokens(token: Pick<TestToken, "text"> = admin, form?: ClientForm) {
  return clientOf(TokenService, file.server.opsUrl, token, form);
}

/** Whether a token may administer producers. */
async function mayAdminister(text: string): Promise<string> {
  const call = clientOf(ProducerService, file.server.opsUrl, { text }).listProducers({});
  return call.then(
    () => "yes",
    async () => String((await refusalOf(call)).reason),
  );
}

const WHOLE = { name: "ops", scopes: [Scope.ADMIN] };

describe.each(CLIENT_FORMS)("over $name", (form) => {
  const client = () => tokens(admin, form);

  test("makes a token that counts at once, shows it, and ends it", async () => {
    const expireTime = timestampFromMs(Date.now() + 3_600_000);
    const { token, info } = await client().createToken({
      name: "Grafana, 2nd floor",
      scopes: [Scope.ADMIN, Scope.READ],
      producerIds: ["bot-1", "bot-2"],
      expireTime,
    });
    expect(readCredential(token)).toMatchObject({ form: "whole", kind: "tok", id: info?.tokenId });
    expect(info).toMatchObject({
      name: "Grafana, 2nd floor",
      scopes: [Scope.ADMIN, Scope.READ],
      producerIds: ["bot-1", "bot-2"],
      // The database keeps microseconds.
      expireTime: { seconds: expireTime.seconds },
    });
    expect(info?.revokeTime).toBeUndefined();
    expect(await mayAdminister(token)).toBe("yes");

    const { tokens: listed } = await client().listTokens({});
    expect(listed[0]).toMatchObject({ tokenId: info?.tokenId, name: "Grafana, 2nd floor" });

    for (let time = 0; time < 2; time++) {
      const revoked = await client().revokeToken({ tokenId: String(info?.tokenId) });
      expect(revoked.info?.revokeTime).toBeDefined();
    }
    expect(await mayAdminister(token)).toBe("UNAUTHENTICATED");
    const { tokens: after } = await client().listTokens({});
    expect(after[0]?.revokeTime).toBeDefined();
  });
});

test("a token ends by itself", async () => {
  const expireTime = timestampFromMs(Date.now() + 1_500);
  const { token } = await tokens().createToken({ ...WHOLE, expireTime });
  expect(await mayAdminister(token)).toBe("yes");
  await eventually("it has ended", async () => (await mayAdminister(token)) !== "yes");
  expect(await mayAdminister(token)).toBe("UNAUTHENTICATED");
});

describe("what is wrong is named at once", () => {
  test.each<[string, () => Promise<unknown>, string[]]>([
    ["CreateToken without anything", () => tokens().createToken({}), ["name", "scopes"]],
    [
      "CreateToken",
      () =>
        tokens().createToken({
          name: "a\u2028b",
          scopes: [Scope.ADMIN, Scope.UNSPECIFIED],
          producerIds: ["a b"],
          expireTime: timestampFromMs(Date.now() - 1),
        }),
      ["name", "scopes", "producer_ids", "expire_time"],
    ],
    [
      "CreateToken with a scope that nobody knows",
      () => tokens().createToken({ name: "ops", scopes: [99 as Scope] }),
      ["scopes"],
    ],
    [
      "CreateToken with a time that is none",
      () => tokens().createToken({ ...WHOLE, expireTime: { seconds: 4_000_000_000n, nanos: 2e9 } }),
      ["expire_time"],
    ],
    [
      "CreateToken for too many producers",
      () =>
        tokens().createToken({
          ...WHOLE,
          producerIds: Array.from({ length: 101 }, (_, at) => `b${at}`),
        }),
      ["producer_ids"],
    ],
    [
      "ListTokens",
      () => tokens().listTokens({ pageSize: -1, pageToken: "?" }),
      ["page_size", "page_token"],
    ],
    ["RevokeToken", () => tokens().revokeToken({ tokenId: "a b" }), ["token_id"]],
  ])("of %s", async (_, call, fields) => {
    const refusal = await refusalOf(call());
    expect(refusal.reason).toBe("INVALID_REQUEST");
    expect([...refusal.fields].sort()).toEqual([...fields].sort());
  });
});

test("takes no page token of another list", async () => {
  const producers = clientOf(ProducerService, file.server.opsUrl, admin);
  for (const producerId of ["p-1", "p-2"]) await producers.createProducer({ producerId });
  const { nextPageToken: pageToken } = await producers.listProducers({ pageSize: 1 });
  expect(await refusalOf(tokens().listTokens({ pageToken }))).toMatchObject({
    reason: "INVALID_REQUEST",
    fields: ["page_token"],
  });
});

test("tells nothing of a token that it may not see, by its place in the list", async () => {
  await tokens(other).createToken({ ...WHOLE, producerIds: ["else-1"] });
  const hidden = await tokens().createToken({ ...WHOLE, producerIds: ["other"] });
  const pages = [hidden.info?.tokenId, "nobody"].map((pageToken) =>
    tokens(other).listTokens({ pageToken: String(pageToken) }),
  );
  const [ofHidden, ofNone] = await Promise.all(pages);
  expect(ofHidden).toEqual(ofNone);
});

test("says what is wrong where there are too many tokens", async () => {
  await file.sql`
    INSERT INTO access_tokens (token_id, token_sha256, name, scopes)
    SELECT 'many' || n, sha256(n::text::bytea), 'many', '{read}'
    FROM generate_series(1, ${LIVE_TOKENS_MAX}::integer) AS n`;
  try {
    expect(await refusalOf(tokens().createToken(WHOLE))).toMatchObject({
      reason: "INVALID_REQUEST",
      fields: ["token"],
      message: expect.stringContaining("token cannot be made: there are 10000 live ones"),
    });
  } finally {
    await file.sql`DELETE FROM access_tokens WHERE name = 'many'`;
  }
});

test("a token without the scope makes no other", async () => {
  expect(await refusalOf(tokens(reader).createToken(WHOLE))).toMatchObject({
    reason: "SCOPE_MISSING",
  });
});

describe("a token with a list of producers", () => {
  const bob = () => tokens(restricted);

  test.each([[[]], [["other"]], [["own-1", "other"]]])(
    "makes none that sees %j",
    async (producerIds) => {
      expect(await refusalOf(bob().createToken({ ...WHOLE, producerIds }))).toMatchObject({
        reason: "INVALID_REQUEST",
        fields: ["producer_ids"],
      });
    },
  );

  test("makes, sees and ends those inside its own list", async () => {
    const { token, info } = await bob().createToken({ ...WHOLE, producerIds: ["own-1"] });
    expect(await mayAdminister(token)).toBe("yes");
    const { tokens: listed } = await bob().listTokens({});
    expect(listed.map(({ tokenId }) => tokenId)).toEqual([info?.tokenId, restricted.tokenId]);
    await bob().revokeToken({ tokenId: String(info?.tokenId) });
    expect(await mayAdminister(token)).toBe("UNAUTHENTICATED");
  });

  test("cannot tell what is not there from what is not its own", async () => {
    const { info } = await tokens().createToken({ ...WHOLE, producerIds: ["own-1", "other"] });
    const refusals = [];
    for (const tokenId of [
      admin.tokenId,
      String(info?.tokenId),
      "nobody",
      generateCredential("tok").id,
    ]) {
      refusals.push(await refusalOf(bob().revokeToken({ tokenId })));
    }
    expect(refusals[0]).toMatchObject({ reason: "NOT_FOUND" });
    for (const refusal of refusals) expect(refusal).toEqual(refusals[0]);
    expect(await mayAdminister(admin.text)).toBe("yes");
  });
});

test("lists page by page, the newest first, also while tokens are made", async () => {
  const before: string[] = [];
  for (let at = 0; at < 5; at++) {
    before.push(String((await tokens().createToken(WHOLE)).info?.tokenId));
  }
  const seen: string[] = [];
  let pageToken = "";
  do {
    const page = await tokens().listTokens({ pageSize: 2, pageToken });
    seen.push(...page.tokens.map(({ tokenId }) => tokenId));
    pageToken = page.nextPageToken;
    await tokens().createToken(WHOLE);
  } while (pageToken !== "");
  expect(seen.slice(0, 5)).toEqual(before.toReversed());
  expect(new Set(seen).size).toBe(seen.length);
});
