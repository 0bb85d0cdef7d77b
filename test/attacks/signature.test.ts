/**
 * A request that is not signed, or not as it was signed, is refused before anything
 * looks into it, and does not learn why.
 */
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, test } from "vitest";
import { authenticateBySignature } from "../../src/server/auth/authenticate.ts";
import { directoryOf } from "../server/support/directory.ts";
import { NO_LIMIT } from "../server/support/noLimit.ts";
import { addProducers } from "../server/support/producers.ts";
import {
  bodies,
  framed,
  grpcError,
  http2Post,
  INGEST_BATCH_PATH,
  INGEST_PATH,
  PROTOCOLS,
  REST_PATH,
  send,
} from "../server/support/wire.ts";
import { serveFile } from "../support/serveFile.ts";
import { TEST_PRODUCER_ID, TEST_SECRET, testHeaders } from "../support/server.ts";
import { exchange, type HeaderLines, rawPost } from "./support/rawHttp1.ts";

const OTHER_SECRET = "the-secret-of-another-bot-00001";
const AUTH_HEADERS = ["x-producer-id", "x-timestamp", "x-signature"] as const;

const file = serveFile({}, (databaseUrl) =>
  addProducers(databaseUrl, [{ producerId: "other-bot", secrets: [{ secret: OTHER_SECRET }] }]),
);

afterEach(async () => {
  await file.sql`TRUNCATE signals, request_signatures`;
});

async function rowCount(): Promise<number> {
  const [row] = await file.sql`
    SELECT (SELECT count(*) FROM signals) + (SELECT count(*) FROM request_signatures) AS rows
  `;
  return Number(row?.rows);
}

/** A signed request, to be spoilt. */
interface Signed {
  readonly path: string;
  readonly contentType: string;
  readonly headers: HeaderLines;
  readonly body: Uint8Array;
}

type Spoil = (signed: Signed) => Signed;

const TARGETS: Readonly<Record<string, () => Signed>> = {
  "Connect JSON": () => signed(INGEST_PATH, "application/json", bodies().json),
  "Connect binary": () => signed(INGEST_PATH, "application/proto", bodies().binary),
  REST: () => signed(REST_PATH, "application/json", bodies().rest),
};

function signed(path: string, contentType: string, body: Uint8Array): Signed {
  return { path, contentType, headers: Object.entries(testHeaders(path, body)), body };
}

function withHeaders(change: (headers: HeaderLines) => HeaderLines): Spoil {
  return (request) => ({ ...request, headers: change(request.headers) });
}

/** Replaces the field by none, one or several lines. */
function replaced(name: string, values: (value: string) => readonly string[]): Spoil {
  return withHeaders((headers) =>
    headers.flatMap(
      ([known, value]): HeaderLines =>
        known === name ? values(value).map((other) => [known, other] as const) : [[known, value]],
    ),
  );
}

const CHANGES: Readonly<Record<string, (value: string) => readonly string[]>> = {
  missing: () => [],
  empty: () => [""],
  "sent twice": (value) => [value, value],
  "sent twice, the first one empty": (value) => ["", value],
  "sent twice, the second one false": (value) => [value, "x"],
  "joined with itself by a comma": (value) => [`${value},${value}`],
  "followed by junk": (value) => [`${value};`],
  "with a blank inside": (value) => [`${value.slice(0, 5)} ${value.slice(5)}`],
  "in quotes": (value) => [`"${value}"`],
};

const SIGNATURES: Readonly<Record<string, (value: string) => string>> = {
  "of another body": () => Buffer.alloc(32, 1).toString("base64"),
  "in the URL-safe alphabet": (value) => value.replaceAll("+", "-").replaceAll("/", "_"),
  "without padding": (value) => value.slice(0, -1),
  "with too much padding": (value) => `${value}=`,
  "with unused bits set": (value) => value.slice(0, 42) + nextLetter(value.charAt(42)) + value[43],
  "in hex": (value) => Buffer.from(value, "base64").toString("hex"),
  "of 31 bytes": (value) => Buffer.from(value, "base64").subarray(1).toString("base64"),
  "of 33 bytes": (value) => Buffer.from(`${value.slice(0, 43)}AA==`, "base64").toString("base64"),
  "of no bytes": () => "=",
};

