import { hostname } from "node:os";
import { afterEach, describe, expect, it, vi } from "vitest";
import { clientOptionsFromEnv, createSignalClient } from "../../src/client/index.ts";
import { generateCredential, isProducerId, Secret } from "../../src/signing/index.ts";
import { startTestServer } from "./support/ingestServer.ts";
import { problemsOf } from "./support/problems.ts";

const complete = {
  HMAC_PRODUCER_SECRET: "0123456789abcdef",
  PRODUCER_ID: "bot-1",
  OUTBOUND_SERVER_URL: "https://signals.example.com",
};

const wrongOf = (env: Record<string, string | undefined>, hostName = "host-1") =>
  problemsOf(() => clientOptionsFromEnv(env, hostName));

afterEach(() => vi.unstubAllEnvs());

it("reads every variable", () => {
  const options = clientOptionsFromEnv({
    ...complete,
    HMAC_PRODUCER_ENABLED: "true",
    OUTBOUND_TIMEOUT_SECONDS: "45",
    OUTBOUND_MAX_BODY_SIZE: "2048",
    SIGNALS_PAYLOAD_MAX_BYTES: "40000",
    UNRELATED: "x",
  });
  expect(options).toEqual({
    serverUrl: "https://signals.example.com/",
    producerId: "bot-1",
    secret: expect.any(Secret),
    timeoutMs: 45_000,
    maxBodyBytes: 2_048,
    payloadMaxBytes: 40_000,
  });
});

it("has defaults, which empty variables do not change", () => {
  const unset = clientOptionsFromEnv({ ...complete, PRODUCER_ID: undefined }, "host-1");
  const empty = clientOptionsFromEnv(
    {
      ...complete,
      PRODUCER_ID: "",
      HMAC_PRODUCER_ENABLED: "",
      OUTBOUND_TIMEOUT_SECONDS: "",
      OUTBOUND_MAX_BODY_SIZE: "",
    },
    "host-1",
  );
  for (const options of [unset, empty]) {
    expect(options).toMatchObject({
      producerId: "host-1",
      timeoutMs: 30_000,
      maxBodyBytes: 65_536,
      payloadMaxBytes: 32_768,
    });
  }
});

it("reads the process's own environment and the host's own name", () => {
  for (const [name, value] of Object.entries(complete)) vi.stubEnv(name, value);
  expect(clientOptionsFromEnv()).toMatchObject({ producerId: "bot-1" });
  vi.stubEnv("PRODUCER_ID", "");
  if (isProducerId(hostname())) {
    expect(clientOptionsFromEnv()).toMatchObject({ producerId: hostname() });
  } else {
    expect(() => clientOptionsFromEnv()).toThrow("PRODUCER_ID");
  }
});

describe("each variable", () => {
  it.each([
    ["HMAC_PRODUCER_ENABLED", ["true"], ["True", "TRUE", "1", "yes", "on", " true", "0", "no"]],
    [
      "HMAC_PRODUCER_SECRET",
      ["x".repeat(16), "é".repeat(8)],
      ["x".repeat(15), "\ud800".repeat(16)],
    ],
    ["PRODUCER_ID", ["a", "A".repeat(64), "a.b_c-d"], ["A".repeat(65), "-a", ".a", "a b", "é"]],
    [
      "OUTBOUND_SERVER_URL",
      ["https://example.com", "http://localhost:8080"],
      ["http://example.com", "https://a:b@example.com", "https://example.com?a=b", "example.com"],
    ],
    [
      "OUTBOUND_TIMEOUT_SECONDS",
      ["5", "300", "030"],
      ["4", "301", "30.5", "3e1", "-5", " 30", "30s", "0x1e", "Infinity"],
    ],
    ["OUTBOUND_MAX_BODY_SIZE", ["1024", "65536"], ["1023", "65537", "64KiB", "65_536"]],
    ["SIGNALS_PAYLOAD_MAX_BYTES", ["2", "65536"], ["1", "65537", "32k"]],
  ])("%s is held to its rule", (name, right, wrong) => {
    for (const value of right) expect(wrongOf({ ...complete, [name]: value })).toEqual([]);
    for (const value of wrong) {
      expect(wrongOf({ ...complete, [name]: value }), value).toEqual([name]);
      expect(() => clientOptionsFromEnv({ ...complete, [name]: value })).toThrow(
        new RegExp(`^The client's configuration is wrong: ${name} must [^A-Z]`),
      );
    }
  });
});

