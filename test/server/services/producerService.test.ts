/** ProducerService on a server, by the generated clients over every protocol. */
import { describe, expect, test } from "vitest";
import { type Producer, ProducerService } from "../../../gen/signals/v1/producer_service_pb.ts";
import { readCredential } from "../../../src/signing/index.ts";
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
import { bodies, send } from "../support/wire.ts";

const admin = aToken();
const restricted = aToken({ name: "bob", producerIds: ["own-1", "own-2", "own-3"] });
const reader = aToken({ name: "carol", scopes: ["read", "review"] });
const file = serveFile({ OPS_PORT: "0" }, (url) => addTokens(url, [admin, restricted, reader]));

function producers(token: TestToken = admin, form?: ClientForm) {
  return clientOf(ProducerService, file.server.opsUrl, token, form);
}

let lastProducer = 0;

/** Makes a producer. */
async function make(producerId = `bot-${++lastProducer}`) {
  const { secret, producer } = await producers().createProducer({ producerId });
  return { producerId, secret, producer: producer as Producer };
}

/** What becomes of a signal that is signed with this secret. */
async function outcomeOf(producerId: string, secret: string): Promise<string> {
  const answer = await send(file.server.url, "REST", bodies(), { signing: { producerId, secret } });
  return answer.error?.reason ?? "stored";
}

describe.each(CLIENT_FORMS)("over $name", (form) => {
  const client = () => producers(admin, form);
  const producerId = `by-${CLIENT_FORMS.indexOf(form)}`;
  let secret: string;

  test("makes a producer, whose secret signs at once", async () => {
    const made = await client().createProducer({
      producerId,
      displayName: "Gold, 5 min",
      requireApproval: true,
      rateLimitPerSecond: 1_000,
      allowedInstruments: ["XAUUSD", "GOLD"],
    });
    secret = made.secret;
    expect(readCredential(secret)).toMatchObject({ form: "whole", kind: "sec" });
    expect(made.producer).toMatchObject({
      producerId,
      displayName: "Gold, 5 min",
      enabled: true,
      requireApproval: true,
      rateLimitPerSecond: 1_000,
      allowedInstruments: ["XAUUSD", "GOLD"],
      secrets: [{ secretId: secret.split("_")[2] }],
    });
    expect(made.producer?.createTime).toBeDefined();
    expect(made.producer?.lastSeenTime).toBeUndefined();
    expect(made.producer?.secrets[0]?.expireTime).toBeUndefined();
    expect(await outcomeOf(producerId, secret)).toBe("stored");
  });

  test("shows it, alone and in the list", async () => {
    const { producer } = await client().getProducer({ producerId });
    expect(producer).toMatchObject({ producerId, displayName: "Gold, 5 min" });
    const { producers: listed } = await client().listProducers({});
    expect(listed.map((each) => each.producerId)).toContain(producerId);
  });

  test("changes the settings that the mask names, and no others", async () => {
    const { producer } = await client().updateProducer({
      producer: { producerId, displayName: "Gold", allowedInstruments: [], rateLimitPerSecond: 7 },
      updateMask: { paths: ["display_name", "allowed_instruments"] },
    });
    expect(producer).toMatchObject({
      displayName: "Gold",
      allowedInstruments: [],
      requireApproval: true,
      rateLimitPerSecond: 1_000,
    });
  });

  test("disables and enables it, at once and as often as is asked", async () => {
    for (let time = 0; time < 2; time++) {
      const { producer } = await client().disableProducer({ producerId });
      expect(producer?.enabled).toBe(false);
    }
    expect(await outcomeOf(producerId, secret)).toBe("PRODUCER_DISABLED");
    for (let time = 0; time < 2; time++) {
      const { producer } = await client().enableProducer({ producerId });
      expect(producer?.enabled).toBe(true);
    }
    expect(await outcomeOf(producerId, secret)).toBe("stored");
  });

  test("rotates its secret, and both sign until one is revoked", async () => {
    const rotated = await client().rotateProducerSecret({ producerId, graceSeconds: 60 });
    expect(rotated.secret).not.toBe(secret);
    const [newest, before] = rotated.producer?.secrets ?? [];
    expect(newest?.expireTime).toBeUndefined();
    const leftMs = Number(before?.expireTime?.seconds) * 1_000 - Date.now();
    expect(leftMs).toBeGreaterThan(30_000);
    expect(leftMs).toBeLessThan(61_000);
    expect(await outcomeOf(producerId, secret)).toBe("stored");
    expect(await outcomeOf(producerId, rotated.secret)).toBe("stored");

    const secretId = String(before?.secretId);
    for (let time = 0; time < 2; time++) {
      const { producer } = await client().revokeProducerSecret({ producerId, secretId });
      expect(producer?.secrets.map((each) => each.secretId)).toEqual([newest?.secretId]);
    }
    expect(await outcomeOf(producerId, secret)).toBe("UNAUTHENTICATED");
    expect(await outcomeOf(producerId, rotated.secret)).toBe("stored");
  });
});