/** The next letter of the alphabet, which differs in bits that padding leaves unused. */
function nextLetter(letter: string): string {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  return alphabet.charAt(alphabet.indexOf(letter) + 1);
}

const OTHER_TEXTS: readonly (readonly [string, string])[] = [
  ["x-producer-id", "nobody"],
  ["x-producer-id", "other-bot"],
  ["x-producer-id", TEST_PRODUCER_ID.toUpperCase()],
  ["x-producer-id", `-${TEST_PRODUCER_ID}`],
  ["x-producer-id", "b".repeat(65)],
  ["x-producer-id", "__proto__"],
  ["x-producer-id", "constructor"],
  ["x-producer-id", "\xfc\xff"],
  ["x-timestamp", new Date().toISOString().replace("T", " ")],
  ["x-timestamp", new Date().toISOString().toLowerCase()],
  ["x-timestamp", new Date().toISOString().replace("Z", "")],
  ["x-timestamp", new Date().toISOString().replace("Z", "0000000Z")],
  ["x-timestamp", `${Math.floor(Date.now() / 1_000)}`],
  ["x-timestamp", new Date(Date.now() + 1).toISOString()],
  ["x-timestamp", "2024-02-30T00:00:00Z"],
];

/** Each way to be not authenticated, over HTTP/1.1 as bytes. */
const SPOILS: readonly (readonly [string, Spoil])[] = [
  ...AUTH_HEADERS.flatMap((name) =>
    Object.entries(CHANGES).map(
      ([what, change]) => [`${name} ${what}`, replaced(name, change)] as const,
    ),
  ),
  ...Object.entries(SIGNATURES).map(
    ([what, change]) =>
      [
        `a signature ${what}`,
        replaced("x-signature", (value) => (change(value) === value ? [] : [change(value)])),
      ] as const,
  ),
  ...OTHER_TEXTS.map(
    ([name, text]) => [`${name} as ${text.slice(0, 30)}`, replaced(name, () => [text])] as const,
  ),
  ["no header at all", withHeaders(() => [])],
  [
    "the headers of a producer under its neighbour's secret",
    ({ path, body, ...rest }) => ({
      ...rest,
      path,
      body,
      headers: Object.entries(testHeaders(path, body, { secret: OTHER_SECRET })),
    }),
  ],
  [
    "a body with one more byte",
    ({ body, ...rest }) => ({ ...rest, body: Buffer.concat([body, Buffer.from(" ")]) }),
  ],
  ["an empty body", (request) => ({ ...request, body: Buffer.alloc(0) })],
  [
    "a body with one bit changed",
    ({ body, ...rest }) => {
      const changed = Buffer.from(body);
      changed[20] = (changed[20] as number) ^ 1;
      return { ...rest, body: changed };
    },
  ],
  [
    "a signature for another endpoint",
    ({ body, ...rest }) => ({
      ...rest,
      body,
      headers: Object.entries(testHeaders(INGEST_BATCH_PATH, body)),
    }),
  ],
  [
    "a body that no parser could read",
    (request) => ({ ...request, body: Buffer.from('{"signal":{{{') }),
  ],
  [
    "a body of broken UTF-8",
    (request) => ({ ...request, body: Buffer.from([0x7b, 0xff, 0xfe, 0x00]) }),
  ],
  [
    "a body of a hundred thousand brackets, cut at the limit",
    (request) => ({ ...request, body: Buffer.alloc(60_000, "[") }),
  ],
];

async function sendSigned(request: Signed): Promise<string> {
  const headers: HeaderLines = [
    ["content-type", request.contentType],
    ["x-request-id", "the-same-for-all"],
    ...request.headers,
  ];
  const answer = await exchange(file.server.port, [rawPost(request.path, headers, request.body)]);
  return answer.text.replace(/^date: .*\r\n/im, "");
}

