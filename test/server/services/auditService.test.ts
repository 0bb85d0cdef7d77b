/** AuditService on a server: what a day of administration reads like. */
import { describe, expect, test } from "vitest";
import { type AuditEntry, AuditService } from "../../../gen/signals/v1/audit_service_pb.ts";
import { ProducerService } from "../../../gen/signals/v1/producer_service_pb.ts";
import { Scope, TokenService } from "../../../gen/signals/v1/token_service_pb.ts";
import { eventually } from "../../support/eventually.ts";
import { serveFile } from "../../support/serveFile.ts";
import {
  addTokens,
  aToken,
  CLIENT_FORMS,
  clientOf,
  refusalOf,
  type TestToken,
} from "../support/tokens.ts";

const alice = aToken({ name: "alice" });
const bob = aToken({ name: "bob", producerIds: ["gold-bot"] });
const carol = aToken({ name: "carol", scopes: ["read"] });
const file = serveFile({ OPS_PORT: "0" }, (url) => addTokens(url, [alice, bob, carol]));

const producers = (token: TestToken) => clientOf(ProducerService, file.server.opsUrl, token);
const tokens = (token: TestToken) => clientOf(TokenService, file.server.opsUrl, token);
const audit = (token: TestToken = alice) => clientOf(AuditService, file.server.opsUrl, token);

/** One entry in a line: who did what with what, and why not. */
function told({ actorName, action, producerId, tokenId, reason }: AuditEntry): string {
  const isOwn = [alice, bob, carol].some((token) => token.tokenId === tokenId);
  return [actorName, action, producerId, isOwn ? "" : tokenId && "another token", reason]
    .filter((word) => word !== "")
    .join(" ");
}

test("a day reads as a story: who, what, before and after", async () => {
  const producerId = "gold-bot";
  const { producers: none } = await producers(alice).listProducers({});
  expect(none.map((each) => each.producerId)).toEqual(["test-bot"]);

  await producers(alice).createProducer({ producerId, displayName: "Gold" });
  await producers(bob).updateProducer({
    producer: { producerId, displayName: "Gold, 5 min", rateLimitPerSecond: 10 },
    updateMask: { paths: ["display_name", "rate_limit_per_second"] },
  });
  await refusalOf(producers(bob).disableProducer({ producerId: "test-bot" }));
  await refusalOf(producers(carol).enableProducer({ producerId }));
  const { producer } = await producers(alice).rotateProducerSecret({ producerId });
  await refusalOf(producers(alice).rotateProducerSecret({ producerId }));
  const [newest, before] = producer?.secrets ?? [];
  await producers(alice).revokeProducerSecret({ producerId, secretId: String(before?.secretId) });
  await producers(alice).disableProducer({ producerId });
  const { info } = await tokens(alice).createToken({ name: "dora", scopes: [Scope.READ] });
  await tokens(alice).revokeToken({ tokenId: String(info?.tokenId) });
  await refusalOf(producers(alice).createProducer({ producerId }));

  const story = [
    "alice producer.create gold-bot",
    "bob producer.update gold-bot",
    "bob producer.disable test-bot NOT_FOUND",
    "carol producer.enable SCOPE_MISSING",
    "alice producer_secret.rotate gold-bot",
    "alice producer_secret.rotate gold-bot ROTATION_UNDER_WAY",
    "alice producer_secret.revoke gold-bot",
    "alice producer.disable gold-bot",
    "alice token.create another token",
    "alice token.revoke another token",
    "alice producer.create gold-bot ALREADY_EXISTS",
  ];
  let entries: AuditEntry[] = [];
  await eventually("all is told", async () => {
    entries = (await audit().listAuditEntries({})).entries.filter(
      ({ actorTokenId, action }) => actorTokenId !== "" && !action.endsWith("first_use"),
    );
    return entries.length >= story.length;
  });
  // Refusals are written beside the answer, and may stand a little later than what came next.
  expect(entries.map(told).sort()).toEqual([...story].sort());
  const done = entries.filter(({ reason }) => reason === "").reverse();
  expect(done.map(told)).toEqual(story.filter((line) => !/[A-Z]{3}/.test(line)));

  const [, updated, rotated, revoked, disabled] = done;
  expect(updated).toMatchObject({
    actorTokenId: bob.tokenId,
    before: { display_name: "Gold", rate_limit_per_second: 0 },
    after: { display_name: "Gold, 5 min", rate_limit_per_second: 10, enabled: true },
  });
  expect(rotated?.before).toMatchObject({
    secrets: [{ secret_id: before?.secretId, expire_time: null }],
  });
  expect(rotated?.after).toMatchObject({
    secrets: [
      { secret_id: newest?.secretId, expire_time: null },
      { secret_id: before?.secretId, expire_time: expect.stringMatching(/^20/) },
    ],
  });
  expect(revoked?.after).toMatchObject({ secrets: [{ secret_id: newest?.secretId }] });
  expect(disabled).toMatchObject({ before: { enabled: true }, after: { enabled: false } });
});

