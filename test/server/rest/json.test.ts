import { describe, expect, test } from "vitest";
import { type JsonObject, signalToProto } from "../../../src/signal/index.ts";
import { serveFile } from "../../support/serveFile.ts";
import { testHeaders } from "../../support/server.ts";
import { restBody, validSignal } from "../../support/signals.ts";
import {
  bodies,
  connectError,
  http2Post,
  INGEST_BATCH_PATH,
  INGEST_PATH,
  REST_PATH,
  send,
} from "../support/wire.ts";

const file = serveFile();

async function postJson(path: string, text: string) {
  const body = Buffer.from(text);
  const signed = { "content-type": "application/json", ...testHeaders(path, body) };
  const answer = await http2Post(file.server.url, path, signed, body);
  return { ...answer, json: JSON.parse(answer.body.toString("utf8")) };
}

/** A valid signal in the JSON of Connect, with members replaced or added as text. */
function signalJson(members: Readonly<Record<string, string | undefined>> = {}): string {
  const all: Record<string, string | undefined> = {
    instrument: '"GOLD"',
    side: '"SIDE_BUY"',
    entryPrice: "2650.5",
    signalTime: '"2025-10-25T14:30:45Z"',
    ...members,
  };
  const written = Object.entries(all).filter(([, value]) => value !== undefined);
  return `{${written.map(([name, value]) => `"${name}":${value}`).join(",")}}`;
}

async function fieldsOf(signal: string): Promise<string[] | "stored"> {
  const { httpStatus, body } = await postJson(INGEST_PATH, `{"signal":${signal}}`);
  if (httpStatus === 200) return "stored";
  const error = connectError(body);
  if (error.reason === "MALFORMED_BODY") return ["malformed"];
  return error.violations.map(({ field }) => field);
}

describe("a time in Connect JSON", () => {
  test.each([
    '"2024-02-29T00:00:00Z"',
    '"2025-10-25T14:30:45.123456789Z"',
    '"2025-10-25T20:00:45+05:30"',
  ])("%s is taken", async (time) => {
    expect(await fieldsOf(signalJson({ signalTime: time }))).toBe("stored");
    expect(await fieldsOf(signalJson({ signalTime: undefined, signal_time: time }))).toBe("stored");
  });

  test.each([
    '"2024-02-30T00:00:00Z"',
    '"2024-01-01T00:00:60Z"',
    '"yesterday"',
    '""',
    '"2024-01-01T00:00:00"',
    '"2024-01-01T00:00:00z"',
    '"0000-01-01T00:00:00Z"',
    '"0001-01-01T00:00:00+01:00"',
    "1735689600",
    "true",
    "{}",
    "[]",
  ])("%s is a violation of its field", async (time) => {
    expect(await fieldsOf(signalJson({ signalTime: time }))).toEqual(["signal.signal_time"]);
    expect(await fieldsOf(signalJson({ expireTime: time }))).toEqual(["signal.expire_time"]);
    expect(await fieldsOf(signalJson({ expire_time: time }))).toEqual(["signal.expire_time"]);
  });

  test("null is none", async () => {
    expect(await fieldsOf(signalJson({ expireTime: "null" }))).toBe("stored");
    expect(await fieldsOf(signalJson({ signalTime: "null" }))).toEqual(["signal.signal_time"]);
  });

  test("is kept to the nanosecond", async () => {
    const { json } = await postJson(
      INGEST_PATH,
      `{"signal":${signalJson({ signalTime: '"2025-10-25T14:30:45.123456789Z"' })}}`,
    );
    const [row] = await file.sql`
      SELECT signal_time::text AS time, signal_time_nanos FROM signals WHERE signal_id = ${json.signalId}
    `;
    expect(row?.time).toContain("45.123456");
    expect(row?.signal_time_nanos).toBe(789);
  });
});

describe("a number in Connect JSON", () => {
  test.each(["2650.5", "1e3", '"2650.5"', '"1E3"', '"1.5e+2"', "0.1"])(
    "%s is taken",
    async (number) => {
      expect(await fieldsOf(signalJson({ entryPrice: number }))).toBe("stored");
      expect(await fieldsOf(signalJson({ entryPrice: undefined, entry_price: number }))).toBe(
        "stored",
      );
    },
  );

  test.each([
    '"0x1f"',
    '"0b11"',
    '"0o17"',
    '" 1"',
    '"1 "',
    '""',
    '"1_000"',
    '"1,5"',
    '"+1"',
    '".5"',
    '"5."',
    '"NaN"',
    '"Infinity"',
    '"1e400"',
    "1e400",
    "true",
    "[1]",
    "{}",
  ])("%s is a violation of its field", async (number) => {
    expect(await fieldsOf(signalJson({ entryPrice: number }))).toEqual(["signal.entry_price"]);
    expect(await fieldsOf(signalJson({ stop_loss: number }))).toEqual(["signal.stop_loss"]);
  });

  test("zero, below zero, and null for what is required, are violations", async () => {
    for (const number of ["0", "-0", "-1", "null", '"-1"']) {
      expect(await fieldsOf(signalJson({ entryPrice: number }))).toEqual(["signal.entry_price"]);
    }
  });

  test("all that are wrong are named at once, with all else that is wrong", async () => {
    const signal = signalJson({
      instrument: '"gold"',
      entryPrice: '"0x1f"',
      signalTime: '"2024-02-30T00:00:00Z"',
      confidence: '"high"',
    });
    expect(((await fieldsOf(signal)) as string[]).sort()).toEqual([
      "signal.confidence",
      "signal.entry_price",
      "signal.instrument",
      "signal.signal_time",
    ]);
  });
});

