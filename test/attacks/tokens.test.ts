/**
 * Callers without a token that is live, with one that does not allow what they ask for, and at
 * the wrong port: none gets anything or leaves a row, and none learns what there is.
 */
import { describe, expect, test } from "vitest";
import { AuditService } from "../../gen/signals/v1/audit_service_pb.ts";
import { ProducerService } from "../../gen/signals/v1/producer_service_pb.ts";
import { Scope, TokenService } from "../../gen/signals/v1/token_service_pb.ts";
import { generateCredential } from "../../src/signing/index.ts";
import { CALL_FORMS, call, pathOf } from "../server/support/closedCalls.ts";
import { addProducers } from "../server/support/producers.ts";
import { addTokens, aToken, clientOf, forgedWithId, refusalOf } from "../server/support/tokens.ts";
import { bodies, send } from "../server/support/wire.ts";
import { eventually } from "../support/eventually.ts";
import { exchange, type HeaderLines, rawPost } from "./support/rawHttp1.ts";
import { attackedServer, expectNoRow } from "./support/target.ts";

const METHODS = [ProducerService, TokenService, AuditService].flatMap(({ methods }) => methods);
const LIST = pathOf(ProducerService.method.listProducers);

const admin = aToken();
const revoked = aToken({ name: "revoked" });
const expired = aToken({ name: "expired", expireTime: BigInt(Date.now() - 1_000) * 1_000_000n });
const reader = aToken({ name: "reader", scopes: ["read", "review"] });
const restricted = aToken({ name: "restricted", producerIds: ["own", "own-to-come"] });
const foreignToken = aToken({ name: "foreign", producerIds: ["foreign"] });
const OWN_SECRET = generateCredential("sec").text;
const FOREIGN_SECRET = generateCredential("sec").text;
const ALL = [admin, revoked, expired, reader, restricted, foreignToken];

const target = attackedServer({
  async prepare(databaseUrl) {
    await addTokens(databaseUrl, ALL);
    await addProducers(databaseUrl, [
      { producerId: "own", secrets: [{ secret: OWN_SECRET }] },
      { producerId: "foreign", secrets: [{ secret: FOREIGN_SECRET }] },
    ]);
  },
  secrets: () => [...ALL.map(({ text }) => text), OWN_SECRET, FOREIGN_SECRET],
});

const tokens = (token = admin) => clientOf(TokenService, target.opsUrl, token);
const producers = (token = admin) => clientOf(ProducerService, target.opsUrl, token);
const audit = (token = admin) => clientOf(AuditService, target.opsUrl, token);

const bearer = (text: string) => [["authorization", `Bearer ${text}`]] as const;
const base64 = (text: string) => Buffer.from(text).toString("base64");

/** Each way to have no token that is live. */
const FALSE_PROOFS: Readonly<Record<string, () => HeaderLines>> = {
  "no header": () => [],
  "an empty header": () => [["authorization", ""]],
  "the scheme alone": () => [["authorization", "Bearer"]],
  "no scheme": () => [["authorization", admin.text]],
  "Basic with the token": () => [["authorization", `Basic ${admin.text}`]],
  "Basic with the token as its password": () => [
    ["authorization", `Basic ${base64(`admin:${admin.text}`)}`],
  ],
  "a doubled header": () => [...bearer(admin.text), ...bearer(admin.text)],
  "a doubled header, the first one false": () => [...bearer("x"), ...bearer(admin.text)],
  "a doubled header, the second one empty": () => [...bearer(admin.text), ["authorization", ""]],
  "two in one header": () => [["authorization", `Bearer ${admin.text}, Bearer ${admin.text}`]],
  "a blank inside": () => bearer(`${admin.text.slice(0, 20)} ${admin.text.slice(20)}`),
  "a tab before it": () => [["authorization", `Bearer\t${admin.text}`]],
  "quotes around it": () => bearer(`"${admin.text}"`),
  "a truncated token": () => bearer(admin.text.slice(0, -1)),
  "its first half": () => bearer(admin.text.slice(0, 30)),
  "one more character": () => bearer(`${admin.text}0`),
  "the token in capitals": () => bearer(admin.text.toUpperCase()),
  "the token in small letters": () => bearer(admin.text.toLowerCase()),
  "its id alone": () => bearer(admin.tokenId),
  "a digest in its place": () => bearer(Buffer.from(admin.tokenSha256).toString("hex")),
  "an unknown token": () => bearer(aToken().text),
  "its id with another random part": () => bearer(forgedWithId(admin.tokenId)),
  "an id of Object's": () => bearer(forgedWithId("constructor0")),
  "a revoked token": () => bearer(revoked.text),
  "an expired token": () => bearer(expired.text),
  "a producer's secret": () => bearer(OWN_SECRET),
  "a token in a cookie": () => [["cookie", `authorization=Bearer ${admin.text}`]],
  "a token in another header": () => [["x-authorization", `Bearer ${admin.text}`]],
  "a token for a proxy": () => [["proxy-authorization", `Bearer ${admin.text}`]],
  "bytes that are no text": () => bearer("cs_tok_\xff\xfe"),
  "16 KB of it": () => bearer("cs_tok_".padEnd(14_000, "a")),
};