describe("a rotation", () => {
  test("has a grace period of a day unless it is told another", async () => {
    const { producerId } = await make();
    const { producer } = await producers().rotateProducerSecret({ producerId });
    const leftSeconds = Number(producer?.secrets[1]?.expireTime?.seconds) - Date.now() / 1_000;
    expect(leftSeconds).toBeGreaterThan(86_400 - 60);
    expect(leftSeconds).toBeLessThan(86_400 + 1);
  });

  test("may end the secret before at once", async () => {
    const { producerId, secret } = await make();
    const rotated = await producers().rotateProducerSecret({ producerId, graceSeconds: 0 });
    expect(rotated.producer?.secrets).toHaveLength(1);
    expect(await outcomeOf(producerId, secret)).toBe("UNAUTHENTICATED");
    expect(await outcomeOf(producerId, rotated.secret)).toBe("stored");
  });

  test("is refused while another one is under way, until when, and can be forced", async () => {
    const { producerId, secret } = await make();
    const first = await producers().rotateProducerSecret({ producerId });
    const [, before] = first.producer?.secrets ?? [];
    const refusal = await refusalOf(producers().rotateProducerSecret({ producerId }));
    expect(refusal.reason).toBe("ROTATION_UNDER_WAY");
    expect(refusal.metadata.secret_id).toBe(before?.secretId);
    const until = refusal.metadata.expire_time ?? "";
    expect(Math.floor(Date.parse(until) / 1_000)).toBe(Number(before?.expireTime?.seconds));
    expect(refusal.message).toContain(`the secret ${before?.secretId} signs until ${until}.`);
    expect(refusal.message).toContain("force");

    const forced = await producers().rotateProducerSecret({ producerId, force: true });
    expect(forced.producer?.secrets).toHaveLength(2);
    expect(await outcomeOf(producerId, secret)).toBe("UNAUTHENTICATED");
    expect(await outcomeOf(producerId, first.secret)).toBe("stored");
    expect(await outcomeOf(producerId, forced.secret)).toBe("stored");
  });

  test("is taken once of many at the same time", async () => {
    const { producerId } = await make();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 8 }, () => producers().rotateProducerSecret({ producerId })),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });
});

describe("what is wrong is named at once", () => {
  const calls = producers;
  test.each<[string, () => Promise<unknown>, string[]]>([
    [
      "CreateProducer",
      () =>
        calls().createProducer({
          producerId: "-",
          displayName: "a\nb",
          rateLimitPerSecond: -1,
          allowedInstruments: ["gold"],
        }),
      ["producer_id", "display_name", "rate_limit_per_second", "allowed_instruments"],
    ],
    ["GetProducer", () => calls().getProducer({}), ["producer_id"]],
    [
      "ListProducers",
      () => calls().listProducers({ pageSize: 1_001, pageToken: "a b" }),
      ["page_size", "page_token"],
    ],
    [
      "UpdateProducer without anything",
      () => calls().updateProducer({}),
      ["producer.producer_id", "update_mask"],
    ],
    [
      "UpdateProducer",
      () =>
        calls().updateProducer({
          producer: { producerId: "", displayName: "x".repeat(101), rateLimitPerSecond: 1_000_001 },
          updateMask: { paths: ["display_nam", "display_name", "rate_limit_per_second"] },
        }),
      [
        "producer.producer_id",
        "update_mask",
        "producer.display_name",
        "producer.rate_limit_per_second",
      ],
    ],
    ["DisableProducer", () => calls().disableProducer({ producerId: "a b" }), ["producer_id"]],
    ["EnableProducer", () => calls().enableProducer({ producerId: "a b" }), ["producer_id"]],
    [
      "RotateProducerSecret",
      () => calls().rotateProducerSecret({ producerId: "", graceSeconds: 604_801 }),
      ["producer_id", "grace_seconds"],
    ],
    ["RevokeProducerSecret", () => calls().revokeProducerSecret({}), ["producer_id", "secret_id"]],
  ])("of %s", async (_, call, fields) => {
    const refusal = await refusalOf(call());
    expect(refusal).toMatchObject({ reason: "INVALID_REQUEST" });
    expect([...refusal.fields].sort()).toEqual([...fields].sort());
    expect(refusal.message).not.toContain("Not stored");
    for (const field of fields) expect(refusal.message).toContain(field);
  });

  test("but a setting that the mask does not name may be anything", async () => {
    const { producerId } = await make();
    const { producer } = await producers().updateProducer({
      producer: { producerId, displayName: "ok", rateLimitPerSecond: -5 },
      updateMask: { paths: ["display_name"] },
    });
    expect(producer).toMatchObject({ displayName: "ok", rateLimitPerSecond: 0 });
  });

  test.each([
    ["display_nam", "did you mean display_name?"],
    ["displayName", "did you mean display_name?"],
    ["enabled", "and nothing else"],
    ["*", "and nothing else"],
    ["producer_id", "and nothing else"],
  ])("and a path such as %s is answered with what was meant", async (path, told) => {
    const { producerId } = await make();
    const refusal = await refusalOf(
      producers().updateProducer({ producer: { producerId }, updateMask: { paths: [path] } }),
    );
    expect(refusal.fields).toEqual(["update_mask"]);
    expect(refusal.message).toContain(told);
  });
});