describe.each(Object.keys(TARGETS))("over HTTP/1.1, %s", (target) => {
  const make = TARGETS[target] as () => Signed;

  test("a request that is signed well is taken", async () => {
    expect(await sendSigned(make())).toMatch(/^HTTP\/1\.1 20[01] /);
    expect(await rowCount()).toBeGreaterThan(0);
  });

  test("each kind of failure gets one and the same answer and leaves no row", async () => {
    const wrong = replaced("x-signature", () => [Buffer.alloc(32).toString("base64")]);
    const expected = await sendSigned(wrong(make()));
    expect(expected).toMatch(/^HTTP\/1\.1 401 /);
    expect(expected).toContain(target === "REST" ? '"UNAUTHENTICATED"' : '"unauthenticated"');
    for (const [what, spoil] of SPOILS) {
      const request = spoil(make());
      expect(await sendSigned(request), what).toBe(expected);
    }
    expect(await rowCount()).toBe(0);
  });
});

describe("over HTTP/2, gRPC", () => {
  type Headers = Readonly<Record<string, string | string[]>>;

  async function sendGrpc(change: (headers: Record<string, string>) => Headers) {
    const { binary } = bodies();
    const headers = {
      "content-type": "application/grpc",
      te: "trailers",
      "x-request-id": "the-same-for-all",
      ...change(testHeaders(INGEST_PATH, binary)),
    };
    const answer = await http2Post(file.server.url, INGEST_PATH, headers, framed(binary));
    const { date: _, ...rest } = answer.headers;
    return { rest, error: grpcError(answer.headers) };
  }

  test("a request that is signed well is taken", async () => {
    const { error } = await sendGrpc((headers) => headers);
    expect(error).toBeUndefined();
  });

  test("each kind of failure gets one and the same answer and leaves no row", async () => {
    const expected = await sendGrpc((headers) => ({
      ...headers,
      "x-signature": Buffer.alloc(32).toString("base64"),
    }));
    expect(expected.error).toMatchObject({ code: "unauthenticated", reason: "UNAUTHENTICATED" });
    for (const name of AUTH_HEADERS) {
      for (const [what, change] of Object.entries(CHANGES)) {
        const answer = await sendGrpc((headers) => {
          const { [name]: value, ...others } = headers;
          const values = change(value as string);
          return values.length === 0 ? others : { ...others, [name]: [...values] };
        });
        expect(answer, `${name} ${what}`).toEqual(expected);
      }
    }
    expect(await rowCount()).toBe(0);
  });
});

test("a failure does not tell whether the producer exists, not even to the log", async () => {
  const authenticate = authenticateBySignature({
    directory: directoryOf("known"),
    rateLimit: NO_LIMIT,
    now: () => 0n,
  });
  const body = Buffer.from("{}");
  for (const producerId of ["known", "unknown"]) {
    const headers = testHeaders(INGEST_PATH, body, {
      producerId,
      timestamp: "1970-01-01T00:00:00Z",
      secret: OTHER_SECRET,
    });
    const result = await authenticate({ headers, endpoint: INGEST_PATH, body, isBatch: false });
    expect(result).toMatchObject({ ok: false, producerId: undefined });
  }
});

test("nobody is judged by what is known too long, and strangers are not told of it", async () => {
  const proofs: string[] = [];
  const authenticate = authenticateBySignature({
    directory: { ...directoryOf("known"), isStale: () => true },
    rateLimit: NO_LIMIT,
    now: () => 0n,
    onProof: (producerId, secretId) => proofs.push(`${producerId} ${secretId}`),
  });
  const body = Buffer.from("{}");
  const reasonOf = async (producerId: string) => {
    const signing = { producerId, timestamp: "1970-01-01T00:00:00Z" };
    const headers = testHeaders(INGEST_PATH, body, signing);
    const result = await authenticate({ headers, endpoint: INGEST_PATH, body, isBatch: false });
    return result.ok ? undefined : result.refusal;
  };
  expect(await reasonOf("known")).toMatchObject({
    reason: "STORE_UNAVAILABLE",
    message: expect.stringContaining("Not stored by this request."),
    retryAfterMs: 1_000,
  });
  expect(await reasonOf("unknown")).toMatchObject({ reason: "UNAUTHENTICATED" });
  expect(proofs).toEqual(["known its-secret"]);
});

