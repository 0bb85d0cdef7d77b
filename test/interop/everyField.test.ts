/**
 * No field is lost in silence: whatever the contract says of a signal, or of a request, is
 * known to everything between a producer and the table, and to the docs. The contract itself
 * is asked for its fields, so that one that is added there is missed here.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  create,
  type DescField,
  type DescMessage,
  fromJson,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { StructSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import {
  IngestBatchRequestSchema,
  IngestBatchResponseSchema,
  IngestRequestSchema,
  IngestResponseSchema,
  SignalErrorSchema,
} from "../../gen/signals/v1/ingest_service_pb.ts";
import { SideSchema, SignalSchema, SignalStatusSchema } from "../../gen/signals/v1/signal_pb.ts";
import { createSignalClient, type IngestItem, type SignalInput } from "../../src/client/index.ts";
import {
  contentSha256,
  type Signal,
  signalFromProto,
  validateSignal,
} from "../../src/signal/index.ts";
import { TEST_PRODUCER_ID, TEST_SECRET } from "../support/server.ts";
import { type Example, ONE, OTHER } from "../support/signals.ts";
import { temporaryDirectory } from "../support/temporaryDirectory.ts";
import { ROOT, run } from "./support/command.ts";
import { INGEST_PATH, jsonOf, sendRaw, signed, signedRest } from "./support/raw.ts";
import { interopOfFile } from "./support/server.ts";

/** What the table says of a signal besides what the producer decided. */
const BOOKKEEPING = [
  "signal_id",
  "producer_id",
  "idempotency_key",
  "content_sha256",
  "status",
  "sequence",
  "receive_time",
  "created_at",
  "updated_at",
];

const fields = SignalSchema.fields.map((field) => ({ name: field.name, field }));
const names = fields.map(({ name }) => name);

/** A time has a second column, for the nanoseconds that a timestamptz cannot hold. */
function columnsOf({ name, message }: DescField): readonly string[] {
  return message?.typeName === TimestampSchema.typeName ? [name, `${name}_nanos`] : [name];
}

const interop = interopOfFile();
let sql: postgres.Sql;

beforeAll(() => {
  sql = postgres(interop.databaseUrl, { max: 1 });
});
afterAll(() => sql.end());

test("the examples have every field of the contract, each with a value of its own", () => {
  for (const example of [ONE, OTHER]) expect(Object.keys(example)).toEqual(names);
  for (const name of names) expect(ONE[name]).not.toEqual(OTHER[name]);
});

/** The JSON of the RPCs. */
function rpcJson(example: Example): Record<string, unknown> {
  const { side } = example;
  const sides = SideSchema.values.map(({ name }) => [
    name.replace("SIDE_", "").toLowerCase(),
    name,
  ]);
  const rpcSide = Object.fromEntries(sides)[String(side)];
  return { ...example, ...(side !== undefined && { side: rpcSide }) };
}

function camelCase(example: Example): Record<string, unknown> {
  return Object.fromEntries(
    SignalSchema.fields
      .filter(({ name }) => Object.hasOwn(example, name))
      .map(({ name, localName }) => [localName, example[name]]),
  );
}

/** The digest that the server makes of a signal. */
function digestOf(example: Example): string {
  const message = fromJson(SignalSchema, rpcJson(example) as never);
  const limits = { now: BigInt(Date.now()) * 1_000_000n, payloadMaxBytes: 32_768 };
  const verdict = validateSignal(signalFromProto(message), limits);
  if (!verdict.valid) throw new Error(JSON.stringify(verdict.violations));
  return contentSha256(verdict.signal).toString("hex");
}

