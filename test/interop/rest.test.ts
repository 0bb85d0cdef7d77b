/**
 * REST takes what producers of the old kind post, and answers as they expect.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { REASONS, type Signal } from "../../src/signal/index.ts";
import { restBody, SIGNAL_TIME, validSignal } from "../support/signals.ts";
import { jsonOf, REST_PATHS, sendRaw, signedRest } from "./support/raw.ts";
import type { RestAnswer } from "./support/senders.ts";
import { decidedByProducer, interopOfFile, rowOf } from "./support/server.ts";

const TIME = "2025-10-25T14:30:45.123456789Z";

const interop = interopOfFile();

/** Posts `restBody` with these fields; one that is `undefined` is left out. */
async function post(
  fields: Readonly<Record<string, unknown>> = {},
  { path = REST_PATHS[0], headers = {} }: { path?: string; headers?: Record<string, string> } = {},
) {
  const raw = await sendRaw(interop.url, signedRest(restBody(fields), headers, path));
  return { status: raw.status, headers: raw.headers, answer: jsonOf<RestAnswer>(raw) };
}

async function storedSignal(answer: RestAnswer): Promise<Signal> {
  return decidedByProducer(await interop.store.findSignal(answer.signal_id)).signal;
}

describe.each(REST_PATHS)("%s", (path) => {
  it("answers 201 for a new signal and 200 for its repeat, with the same id", async () => {
    const idempotency_key = randomUUID();

    const first = await post({ idempotency_key }, { path });
    const second = await post({ idempotency_key }, { path });

    expect(first.status).toBe(201);
    expect(first.headers["content-type"]).toBe("application/json");
    expect(first.answer).toEqual({
      signal_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      status: "received",
      server_timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/),
      message: "The signal is stored.",
      errors: [],
      duplicate: false,
      id: first.answer.signal_id,
      created_at: first.answer.server_timestamp,
    });
    expect(second.status).toBe(200);
    expect(second.answer).toEqual({
      ...first.answer,
      duplicate: true,
      message: "The signal was stored before; this is the first result.",
    });
    const row = await interop.store.findSignal(first.answer.signal_id);
    expect(decidedByProducer(row)).toEqual(
      rowOf(validSignal(), { idempotencyKey: idempotency_key }),
    );
  });
});

it("knows a signal again on its other path", async () => {
  const idempotency_key = randomUUID();

  const first = await post({ idempotency_key }, { path: REST_PATHS[0] });
  const second = await post({ idempotency_key }, { path: REST_PATHS[1] });

  expect(second.status).toBe(200);
  expect(second.answer.signal_id).toBe(first.answer.signal_id);
});

it("takes the key from X-Idempotency-Key, and from the body before it", async () => {
  const [headerKey, bodyKey] = [randomUUID(), randomUUID()];
  const headers = { "x-idempotency-key": headerKey };

  const byHeader = await post({}, { headers });
  const byBody = await post({ idempotency_key: bodyKey }, { headers });

  const keys = (await interop.all()).map(({ signalId, idempotencyKey }) => [
    signalId,
    idempotencyKey,
  ]);
  expect(keys).toContainEqual([byHeader.answer.signal_id, headerKey]);
  expect(keys).toContainEqual([byBody.answer.signal_id, bodyKey]);
});

it.each([
  ["buy", "buy"],
  ["sell", "sell"],
  [0, "buy"],
  [1, "sell"],
] as const)("reads the side %j as %s", async (side, meant) => {
  const { status, answer } = await post({ side, stop_loss: undefined, take_profit: undefined });

  expect(status).toBe(201);
  await expect(storedSignal(answer)).resolves.toMatchObject({ side: meant });
});

/** The body of a refusal of a signal that is invalid. */
interface Problem {
  readonly reason: string;
  readonly detail: string;
  readonly violations: readonly { readonly field: string }[];
}

/** Posts what has to be refused. */
async function refused(fields: Readonly<Record<string, unknown>>, headers = {}) {
  const raw = await sendRaw(interop.url, signedRest(restBody(fields), headers));
  expect(raw.status).toBe(422);
  const problem = jsonOf<Problem>(raw);
  expect(problem.reason).toBe("INVALID_SIGNAL");
  const wrongFields = problem.violations.map(({ field }) => field).sort();
  return { headers: raw.headers, problem, wrongFields };
}

/** Posts what has to be refused, and tells which fields are wrong. */
async function wrongFields(fields: Readonly<Record<string, unknown>>, headers = {}) {
  return (await refused(fields, headers)).wrongFields;
}

it.each(["BUY", "long", "0", 2, -1, true, "", null, undefined, [0], {}])(
  "refuses the side %j",
  async (side) => expect(await wrongFields({ side })).toEqual(["side"]),
);

it.each([
  "2024-02-30T00:00:00Z",
  "2024-01-01t00:00:00Z",
  "2024-01-01T00:00:00z",
  "2024-01-01T00:00:00.1234567890Z",
  "yesterday",
  1_735_689_600,
  true,
  {},
])("refuses the time %j", async (timestamp) =>
  expect(await wrongFields({ timestamp })).toEqual(["signal_time"]),
);

it.each([
  ["empty in the body", { idempotency_key: "" }, {}],
  ["no text in the body", { idempotency_key: 1 }, {}],
  ["too long", { idempotency_key: "a".repeat(129) }, {}],
  ["empty in the header", {}, { "x-idempotency-key": "" }],
  ["with a blank in the header", {}, { "x-idempotency-key": "a b" }],
])("refuses a key that is %s", async (_, fields, headers) =>
  expect(await wrongFields(fields, headers)).toEqual(["idempotency_key"]),
);