test.each([
  ["a name twice", signalJson().replace("{", '{"stopLoss":1,"stopLoss":2,')],
  ["a name twice, once escaped", signalJson().replace("{", '{"stopLoss":1,"stop\\u004coss":2,')],
  ["both names of a price", signalJson({ stopLoss: "1", stop_loss: "2" })],
  ["both names of a time", signalJson({ signal_time: '"2025-10-25T14:30:45Z"' })],
  ["both names, of which one is null", signalJson({ signal_time: "null" })],
  ["a misspelt name", signalJson({ stopLos: "1" })],
  ["a name of another case", signalJson({ StopLoss: "1" })],
  ["a misspelt side", signalJson({ side: '"SIDE_BUYY"' })],
  ["a side as REST writes it", signalJson({ side: '"buy"' })],
])("%s is malformed in Connect JSON", async (_, signal) => {
  expect(await fieldsOf(signal)).toEqual(["malformed"]);
});

test("a payload may have any names, also those that mean something to a library", async () => {
  const payload = '{"$typeName":"x","$unknown":[1],"__proto__":{"a":1},"constructor":null,"":0}';
  expect(await fieldsOf(signalJson({ payload }))).toBe("stored");
  const parsed = JSON.parse(payload);
  const { binary } = bodies({ signal: { instrument: "GOLD", payload: parsed } });
  const answer = await send(file.server.url, "gRPC", { binary, json: binary, rest: binary });
  expect(answer.error?.reason).toBe("INVALID_SIGNAL");
});

test("an item of a batch with a bad date or number rejects itself only", async () => {
  const items = [
    signalJson(),
    signalJson({ signalTime: '"2024-02-30T00:00:00Z"' }),
    signalJson({ signalTime: '"yesterday"', entryPrice: '"0x1f"' }),
    signalJson(),
  ].map((signal) => `{"signal":${signal}}`);
  const { httpStatus, json } = await postJson(
    INGEST_BATCH_PATH,
    `{"requests":[${items.join(",")}]}`,
  );
  expect(httpStatus).toBe(200);
  const statuses = json.responses.map(({ status }: { status: string }) => status);
  expect(statuses).toEqual([
    "SIGNAL_STATUS_RECEIVED",
    "SIGNAL_STATUS_REJECTED",
    "SIGNAL_STATUS_REJECTED",
    "SIGNAL_STATUS_RECEIVED",
  ]);
  expect(json.responses[1].errors).toMatchObject([
    { reason: "INVALID_SIGNAL", field: "signal.signal_time" },
  ]);
  const fields = json.responses[2].errors.map(({ field }: { field: string }) => field);
  expect(fields.sort()).toEqual(["signal.entry_price", "signal.signal_time"]);
});