describe("the content digest", () => {
  const { stop_loss, take_profit, ...withoutPrices } = ONE;

  test.each(names)("changes with %s", (name) => {
    // A buy and a sell have their stops on different sides.
    const base = name === "side" ? withoutPrices : ONE;
    const replaced = { ...base, [name]: name === "side" ? OTHER.side : nearby(name) };
    expect(digestOf(replaced)).not.toBe(digestOf(base));
  });

  test.each(fields.filter(({ field }) => isOptional(field)).map(({ name }) => name))(
    "tells whether there is %s",
    (name) => {
      const { [name]: _, ...without } = ONE;
      expect(digestOf(without)).not.toBe(digestOf(ONE));
    },
  );

  /** Another value that is right beside all others of {@link ONE}. */
  function nearby(name: string): unknown {
    return name === "stop_loss" || name === "take_profit" ? Number(ONE[name]) + 1 : OTHER[name];
  }
});

function isOptional({ name, proto, scalar }: DescField): boolean {
  return proto.proto3Optional || (scalar === ScalarType.STRING && name !== "instrument");
}

/** Sends one signal, and tells the id of its row. */
type Send = (example: Example, key: string) => Promise<string>;

async function storedId(answer: Promise<Record<string, unknown>>): Promise<string> {
  const told = await answer;
  const id = told.signalId ?? told.signal_id;
  if (typeof id !== "string" || id === "") throw new Error(JSON.stringify(told));
  return id;
}

function sendRpc(body: string | Uint8Array, codec: "json" | "proto") {
  return sendRaw(interop.url, signed(INGEST_PATH, body, `application/${codec}`));
}

/** Runs `countersign send`, and tells what it says as JSON. */
async function byCommand(
  args: readonly string[],
  stdin?: string,
): Promise<Record<string, unknown>> {
  const command = ["src/cli/main.ts", "send", "--json", "--url", interop.url, ...args];
  const env = { PRODUCER_ID: TEST_PRODUCER_ID, HMAC_PRODUCER_SECRET: TEST_SECRET };
  const outcome = await run(process.execPath, command, {
    env,
    ...(stdin !== undefined && { stdin }),
  });
  if (outcome.code !== 0) throw new Error(outcome.stderr);
  return JSON.parse(outcome.stdout);
}

const SENDERS: Readonly<Record<string, Send>> = {
  async "Connect JSON, by the names of the contract"(example, idempotency_key) {
    const body = JSON.stringify({ signal: rpcJson(example), idempotency_key });
    return storedId(sendRpc(body, "json").then(jsonOf<Record<string, unknown>>));
  },
  async "Connect JSON, in lowerCamelCase"(example, idempotencyKey) {
    const signal = camelCase(rpcJson(example));
    const body = JSON.stringify({ signal, idempotencyKey });
    return storedId(sendRpc(body, "json").then(jsonOf<Record<string, unknown>>));
  },
  async protobuf(example, idempotencyKey) {
    const signal = fromJson(SignalSchema, rpcJson(example) as never);
    const message = create(IngestRequestSchema, { signal, idempotencyKey });
    const answer = await sendRpc(toBinary(IngestRequestSchema, message), "proto");
    expect(answer.status).toBe(200);
    const [row] =
      await sql`SELECT signal_id FROM signals WHERE idempotency_key = ${idempotencyKey}`;
    return row?.signal_id;
  },
  async REST(example, idempotency_key) {
    const answer = await sendRaw(interop.url, signedRest({ ...example, idempotency_key }));
    const told = jsonOf<Record<string, unknown>>(answer);
    expect(told.message).not.toContain("unknown");
    return storedId(Promise.resolve(told));
  },
  async "the client"(example, idempotencyKey) {
    const options = {
      serverUrl: interop.url,
      producerId: TEST_PRODUCER_ID,
      secret: TEST_SECRET,
    };
    await using client = createSignalClient(options);
    const signal = camelCase(example) as unknown as SignalInput;
    const { signalId } = await client.ingest(signal, { idempotencyKey });
    return signalId ?? "none";
  },
  async "the command line, by options"(example, key) {
    const options = Object.entries(example).flatMap(([name, value]) => [
      `--${name.replaceAll("_", "-")}`,
      typeof value === "object" ? JSON.stringify(value) : String(value),
    ]);
    return storedId(byCommand([...options, "--idempotency-key", key]));
  },
  async "the command line, from JSON as in REST"(example, idempotency_key) {
    const file = join(await temporaryDirectory(), "signal.json");
    await writeFile(file, JSON.stringify({ ...example, idempotency_key }));
    return storedId(byCommand(["--file", file]));
  },
  async "the command line, from JSON as in the RPCs"(example, idempotencyKey) {
    const file = join(await temporaryDirectory(), "request.json");
    const signal = camelCase(rpcJson(example));
    await writeFile(file, JSON.stringify({ signal, idempotencyKey }));
    return storedId(byCommand(["--file", file]));
  },
};