/** Calls over Connect, as bytes. @returns the whole answer, without what is of the moment. */
async function rawCall(path: string, proof: HeaderLines, body = "{}"): Promise<string> {
  const port = Number(new URL(target.opsUrl).port);
  const headers: HeaderLines = [
    ["content-type", "application/json"],
    ["x-request-id", "the-same-for-all"],
    ...proof,
  ];
  const { text } = await exchange(port, [rawPost(path, headers, Buffer.from(body))]);
  return text.replace(/^date: .*\r\n/im, "");
}

describe("without a live token", () => {
  test("each kind of failure gets one and the same answer from each method, and leaves no row", async () => {
    await tokens().revokeToken({ tokenId: revoked.tokenId });
    await eventually("it is revoked", async () =>
      (await rawCall(LIST, bearer(revoked.text))).startsWith("HTTP/1.1 401"),
    );
    await expectNoRow(target.sql, async () => {
      const expected = await rawCall(LIST, []);
      expect(expected).toMatch(/^HTTP\/1\.1 401 /);
      expect(expected).toContain('"UNAUTHENTICATED"');
      for (const method of METHODS) {
        for (const [what, proof] of Object.entries(FALSE_PROOFS)) {
          expect(await rawCall(pathOf(method), proof()), `${method.name} by ${what}`).toBe(
            expected,
          );
        }
      }
    });
  });

  test("the scheme may be written in any case", async () => {
    for (const scheme of ["bearer", "BEARER", "bEaReR"]) {
      const answer = await rawCall(LIST, [["authorization", `${scheme} ${admin.text}`]]);
      expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    }
  });

  test.each(CALL_FORMS)("nothing is served over $name", async (form) => {
    await expectNoRow(target.sql, async () => {
      for (const method of METHODS) {
        for (const text of [aToken().text, forgedWithId(admin.tokenId), revoked.text]) {
          const headers = { authorization: `Bearer ${text}` };
          const ending = await call(
            target.opsUrl,
            { ...method, path: pathOf(method) },
            form,
            headers,
          );
          expect(ending, method.name).toMatchObject({ reason: "UNAUTHENTICATED" });
        }
      }
    });
  });
});

test("a token without the scope gets nothing, whatever it asks for", async () => {
  await expectNoRow(target.sql, async () => {
    for (const method of METHODS) {
      for (const form of CALL_FORMS) {
        const headers = { authorization: `Bearer ${reader.text}` };
        const ending = await call(
          target.opsUrl,
          { ...method, path: pathOf(method) },
          form,
          headers,
        );
        expect(ending, method.name).toMatchObject({
          code: "permission_denied",
          reason: "SCOPE_MISSING",
        });
      }
    }
  });
});

test("no method that administers is on the public port, not even for who may", async () => {
  await expectNoRow(target.sql, async () => {
    for (const method of METHODS) {
      for (const form of CALL_FORMS) {
        const headers = { authorization: `Bearer ${admin.text}` };
        const answer = await call(target.url, { ...method, path: pathOf(method) }, form, headers)
          .then(({ httpStatus }) => httpStatus)
          .catch(() => 404);
        expect(answer, method.name).toBe(404);
      }
    }
  });
});