test("a name that is taken is refused, and nothing of it is changed", async () => {
  const { producerId, secret, producer } = await make();
  const again = producers().createProducer({ producerId, displayName: "another" });
  expect(await refusalOf(again)).toMatchObject({ reason: "ALREADY_EXISTS" });
  expect((await producers().getProducer({ producerId })).producer).toMatchObject({
    displayName: "",
    updateTime: producer.updateTime,
  });
  expect(await outcomeOf(producerId, secret)).toBe("stored");
});

test("of many who make the same producer at once, one is told its secret", async () => {
  const outcomes = await Promise.allSettled(
    Array.from({ length: 8 }, () => producers().createProducer({ producerId: "raced" })),
  );
  const [made, ...others] = outcomes.flatMap((each) =>
    each.status === "fulfilled" ? [each.value] : [],
  );
  expect(others).toEqual([]);
  expect(await outcomeOf("raced", String(made?.secret))).toBe("stored");
});

test("a token without the scope is told which it needs", async () => {
  const refusal = await refusalOf(producers(reader).listProducers({}));
  expect(refusal).toMatchObject({
    reason: "SCOPE_MISSING",
    message: "This call needs a token with the scope admin.",
  });
});

describe("a token with a list of producers", () => {
  const bob = () => producers(restricted);
  const anId = { secretId: "x" };
  /** Each call about one producer. */
  const CALLS: Readonly<Record<string, (producerId: string) => Promise<unknown>>> = {
    GetProducer: (producerId) => bob().getProducer({ producerId }),
    UpdateProducer: (producerId) =>
      bob().updateProducer({ producer: { producerId }, updateMask: { paths: ["display_name"] } }),
    DisableProducer: (producerId) => bob().disableProducer({ producerId }),
    EnableProducer: (producerId) => bob().enableProducer({ producerId }),
    RotateProducerSecret: (producerId) => bob().rotateProducerSecret({ producerId }),
    RevokeProducerSecret: (producerId) => bob().revokeProducerSecret({ producerId, ...anId }),
  };

  test.each(Object.entries(CALLS))(
    "cannot tell by %s what is not there from what is not its own",
    async (_, call) => {
      const { producerId } = await make();
      const refusals = [];
      for (const id of [producerId, "nobody", "own-3"]) refusals.push(await refusalOf(call(id)));
      expect(refusals[0]).toMatchObject({ reason: "NOT_FOUND" });
      expect(refusals[1]).toEqual(refusals[0]);
      expect(refusals[2]).toEqual(refusals[0]);
      const { producer } = await producers().getProducer({ producerId });
      expect(producer).toMatchObject({ enabled: true, secrets: [{}] });
    },
  );

  test("makes producers of its list only, and learns of no other", async () => {
    await make("not-own");
    for (const producerId of ["not-own", "nobody-yet"]) {
      expect(await refusalOf(bob().createProducer({ producerId }))).toMatchObject({
        reason: "NOT_FOUND",
        message: "There is no producer of this id that this token may see.",
      });
    }
    const { secret } = await bob().createProducer({ producerId: "own-1" });
    expect(await outcomeOf("own-1", secret)).toBe("stored");
    await make("own-2");
    const { producers: listed, nextPageToken } = await bob().listProducers({});
    expect(listed.map(({ producerId }) => producerId)).toEqual(["own-1", "own-2"]);
    expect(nextPageToken).toBe("");
  });
});

test("lists page by page, also while producers are made", async () => {
  const ids = ["page-b", "page-d", "page-f", "page-h"];
  for (const id of ids) await make(id);
  const seen: string[] = [];
  let pageToken = "";
  let pages = 0;
  do {
    const page = await producers().listProducers({ pageSize: 3, pageToken });
    expect(page.producers.length).toBeLessThanOrEqual(3);
    seen.push(...page.producers.map(({ producerId }) => producerId));
    pageToken = page.nextPageToken;
    // Before what comes, and behind it.
    await make(`page-${"aceg"[pages]}`).catch(() => undefined);
    pages += 1;
  } while (pageToken !== "");
  expect(seen).toEqual([...new Set(seen)].sort());
  expect(seen).toEqual(expect.arrayContaining(ids));
});

test("lists in pages that are read and written in a moment, however much producers may signal", async () => {
  await file.sql`
    INSERT INTO producers (producer_id, allowed_instruments)
    SELECT 'wide-' || lpad(n::text, 3, '0'),
      (SELECT array_agg('INSTRUMENT-' || lpad(m::text, 9, '0')) FROM generate_series(1, 1000) m)
    FROM generate_series(1, 100) n`;
  const seen: string[] = [];
  let pageToken = "";
  do {
    const page = await producers().listProducers({ pageSize: 1_000, pageToken });
    const wide = page.producers.filter(({ producerId }) => producerId.startsWith("wide-"));
    // Each has 21,001 bytes.
    expect(wide.length).toBeLessThanOrEqual(50);
    seen.push(...wide.map(({ producerId }) => producerId));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  expect(seen).toHaveLength(100);
  expect(new Set(seen).size).toBe(100);
});