async function rowOf(signalId: string): Promise<Record<string, unknown>> {
  const [row] =
    await sql`SELECT to_jsonb(signals) AS row FROM signals WHERE signal_id = ${signalId}`;
  return row?.row;
}

describe("the table", () => {
  test("has a column for every field, and beside them only the bookkeeping", async () => {
    const columns = await sql`
      SELECT column_name FROM information_schema.columns
      WHERE table_schema = current_schema() AND table_name = 'signals'
    `;
    const expected = [...SignalSchema.fields.flatMap(columnsOf), ...BOOKKEEPING];
    expect(columns.map(({ column_name }) => column_name).sort()).toEqual(expected.sort());
  });

  test.each([
    ["side", SideSchema, "SIDE_"],
    ["status", SignalStatusSchema, "SIGNAL_STATUS_"],
  ])("takes every %s of the contract", async (column, { values }, prefix) => {
    const [check] = await sql`
      SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint
      WHERE conrelid = 'signals'::regclass AND conname = ${`signals_${column}_check`}
    `;
    const taken = [...String(check?.text).matchAll(/'(\w+)'/g)].map(([, value = ""]) => value);
    const named = values.filter(({ number }) => number !== 0).map(({ name }) => name);
    expect(taken.map((value) => prefix + value.toUpperCase())).toEqual(named);
  });

  test.each(Object.entries(SENDERS))(
    "gets every field by %s",
    async (sender, send) => {
      const rows: Record<string, unknown>[] = [];
      for (const example of [ONE, OTHER]) {
        const key = `${sender.replaceAll(/\W/g, "-")}-${rows.length}`;
        const row = await rowOf(await send(example, key));
        expect(row.idempotency_key).toBe(key);
        expect(row.content_sha256).toBe(`\\x${digestOf(example)}`);
        for (const field of SignalSchema.fields) {
          if (field.message?.typeName === TimestampSchema.typeName) continue;
          expect(row[field.name], field.name).toEqual(example[field.name]);
        }
        rows.push(row);
      }
      // However the database writes a value, another one is written otherwise.
      for (const column of SignalSchema.fields.flatMap(columnsOf)) {
        expect(rows[0]?.[column], column).not.toBeNull();
        expect(rows[0]?.[column], column).not.toEqual(rows[1]?.[column]);
      }
    },
    30_000,
  );
});

/**
 * A value that is none of the field's kind, though careless parsers make one of it: a number
 * in base 16, and a day that does not exist, both right beside all others of {@link ONE}.
 */
function wrongValue({ name, scalar, message }: DescField): unknown {
  if (scalar === ScalarType.DOUBLE) return `0x${Math.ceil(Number(ONE[name])).toString(16)}`;
  if (message?.typeName === TimestampSchema.typeName) {
    return `${String(ONE[name]).slice(0, 4)}-02-30T00:00:00Z`;
  }
  if (message?.typeName === StructSchema.typeName) return { a: "\u0000" };
  return "\u0000";
}

describe("a wrong value is named", () => {
  const judged = fields.filter(({ field }) => field.fieldKind !== "enum");

  test.each(judged)("of $name, over Connect JSON", async ({ name, field }) => {
    const signal = { ...rpcJson(ONE), [name]: wrongValue(field) };
    const answer = await sendRpc(JSON.stringify({ signal, validate_only: true }), "json");
    expect(jsonOf<{ message: string }>(answer).message).toContain(`signal.${name} `);
  });

  test.each(fields)("of $name, over REST", async ({ name, field }) => {
    const body = { ...ONE, [name]: wrongValue(field), validate_only: true };
    const answer = await sendRaw(interop.url, signedRest(body));
    expect(answer.status).toBe(422);
    expect(jsonOf(answer)).toMatchObject({ violations: [{ field: name }] });
  });
});