describe("freshness", () => {
  const NOW = 1_761_402_645_000_000_000n;
  const authenticate = authenticateBySignature({
    directory: directoryOf("known"),
    rateLimit: NO_LIMIT,
    now: () => NOW,
  });
  const body = Buffer.from("{}");

  async function reasonAt(timestamp: string, secret = TEST_SECRET): Promise<string> {
    const headers = testHeaders(INGEST_PATH, body, { timestamp, secret, producerId: "known" });
    const result = await authenticate({ headers, endpoint: INGEST_PATH, body, isBatch: false });
    return result.ok ? "authenticated" : result.refusal.reason;
  }

  test("300 seconds are fresh on either side, and a nanosecond more is not", async () => {
    expect(await reasonAt("2025-10-25T14:30:45Z")).toBe("authenticated");
    expect(await reasonAt("2025-10-25T14:35:45Z")).toBe("authenticated");
    expect(await reasonAt("2025-10-25T14:25:45Z")).toBe("authenticated");
    expect(await reasonAt("2025-10-25T14:35:45.000000001Z")).toBe("CLOCK_SKEW");
    expect(await reasonAt("2025-10-25T14:25:44.999999999Z")).toBe("CLOCK_SKEW");
    expect(await reasonAt("2025-10-25T20:00:45+05:30")).toBe("authenticated");
  });

  test("a wrong signature is told nothing of the clock", async () => {
    expect(await reasonAt("1999-01-01T00:00:00Z", OTHER_SECRET)).toBe("UNAUTHENTICATED");
    expect(await reasonAt("2099-01-01T00:00:00Z", OTHER_SECRET)).toBe("UNAUTHENTICATED");
  });

  test.each(PROTOCOLS)("is judged by the clock of the server over %s", async (protocol) => {
    const at = (offsetMs: number) => new Date(Date.now() + offsetMs).toISOString();
    const reason = async (offsetMs: number) => {
      const signing = { timestamp: at(offsetMs) };
      return (await send(file.server.url, protocol, bodies(), { signing })).error?.reason;
    };
    expect(await reason(-290_000)).toBeUndefined();
    expect(await reason(+299_000)).toBeUndefined();
    const before = await rowCount();
    expect(await reason(-300_001)).toBe("CLOCK_SKEW");
    expect(await reason(+310_000)).toBe("CLOCK_SKEW");
    expect(await rowCount()).toBe(before);
  });
});

test("a body that was signed for RPC proves nothing on a path of REST", async () => {
  const { json } = bodies();
  const headers: HeaderLines = [
    ["content-type", "application/json"],
    ...Object.entries(testHeaders(INGEST_PATH, json)),
  ];
  const answer = await exchange(file.server.port, [rawPost(REST_PATH, headers, json)]);
  expect(JSON.parse(answer.body).reason).toBe("UNAUTHENTICATED");
  expect(await rowCount()).toBe(0);
});

describe("a signed endpoint takes no query string", () => {
  test.each(["?", "?x=1", "?x-signature=1", "?encoding=json&message=%7B%7D"])(
    "not even %s, whether it was signed or not",
    async (query) => {
      for (const path of [INGEST_PATH, REST_PATH]) {
        const body = path === REST_PATH ? bodies().rest : bodies().json;
        const headers = Object.entries(testHeaders(path, body));
        const type = ["content-type", "application/json"] as const;
        const answer = await exchange(file.server.port, [
          rawPost(path + query, [type, ...headers], body),
        ]);
        expect(answer.status).toBe(400);
        expect(answer.text).toContain("takes no query string");
      }
      expect(await rowCount()).toBe(0);
    },
  );
});

test("a compressed request is not taken over REST, even if its bytes are signed", async () => {
  const packed = gzipSync(bodies().rest);
  for (const encoding of ["gzip", "br", "deflate", "gzip, identity", "x"]) {
    const headers: HeaderLines = [
      ["content-type", "application/json"],
      ["content-encoding", encoding],
      ...Object.entries(testHeaders(REST_PATH, packed)),
    ];
    const answer = await exchange(file.server.port, [rawPost(REST_PATH, headers, packed)]);
    expect(answer.status).toBe(415);
  }
  expect(await rowCount()).toBe(0);
  const headers = { "content-encoding": "identity" };
  expect((await send(file.server.url, "REST", bodies(), { headers })).error).toBeUndefined();
});