it.each(["true", "false", 1, 0, "", {}, []])(
  "refuses %j for validate_only, with all else that is wrong",
  async (validate_only) =>
    expect(await wrongFields({ validate_only, entry_price: -1 })).toEqual([
      "entry_price",
      "validate_only",
    ]),
);

it.each(["timestamp", "time", "signal_time"])("reads the time from %s", async (name) => {
  const { status, answer } = await post({ timestamp: undefined, [name]: TIME });

  expect(status).toBe(201);
  await expect(storedSignal(answer)).resolves.toMatchObject({ signalTime: SIGNAL_TIME });
});

it("takes the same instant under several names, and refuses two different ones", async () => {
  const agreeing = await post({ time: "2025-10-25T20:00:45.123456789+05:30", signal_time: TIME });
  const differing = { time: "2025-10-25T14:30:46Z", signal_time: TIME };

  expect(agreeing.status).toBe(201);
  expect(await wrongFields(differing)).toEqual(["signal_time"]);
});

it("takes null for what a producer does not have", async () => {
  const nothing = {
    stop_loss: null,
    take_profit: null,
    confidence: null,
    risk_percent: null,
    strategy_name: null,
    reason: null,
    comment: null,
    expire_time: null,
    payload: null,
    idempotency_key: null,
    validate_only: null,
  };

  const { status, answer } = await post(nothing);

  expect(status).toBe(201);
  const row = await interop.store.findSignal(answer.signal_id);
  expect(decidedByProducer(row)).toEqual(
    rowOf(
      validSignal({
        stopLoss: undefined,
        takeProfit: undefined,
        confidence: undefined,
        riskPercent: undefined,
        strategyName: "",
        reason: "",
        payload: undefined,
      }),
    ),
  );
});

it("keeps a null within the payload", async () => {
  const { answer } = await post({ payload: { reading: null } });

  await expect(storedSignal(answer)).resolves.toMatchObject({ payload: { reading: null } });
});

it("ignores unknown fields, and names them", async () => {
  const { status, answer } = await post({ signal_type: "entry", magic_number: 7 });

  expect(status).toBe(201);
  expect(answer.message).toBe(
    "The signal is stored. Ignored unknown fields: signal_type, magic_number.",
  );
  await expect(storedSignal(answer)).resolves.toEqual(validSignal());
});

it("names unknown fields no longer, and no more of them, than a person would read", async () => {
  const long = await post({ ["x".repeat(100)]: 1, __proto: 1 });
  const many = await post(Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`n${i}`, i])));

  expect(long.answer.message).toMatch(new RegExp(`: ${"x".repeat(64)}, __proto\\.$`));
  expect(many.answer.message).toMatch(/n19 and 10 more\.$/);
});

it.each(["stopLoss", "StopLoss", "stop-loss", "stop_los", "sl"])(
  "refuses %s, which means a stop loss, and stores nothing without it",
  async (name) => {
    const before = await interop.all();

    const fields = { stop_loss: undefined, take_profit: -1, [name]: 2_640 };
    const { problem, wrongFields } = await refused(fields);
    await refused({ [name]: null });

    expect(problem.detail).toContain(`${name} must be named stop_loss`);
    expect(wrongFields).toEqual([name, "take_profit"].sort());
    expect(await interop.all()).toEqual(before);
  },
);

it("takes the key from Idempotency-Key, and refuses two headers that differ", async () => {
  const key = randomUUID();
  const other = { "idempotency-key": key, "x-idempotency-key": randomUUID() };

  const first = await post({}, { headers: { "idempotency-key": key } });
  const again = await post({}, { headers: { "idempotency-key": key, "x-idempotency-key": key } });
  const before = await interop.all();
  for (const fields of [{}, { idempotency_key: key }]) {
    expect(await wrongFields(fields, other)).toEqual(["idempotency_key"]);
  }

  expect([first.status, again.status]).toEqual([201, 200]);
  expect(again.answer.signal_id).toBe(first.answer.signal_id);
  expect(await interop.all()).toEqual(before);
});

it("names every wrong field at once, by its own names, and stores nothing", async () => {
  const before = await interop.all();

  const wrong = { instrument: "gold", entry_price: "2650.5", stop_loss: -1, reason: 7 };
  expect(await wrongFields(wrong)).toEqual(["entry_price", "instrument", "reason", "stop_loss"]);
  expect(await interop.all()).toEqual(before);
});

it("explains each reason where the type of a problem points, in the words of the docs", async () => {
  const answer = await fetch(new URL("/errors", interop.url));
  expect(answer.headers.get("content-type")).toBe("text/html; charset=utf-8");
  const page = await answer.text();

  const docs = readFileSync("docs/errors.md", "utf8");
  for (const reason of REASONS) {
    const section = docs.split(`\n## ${reason}\n`)[1]?.split(/^#/m)[0] as string;
    const [meaning, advice] = section.trim().split("\n\n");
    const words = `${meaning}</p>\n<p>${advice}`.replaceAll(/`(.+?)`/g, "<code>$1</code>");
    const heading = `<h2 id="${reason.toLowerCase()}">${reason}</h2>`;
    expect(page).toContain(`${heading}\n<p>${words}</p>`);
  }
});

it("stores nothing when only validation is asked for", async () => {
  const before = await interop.all();

  const { status, answer } = await post({ validate_only: true, surplus: 1 });

  expect(status).toBe(200);
  expect(answer).toMatchObject({
    signal_id: "",
    id: "",
    status: "received",
    duplicate: false,
    message: "The signal is valid. Nothing was stored. Ignored unknown fields: surplus.",
  });
  expect(await interop.all()).toEqual(before);
});