/** The fields of a request beside the signal. */
const requestNames = namesOf(IngestRequestSchema).filter((name) => name !== "signal");

function namesOf(message: DescMessage): string[] {
  return message.fields.map(({ name }) => name);
}

describe("a request", () => {
  test.each(requestNames)("has %s over REST, too", async (name) => {
    const answer = await sendRaw(interop.url, signedRest({ ...ONE, [name]: { no: "such value" } }));
    expect(answer.status).toBe(422);
    expect(jsonOf(answer)).toMatchObject({ violations: [{ field: name }] });
  });

  test.each(requestNames)("has %s on the command line, too", async (name) => {
    const { stdout } = await run(process.execPath, ["src/cli/main.ts", "send", "--help"]);
    expect(stdout).toMatch(new RegExp(`^ +--${name.replaceAll("_", "-")}\\b`, "m"));
  });

  test("has the same fields for those who use the client", () => {
    expectTypeOf<keyof SignalInput>().toEqualTypeOf<keyof Signal>();
    expectTypeOf<keyof IngestItem>().toEqualTypeOf<keyof typeof IngestRequestSchema.field>();
  });
});

describe("an answer", () => {
  test("has the same fields over REST, and two more for older producers", async () => {
    const answer = await sendRaw(interop.url, signedRest({ ...ONE, validate_only: true }));
    const expected = [...namesOf(IngestResponseSchema), "id", "created_at"];
    expect(Object.keys(jsonOf<object>(answer))).toEqual(expected);
  });
});

describe("docs/api.md", () => {
  let page: string;
  beforeAll(async () => {
    page = await readFile(join(ROOT, "docs/api.md"), "utf8");
  });

  /** The rows of the table under a heading: the names of each, and what its second cell says. */
  function tableAfter(text: string): { readonly name: string; readonly type: string }[] {
    const rows =
      page
        .slice(page.indexOf(text))
        .match(/^(?:\|.*\|\n)+/m)?.[0]
        .split("\n") ?? [];
    return rows.slice(2).flatMap((row) => {
      const [, nameCell = "", type = ""] = row.split("|").map((cell) => cell.trim());
      return [...nameCell.matchAll(/`(\w+)`/g)].map(([, name = ""]) => ({ name, type }));
    });
  }

  test("has every field of a signal, with its type", () => {
    const expected = SignalSchema.fields.map((field) => ({
      name: field.name,
      type: typeOf(field),
    }));
    expect(tableAfter("## A signal")).toEqual(expected);
  });

  function typeOf({ proto, scalar, message, enum: values }: DescField): string {
    if (values !== undefined) {
      return values.values
        .filter(({ number }) => number !== 0)
        .map(({ name }) => `\`${name}\``)
        .join(", ");
    }
    const object = message?.typeName === StructSchema.typeName ? "object" : "timestamp";
    const plain = scalar === undefined ? object : ScalarType[scalar].toLowerCase();
    return proto.proto3Optional ? `optional ${plain}` : plain;
  }

  test("has every field of requests and answers", () => {
    expect(tableAfter("**`Ingest`** takes").map(({ name }) => name)).toEqual(
      namesOf(IngestResponseSchema),
    );
    for (const message of [
      IngestRequestSchema,
      IngestBatchRequestSchema,
      IngestBatchResponseSchema,
    ]) {
      expect(page).toContain(`\`{${namesOf(message).join(", ")}}\``);
    }
    const errors = namesOf(SignalErrorSchema).map((name) => `\`${name}\``);
    expect(page.replaceAll(/\s+/g, " ")).toContain(`\`errors\` (${errors.join(", ")})`);
  });
});
