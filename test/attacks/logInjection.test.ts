/**
 * Texts from outside that would forge a line of the log, steer the terminal of whoever reads it
 * or show one text as another: by strangers in whatever the log tells of a request, and by
 * holders of a token in names. Every line stays one line of JSON, plain to read.
 */
import { expect, test } from "vitest";
import { AuditService } from "../../gen/signals/v1/audit_service_pb.ts";
import { ProducerService } from "../../gen/signals/v1/producer_service_pb.ts";
import { Scope, TokenService } from "../../gen/signals/v1/token_service_pb.ts";
import { readableLine } from "../../src/server/ops/readableLine.ts";
import { run } from "../cli/support/run.ts";
import { pathOf } from "../server/support/closedCalls.ts";
import { addTokens, aToken, clientOf, refusalOf } from "../server/support/tokens.ts";
import { INGEST_PATH, REST_PATH } from "../server/support/wire.ts";
import { eventually } from "../support/eventually.ts";
import { exchange, type HeaderLines, rawRequest } from "./support/rawHttp1.ts";
import { attackedServer, expectNoRow } from "./support/target.ts";

const FORGED_LINE = '{"level":30,"msg":"forged"}';
/** What a text may hold that is not to stand in a line as it is. */
const STEERING: Readonly<Record<string, string>> = {
  "a line end": `x\n${FORGED_LINE}\n`,
  "another line end": `x\r\n${FORGED_LINE}`,
  "the end of a string": `x","msg":"forged","y":"`,
  "an escape of ANSI": "x\u001b[2J\u001b[31mforged\u001b]0;title\u0007",
  "a control sequence in one byte": "x\u009b31m",
  "a NUL": "x\u0000y",
  "a backspace": "admin\b\b\b\b\bforged",
  "a delete": "x\u007fy",
  "a line separator": `x\u2028${FORGED_LINE}`,
  "a paragraph separator": `x\u2029${FORGED_LINE}`,
  "a next line": `x\u0085${FORGED_LINE}`,
  "an override of direction": "x\u202eforged",
  "an isolate of direction": "x\u2066forged\u2069",
  "a width of nothing": "x\u200by\ufeff",
  "half a character": "x\ud800y",
};

// As the audit of a busy day: by way of the database, so that no rule of the calls is in the way.
const named = Object.values(STEERING)
  .filter((text) => !text.includes("\u0000") && text.isWellFormed())
  .map((text) => aToken({ name: `${text}`, producerIds: ["test-bot"] }));
const admin = aToken();
const target = attackedServer({
  prepare: (databaseUrl) => addTokens(databaseUrl, [admin, ...named]),
  secrets: () => [admin.text, ...named.map(({ text }) => text)],
});

const producers = (token = admin) => clientOf(ProducerService, target.opsUrl, token);
const tokens = () => clientOf(TokenService, target.opsUrl, admin);

/** Expects that the log has only whole and plain lines, on a terminal too. @returns how many. */
function expectPlainLines(): number {
  const lines = target.rawLines();
  for (const line of lines) {
    expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
    const { msg, service } = JSON.parse(line);
    expect(service).toBe("countersign");
    expect(msg).not.toBe("forged");
    expect(readableLine(`${line}\n`)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}](?!$)/u);
  }
  return lines.length;
}

/** The bytes of a text, each as a character, for a request that is written by hand. */
const bytesOf = (text: string) => Buffer.from(text, "utf8").toString("latin1");