test("a call that changes nothing leaves no entry", async () => {
  const producerId = "still-bot";
  await producers(alice).createProducer({ producerId });
  await producers(alice).enableProducer({ producerId });
  await producers(alice).getProducer({ producerId });
  const { entries } = await audit().listAuditEntries({ producerId });
  expect(entries.map(({ action }) => action)).toEqual(["producer.create"]);
});

test("what is refused again and again is told once", async () => {
  for (let time = 0; time < 5; time++) {
    await refusalOf(tokens(carol).createToken({ name: `try ${time}`, scopes: [Scope.ADMIN] }));
  }
  await refusalOf(tokens(alice).createToken({}));
  const filter = { action: "token.create" };
  const refused = async () =>
    (await audit().listAuditEntries(filter)).entries.filter(({ reason }) => reason !== "");
  await eventually("both are told", async () => (await refused()).length >= 2);
  expect((await refused()).map(told).sort()).toEqual([
    "alice token.create INVALID_REQUEST",
    "carol token.create SCOPE_MISSING",
  ]);
});

test.each(CLIENT_FORMS)("is read over $name, filtered and page by page", async (form) => {
  const client = clientOf(AuditService, file.server.opsUrl, alice, form);
  const producerId = `audited-${CLIENT_FORMS.indexOf(form)}`;
  await producers(alice).createProducer({ producerId });
  for (const displayName of ["a", "b", "c"]) {
    await producers(alice).updateProducer({
      producer: { producerId, displayName },
      updateMask: { paths: ["display_name"] },
    });
  }
  const names: unknown[] = [];
  let pageToken = "";
  do {
    const page = await client.listAuditEntries({
      producerId,
      tokenId: alice.tokenId,
      action: "producer.update",
      pageSize: 2,
      pageToken,
    });
    names.push(...page.entries.map(({ after }) => after?.display_name));
    pageToken = page.nextPageToken;
    await producers(alice).disableProducer({ producerId });
  } while (pageToken !== "");
  expect(names).toEqual(["c", "b", "a"]);
  const { entries } = await client.listAuditEntries({ producerId, action: "producer" });
  expect(entries.map(({ action }) => action)).toEqual([
    "producer.disable",
    ...Array(3).fill("producer.update"),
    "producer.create",
  ]);
  expect(entries[0]?.entryId).toBeGreaterThan(Number(entries[1]?.entryId));
  expect(entries[0]?.time).toBeDefined();
});

test("comes in pages that a process can read and write in a moment, however big its entries are", async () => {
  const { sql } = file;
  await sql`
    INSERT INTO audit_log (actor_name, action, producer_id, after)
    SELECT 'a test', 'producer.big', 'big', jsonb_build_object('text', repeat('x', 300000))
    FROM generate_series(1, 9)`;
  const counts: number[] = [];
  let pageToken = "";
  do {
    const page = await audit().listAuditEntries({ producerId: "big", pageSize: 1_000, pageToken });
    counts.push(page.entries.length);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  expect(counts).toEqual([4, 4, 1]);
});

describe("the request", () => {
  test("is told all that is wrong at once", async () => {
    const filter = { producerId: "a b", tokenId: "a b", action: "Producer.", pageSize: 1_001 };
    expect((await refusalOf(audit().listAuditEntries(filter))).fields).toEqual([
      "producer_id",
      "token_id",
      "action",
      "page_size",
    ]);
  });

  test.each([
    "0",
    "-1",
    "1.5",
    "1e3",
    " 1",
    "0x1",
    "9223372036854775808",
    "9".repeat(400),
    "1\n",
    "1\0",
    "local-bot",
    "\u0661",
  ])("has no page token %j", async (pageToken) => {
    expect(await refusalOf(audit().listAuditEntries({ pageToken }))).toMatchObject({
      reason: "INVALID_REQUEST",
      fields: ["page_token"],
    });
  });

  test("takes the greatest page token there is", async () => {
    const { entries } = await audit().listAuditEntries({ pageToken: "9".repeat(18) });
    expect(entries.length).toBeGreaterThan(0);
  });

  test("needs the scope admin", async () => {
    expect(await refusalOf(audit(carol).listAuditEntries({}))).toMatchObject({
      reason: "SCOPE_MISSING",
    });
  });
});

test("a token with a list of producers reads only what concerns these", async () => {
  const { entries } = await audit(bob).listAuditEntries({});
  expect(entries.length).toBeGreaterThan(0);
  for (const { producerId, tokenId } of entries) {
    expect([producerId, tokenId]).toEqual(
      expect.arrayContaining([producerId === "" ? bob.tokenId : "gold-bot"]),
    );
  }
});