it.each([
  ["a typo", generateCredential("sec").text.slice(0, -1), "is a Countersign secret with a typo"],
  [
    "a token",
    generateCredential("tok").text,
    "is a token (cs_tok_…), and must be a producer's secret",
  ],
])("tells %s in the secret before anything is sent", (_, text, words) => {
  const wrong = { ...complete, HMAC_PRODUCER_SECRET: text };
  expect(wrongOf(wrong)).toEqual(["HMAC_PRODUCER_SECRET"]);
  expect(() => clientOptionsFromEnv(wrong)).toThrow(`is wrong: HMAC_PRODUCER_SECRET ${words}`);
  expect(() => clientOptionsFromEnv(wrong)).not.toThrow(text);
});

it("names every wrong variable at once, and never a value", () => {
  const wrong = {
    HMAC_PRODUCER_ENABLED: "maybe",
    HMAC_PRODUCER_SECRET: "hunter2hunter2",
    PRODUCER_ID: "-wrong-id",
    OUTBOUND_SERVER_URL: "http://user:pa55word@example.com",
    OUTBOUND_TIMEOUT_SECONDS: "9999",
    OUTBOUND_MAX_BODY_SIZE: "777",
  };
  expect(wrongOf(wrong).sort()).toEqual(Object.keys(wrong).sort());
  expect(() => clientOptionsFromEnv(wrong)).not.toThrow(
    /hunter2|pa55word|-wrong-id|9999|777[^0-9]|maybe/,
  );
});

it("names what is missing", () => {
  expect(wrongOf({})).toEqual(["HMAC_PRODUCER_SECRET", "OUTBOUND_SERVER_URL"]);
  expect(wrongOf({ ...complete, PRODUCER_ID: "" }, "not a producer id")).toEqual(["PRODUCER_ID"]);
  expect(() => clientOptionsFromEnv({ ...complete, PRODUCER_ID: "" }, "_")).toThrow(
    "PRODUCER_ID is required, since the host's name does not fit",
  );
});

it("switches off without a secret or an address, but not with wrong ones", async () => {
  const off = { HMAC_PRODUCER_ENABLED: "false" };
  const options = clientOptionsFromEnv(off, "not a producer id");
  await using client = createSignalClient(options);
  const result = await client.ingest({ instrument: "GOLD", side: "buy", entryPrice: 1 });
  expect(result.outcome).toBe("disabled");
  expect(wrongOf({ ...off, HMAC_PRODUCER_SECRET: "short" })).toEqual(["HMAC_PRODUCER_SECRET"]);
});

it("switched off by the environment, opens no connection, however it is called", async () => {
  await using server = await startTestServer();
  await using client = createSignalClient(
    clientOptionsFromEnv({
      ...complete,
      HMAC_PRODUCER_ENABLED: "false",
      OUTBOUND_SERVER_URL: server.url,
    }),
  );
  const signal = { instrument: "GOLD", side: "buy", entryPrice: 1 } as const;

  const named = { retry: { retriesMax: 3 }, timeoutMs: 50, idempotencyKey: "key-1" };
  const result = await client.ingest(signal, named);
  const [item] = await client.ingestBatch([{ signal, idempotencyKey: "key-2" }], { retry: false });

  expect(result).toMatchObject({ outcome: "disabled", idempotencyKey: "key-1" });
  expect(item).toMatchObject({ outcome: "disabled", idempotencyKey: "key-2" });
  expect(await server.connections()).toBe(0);
  expect(server.requests).toHaveLength(0);
});