test("by strangers, in whatever a request has", async () => {
  const ports = [target.server.port, Number(new URL(target.opsUrl).port)];
  for (const [what, text] of Object.entries(STEERING)) {
    const raw = bytesOf(text);
    const fields: HeaderLines = [
      "x-request-id",
      "user-agent",
      "x-producer-id",
      "authorization",
    ].map((name) => [name, raw] as const);
    const host = ["host", "localhost"] as const;
    const json = ["content-type", "application/json"] as const;
    const encoded = encodeURIComponent(text.toWellFormed());
    for (const port of ports) {
      for (const request of [
        ...fields.map((field) => rawRequest(`POST ${REST_PATH} HTTP/1.1`, [host, json, field])),
        ...fields.map((field) =>
          rawRequest(`POST ${pathOf(ProducerService.method.getProducer)} HTTP/1.1`, [
            host,
            json,
            field,
          ]),
        ),
        rawRequest(`GET /${raw} HTTP/1.1`, [host]),
        rawRequest(`GET /${encoded} HTTP/1.1`, [host]),
        rawRequest(`${raw} / HTTP/1.1`, [host]),
        rawRequest(`GET / HTTP/1.1`, [["host", raw]]),
        rawRequest(`POST ${INGEST_PATH}?${raw} HTTP/1.1`, [host, json]),
      ]) {
        await expectNoRow(target.sql, () => exchange(port, [request], "answered", 500));
      }
    }
    expect(expectPlainLines(), what).toBeGreaterThan(0);
  }
}, 180_000);

test("by a token's own name, in the line of each of its calls", async () => {
  for (const token of named) {
    await refusalOf(producers(token).getProducer({ producerId: "nobody" }));
    await eventually("it is told", () =>
      target.server.logLines().some((line) => line.token_id === token.tokenId),
    );
    const line = target.server.logLines().find((each) => each.token_id === token.tokenId);
    // Nothing is lost: a program reads the name as it is.
    expect(line?.token_name).toBe(token.name);
  }
  expectPlainLines();
});

test("by names and ids in calls, of which those that nobody could read are refused", async () => {
  await expectNoRow(target.sql, async () => {
    for (const [what, text] of Object.entries(STEERING)) {
      if (!text.isWellFormed()) continue;
      const isRefused = /[\p{Cc}\u2028\u2029]/u.test(text);
      const asked = [
        () => producers().createProducer({ producerId: text }),
        () => producers().createProducer({ producerId: "a b", displayName: text }),
        () =>
          producers().updateProducer({
            producer: { producerId: "test-bot", displayName: isRefused ? text : "\n" },
            updateMask: { paths: ["display_name"] },
          }),
        () =>
          producers().updateProducer({
            producer: { producerId: "test-bot" },
            updateMask: { paths: [text] },
          }),
        () =>
          producers().updateProducer({
            producer: { producerId: "test-bot", allowedInstruments: [`${text}\n`] },
            updateMask: { paths: ["allowed_instruments"] },
          }),
        () => producers().revokeProducerSecret({ producerId: "test-bot", secretId: text }),
        () => tokens().createToken({ name: isRefused ? text : "\n", scopes: [Scope.ADMIN] }),
        () => tokens().createToken({ name: "x", scopes: [Scope.ADMIN], producerIds: [text] }),
        () => tokens().revokeToken({ tokenId: text }),
        () =>
          clientOf(AuditService, target.opsUrl, admin).listAuditEntries({
            action: text,
            pageToken: text,
          }),
      ];
      for (const call of asked) {
        const { reason } = await refusalOf(call());
        expect(reason, what).toMatch(/^(?:INVALID_REQUEST|MALFORMED_BODY|NOT_FOUND)$/);
      }
    }
  });
  expectPlainLines();
}, 180_000);

test("on a terminal, by names in the tables of the command line", async () => {
  const env = { COUNTERSIGN_OPS_URL: target.opsUrl, COUNTERSIGN_TOKEN: admin.text };
  for (const token of named) {
    await refusalOf(producers(token).disableProducer({ producerId: "nobody" }));
  }
  await target.sql`UPDATE producers SET display_name = ${STEERING["an override of direction"] ?? ""}`;
  for (const command of ["producers", "tokens", "audit"]) {
    const { code, stdout, stderr } = await run([command, "list"], { env });
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(command === "producers" ? /test-bot/ : /forged/);
    for (const line of stdout.split("\n")) {
      expect(line, command).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
      expect(line).not.toMatch(/^{"level"/);
    }
    // For programs: a line each, whatever stands in it.
    const json = await run([command, "list", "--json"], { env });
    expect(json.code).toBe(0);
    for (const line of json.stdout.trimEnd().split("\n")) {
      expect(JSON.parse(line).level).toBeUndefined();
    }
  }
});