test("a token in place of a signature proves no producer", async () => {
  await expectNoRow(target.sql, async () => {
    const headers = { authorization: `Bearer ${admin.text}`, "x-signature": "" };
    const answer = await send(target.url, "REST", bodies(), { headers });
    expect(answer.error?.reason).toBe("UNAUTHENTICATED");
  });
});

describe("a token that may see some producers only", () => {
  test("is told the same of those of others as of none", async () => {
    const { producer } = await producers().getProducer({ producerId: "foreign" });
    const secretId = String(producer?.secrets[0]?.secretId);
    const calls: Readonly<Record<string, (id: string) => object>> = {
      GetProducer: (producerId) => ({ producerId }),
      UpdateProducer: (producerId) => ({
        producer: { producerId, displayName: "x" },
        updateMask: "displayName",
      }),
      DisableProducer: (producerId) => ({ producerId }),
      EnableProducer: (producerId) => ({ producerId }),
      RotateProducerSecret: (producerId) => ({ producerId, force: true }),
      RevokeProducerSecret: (producerId) => ({ producerId, secretId }),
      CreateProducer: (producerId) => ({ producerId }),
    };
    await expectNoRow(target.sql, async () => {
      for (const [name, body] of Object.entries(calls)) {
        const path = `/${ProducerService.typeName}/${name}`;
        const ask = (id: string) =>
          rawCall(path, bearer(restricted.text), JSON.stringify(body(id)));
        const answer = await ask("foreign");
        expect(answer, name).toMatch(/^HTTP\/1\.1 40[34] /);
        expect(answer.replaceAll("foreign", "ID"), name).toBe(
          (await ask("nobody1")).replaceAll("nobody1", "ID"),
        );
      }
      // Nor does a name of its own open the secret of another.
      const stolen = producers(restricted).revokeProducerSecret({ producerId: "own", secretId });
      expect((await refusalOf(stolen)).reason).toBe("NOT_FOUND");
    });
    const { producer: after } = await producers().getProducer({ producerId: "foreign" });
    expect(after).toEqual(producer);
  });

  test("can neither end nor make a token beyond its own", async () => {
    await expectNoRow(target.sql, async () => {
      const answers = new Set<string>();
      const path = pathOf(TokenService.method.revokeToken);
      for (const { tokenId } of [admin, foreignToken, reader, aToken()]) {
        const answer = await rawCall(path, bearer(restricted.text), JSON.stringify({ tokenId }));
        expect(answer).toMatch(/^HTTP\/1\.1 404 /);
        answers.add(answer.replaceAll(tokenId, "ID"));
      }
      expect(answers.size).toBe(1);
      for (const producerIds of [[], ["foreign"], ["own", "foreign"]]) {
        const call = tokens(restricted).createToken({
          name: "x",
          scopes: [Scope.ADMIN],
          producerIds,
        });
        await expect(refusalOf(call)).resolves.toBeDefined();
      }
    });
  });

  test("finds nothing of others in any list, on no page and by no filter", async () => {
    await producers().updateProducer({
      producer: { producerId: "foreign", displayName: "The foreign one" },
      updateMask: { paths: ["display_name"] },
    });
    const seen: unknown[] = [];
    for (let pageToken = "", page = 0; page === 0 || pageToken !== ""; page++) {
      const listed = await producers(restricted).listProducers({ pageSize: 1, pageToken });
      seen.push(listed);
      pageToken = listed.nextPageToken;
    }
    seen.push(await tokens(restricted).listTokens({}));
    seen.push(await audit(restricted).listAuditEntries({}));
    const filters = [
      { producerId: "foreign" },
      { tokenId: foreignToken.tokenId },
      { tokenId: admin.tokenId },
      { action: "producer.update" },
    ];
    for (const filter of filters) {
      const found = audit(restricted).listAuditEntries(filter);
      seen.push(await found.catch((error: unknown) => String((error as Error).name)));
    }
    const text = JSON.stringify(seen, (_, value) =>
      typeof value === "bigint" ? `${value}` : value,
    );
    expect(text).toContain("own");
    expect(text.toLowerCase()).not.toContain("foreign");
    expect(text).not.toContain(foreignToken.tokenId);
  });
});