describe("a number that a double would change", () => {
  const numbers = ["9007199254740993", "12345678901234567890", "1e-400", "0.12345678901234567891"];
  const countStored = async () => Number((await file.sql`SELECT count(*) FROM signals`)[0]?.count);

  test.each(numbers)("%s is a violation of its field in Connect JSON", async (number) => {
    for (const [name, field] of [
      ["entryPrice", "entry_price"],
      ["stop_loss", "stop_loss"],
      ["confidence", "confidence"],
      ["riskPercent", "risk_percent"],
    ] as const) {
      for (const written of [number, `"${number}"`]) {
        expect(await fieldsOf(signalJson({ [name]: written }))).toEqual([`signal.${field}`]);
      }
    }
  });

  test.each(numbers)(
    "%s is told by its path in a payload, and nothing is stored",
    async (number) => {
      const before = await countStored();
      const payload = `{"order":{"id":${number},"signal.id":1},"legs":[{"id":1},{"a b":[${number}]}]}`;
      const paths = ["payload.order.id", 'payload.legs[1]["a b"][0]'];

      expect(await fieldsOf(signalJson({ payload }))).toEqual(
        paths.map((path) => `signal.${path}`),
      );
      const text = restBody({ payload: undefined }).replace("{", `{"payload":${payload},`);
      const { httpStatus, json } = await postJson(REST_PATH, text);

      expect(httpStatus).toBe(422);
      expect(json.violations.map(({ field }: { field: string }) => field)).toEqual(paths);
      expect(json.detail).toContain("payload.order.id has more digits than a double holds");
      expect(json.detail).toContain("send it as a string");
      expect(await countStored()).toBe(before);
    },
  );

  test("rejects its own item of a batch only", async () => {
    const items = ["9007199254740992", "9007199254740993"].map(
      (id) => `{"signal":${signalJson({ payload: `{"id":${id}}` })}}`,
    );
    const { json } = await postJson(INGEST_BATCH_PATH, `{"requests":[${items.join(",")}]}`);
    expect(json.responses).toMatchObject([
      { status: "SIGNAL_STATUS_RECEIVED" },
      { status: "SIGNAL_STATUS_REJECTED", errors: [{ field: "signal.payload.id" }] },
    ]);
  });

  test("is named among others, but not without end", async () => {
    const many = `[${Array(1_000).fill("1e-400").join(",")}]`;
    const fields = await fieldsOf(signalJson({ payload: `{"${"k".repeat(1_000)}":${many}}` }));
    expect(fields).toHaveLength(5);
    expect(Math.max(...(fields as string[]).map((field) => field.length))).toBeLessThan(80);
  });

  test("means nothing in a field that is ignored, and is no text, side, time, or key", async () => {
    const text = (name: string) => restBody().replace("{", `{"${name}":9007199254740993,`);
    expect((await postJson(REST_PATH, text("magic_number"))).httpStatus).toBe(201);
    for (const name of ["comment", "expire_time", "idempotency_key", "validate_only"]) {
      const { json } = await postJson(REST_PATH, text(name));
      expect(json.violations).toMatchObject([{ field: name }]);
    }
    for (const side of ["9007199254740993", "1.00000000000000000001"]) {
      expect(await fieldsOf(signalJson({ side }))).toEqual(["malformed"]);
    }
  });

  test("is called a number where the contract wants a text", async () => {
    const body = `{"idempotencyKey":9007199254740993,"signal":${signalJson()}}`;
    const { json } = await postJson(INGEST_PATH, body);
    expect(json.message).toContain("idempotency_key from JSON: expected string, got number");
  });
});

test("two ids that are one double are not two signals of one content", async () => {
  const body = (id: string) =>
    restBody({ idempotency_key: "shared-double", payload: undefined }).replace(
      "{",
      `{"payload":{"id":${id}},`,
    );
  expect((await postJson(REST_PATH, body("9007199254740992"))).httpStatus).toBe(201);
  expect((await postJson(REST_PATH, body("9007199254740993"))).httpStatus).toBe(422);
});

test.each(["gRPC", "gRPC-Web", "Connect JSON", "Connect binary", "REST"] as const)(
  "a payload of too many values is a violation over %s",
  async (protocol) => {
    const payloadOf = (count: number) => ({ a: Array.from({ length: count - 1 }, () => ({})) });
    const sent = async (payload: JsonObject) => {
      const signal = signalToProto(validSignal({ payload }));
      return (await send(file.server.url, protocol, bodies({ signal }, { payload }))).error;
    };
    expect(await sent(payloadOf(8_000))).toBeUndefined();
    const error = await sent(payloadOf(8_001));
    expect(error?.reason).toBe("INVALID_SIGNAL");
    expect(error?.violations).toMatchObject([
      { field: expect.stringMatching(/payload$/), description: "must hold at most 8000 values" },
    ]);
  },
);

test("an item of a batch is as large as a single signal at most", async () => {
  const items = [1_000, 70_000].map((length) => `{"signal":${signalJson()}${" ".repeat(length)}}`);
  const { json } = await postJson(INGEST_BATCH_PATH, `{"requests":[${items.join(",")}]}`);
  expect(json.responses).toMatchObject([
    { status: "SIGNAL_STATUS_RECEIVED" },
    { status: "SIGNAL_STATUS_REJECTED", errors: [{ reason: "BODY_TOO_LARGE" }] },
  ]);
});

test("one item of a batch that is malformed makes the batch malformed, and nothing is stored", async () => {
  const count = async () => Number((await file.sql`SELECT count(*) FROM signals`)[0]?.count);
  const before = await count();
  const items = [`{"signal":${signalJson()}}`, `{"signal":${signalJson({ stopLos: "1" })}}`];
  const { httpStatus, body } = await postJson(
    INGEST_BATCH_PATH,
    `{"requests":[${items.join(",")}]}`,
  );
  expect(httpStatus).toBe(400);
  expect(connectError(body).reason).toBe("MALFORMED_BODY");
  expect(await count()).toBe(before);
});
