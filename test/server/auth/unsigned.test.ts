/**
 * A server for development, which asks for no signature.
 */
import { toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { IngestRequestSchema } from "../../../gen/signals/v1/ingest_service_pb.ts";
import {
  CANCEL,
  data,
  headers,
  NO_ERROR,
  opening,
  post,
  reset,
} from "../../attacks/support/http2Frames.ts";
import { exchange, rawPost, rawRequest } from "../../attacks/support/rawHttp1.ts";
import { eventually } from "../../support/eventually.ts";
import { serveFile } from "../../support/serveFile.ts";
import { UNSIGNED } from "../../support/server.ts";
import { restBody, validIngestRequest } from "../../support/signals.ts";
import { addProducers } from "../support/producers.ts";
import { framed, INGEST_BATCH_PATH, INGEST_PATH, REST_PATH } from "../support/wire.ts";

const file = serveFile(UNSIGNED, (databaseUrl) =>
  addProducers(databaseUrl, [
    { producerId: "disabled-bot", isEnabled: false },
    { producerId: "limited-bot", rateLimitPerSecond: 1 },
    { producerId: "batch-bot", rateLimitPerSecond: 2 },
  ]),
);

async function postRest(producerId: string | undefined) {
  const named = producerId === undefined ? [] : ([["x-producer-id", producerId]] as const);
  const fields = [["content-type", "application/json"], ...named] as const;
  const answer = await exchange(file.server.port, [
    rawPost(REST_PATH, fields, Buffer.from(restBody())),
  ]);
  return { status: answer.status, json: JSON.parse(answer.body) };
}

test.each([
  ["localhost", 200],
  ["LocalHost:1", 200],
  ["127.0.0.1:8080", 200],
  ["127.9.9.9", 200],
  ["[::1]:8080", 200],
  ["[::2]", 400],
  ["192.168.0.1", 400],
  ["127.evil.example", 400],
  ["localhost.evil.example:8080", 400],
])(
  "serves the host %s with %d, so that no web page can send under its own name",
  async (host, status) => {
    const request = rawRequest("GET /api/v1/health HTTP/1.1", [["host", host]]);
    expect((await exchange(file.server.port, [request])).status).toBe(status);
  },
);

test("takes no producer id that is none", async () => {
  for (const producerId of ["-x", "a b", "a".repeat(65), "\xfc"]) {
    expect((await postRest(producerId)).json.reason).toBe("UNAUTHENTICATED");
  }
});

test("keeps to what the database says of a producer", async () => {
  expect((await postRest("disabled-bot")).json.reason).toBe("PRODUCER_DISABLED");
  await eventually(
    "the limit",
    async () => (await postRest("limited-bot")).json.reason === "RATE_LIMITED",
  );
});

test("takes no batch that is bigger than the limit of its producer", async () => {
  const response = await fetch(`${file.server.url}${INGEST_BATCH_PATH}`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-producer-id": "batch-bot" },
    body: JSON.stringify({ requests: [{}, {}, {}] }),
  });
  const text = await response.text();
  expect(text).toContain("must hold at most 2 requests");
  expect(response.status).toBe(400);
});

test.each([
  ["without an error", NO_ERROR],
  ["as cancelled", CANCEL],
])("never takes a body for whole whose stream was reset %s", async (_, code) => {
  const before = await file.sql`SELECT 1 FROM signals`;
  // What came so far could be a whole signal, and yet more was to come.
  const message = toBinary(IngestRequestSchema, validIngestRequest());
  for (const [contentType, body] of [
    ["application/proto", message],
    ["application/grpc", framed(message)],
  ] as const) {
    const fields = [...post(INGEST_PATH), ["content-type", contentType]] as const;
    const begun = Buffer.concat([opening(), headers(1, fields), data(1, body)]);
    const linesBefore = file.server.logLines.length;
    await exchange(file.server.port, [begun, reset(1, code)], "closed", 100);
    await eventually("its line", () => file.server.logLines.length > linesBefore);
    expect(file.server.logLines.at(-1)).toMatchObject({
      path: INGEST_PATH,
      msg: "request aborted",
    });
  }
  expect(await file.sql`SELECT 1 FROM signals`).toHaveLength(before.length);
});
