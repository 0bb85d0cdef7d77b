/**
 * RPC refuses what its contract does not define, in each encoding: a misspelt stop loss
 * must not vanish.
 */
import { create, toBinary, toJson } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import {
  IngestBatchRequestSchema,
  IngestRequestSchema,
} from "../../gen/signals/v1/ingest_service_pb.ts";
import { signalToProto } from "../../src/signal/index.ts";
import { validIngestRequest, validSignal } from "../support/signals.ts";
import { INGEST_BATCH_PATH, INGEST_PATH, jsonOf, sendRaw, signed } from "./support/raw.ts";
import { type Interop, startInterop } from "./support/server.ts";

let interop: Interop;
let storedBefore: number;
beforeAll(async () => {
  interop = await startInterop();
});
beforeEach(async () => {
  storedBefore = (await interop.all()).length;
});
afterAll(() => interop[Symbol.asyncDispose]());

/** Sends a body over Connect, and tells the HTTP status and the reason. */
async function refusalOf(path: string, body: Uint8Array | string, codec: "json" | "proto") {
  const raw = await sendRaw(interop.url, signed(path, body, `application/${codec}`));
  const error = jsonOf<{ code: string; details?: { type: string; debug?: { reason: string } }[] }>(
    raw,
  );
  const info = error.details?.find(({ type }) => type === "google.rpc.ErrorInfo");
  return { status: raw.status, code: error.code, reason: info?.debug?.reason };
}

const MALFORMED = { status: 400, code: "invalid_argument", reason: "MALFORMED_BODY" };

/** The request as JSON, to be changed in any way. */
function requestJson() {
  const json = toJson(IngestRequestSchema, validIngestRequest());
  return json as { signal: Record<string, unknown> } & Record<string, unknown>;
}

/** One field of a number that the contract does not define. */
function unknownField(): Uint8Array {
  return new BinaryWriter().tag(99, WireType.Varint).uint32(1).finish();
}

/** An IngestRequest whose signal has a surplus field. */
function requestWithUnknownSignalField(): Uint8Array {
  const message = validIngestRequest();
  const signal = signalToProto(validSignal());
  signal.$unknown = [{ no: 99, wireType: WireType.Varint, data: Uint8Array.of(1) }];
  message.signal = signal;
  return toBinary(IngestRequestSchema, message);
}

it.each([
  ["beside the signal", () => ({ ...requestJson(), dryRun: true })],
  ["in the signal", () => withSignalField("stoploss", 2_640)],
  ["that differs in case", () => withSignalField("StopLoss", 2_640)],
])("refuses an unknown field in JSON %s", async (_, make) => {
  expect(await refusalOf(INGEST_PATH, JSON.stringify(make()), "json")).toEqual(MALFORMED);
  const batch = JSON.stringify({ requests: [requestJson(), make()] });
  expect(await refusalOf(INGEST_BATCH_PATH, batch, "json")).toEqual(MALFORMED);
  expect(await interop.all()).toHaveLength(storedBefore);
});

function withSignalField(name: string, value: unknown) {
  const request = requestJson();
  return { ...request, signal: { ...request.signal, [name]: value } };
}

it("refuses an unknown field number in protobuf, at every level", async () => {
  const request = toBinary(IngestRequestSchema, validIngestRequest());
  const surplus = Buffer.concat([request, unknownField()]);
  const inSignal = requestWithUnknownSignalField();
  const batch = toBinary(
    IngestBatchRequestSchema,
    create(IngestBatchRequestSchema, { requests: [validIngestRequest()] }),
  );
  const inBatch = Buffer.concat([batch, unknownField()]);
  const inItem = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(inSignal).finish();

  expect(await refusalOf(INGEST_PATH, surplus, "proto")).toEqual(MALFORMED);
  expect(await refusalOf(INGEST_PATH, inSignal, "proto")).toEqual(MALFORMED);
  expect(await refusalOf(INGEST_BATCH_PATH, inBatch, "proto")).toEqual(MALFORMED);
  expect(await refusalOf(INGEST_BATCH_PATH, inItem, "proto")).toEqual(MALFORMED);
  expect(await refusalOf(INGEST_PATH, inPayload(unknownField()), "proto")).toEqual(MALFORMED);
  const inEntry = delimited(1, unknownField());
  expect(await refusalOf(INGEST_PATH, inPayload(inEntry), "proto")).toEqual(MALFORMED);
  const inValue = delimited(1, delimited(2, unknownField()));
  expect(await refusalOf(INGEST_PATH, inPayload(inValue), "proto")).toEqual(MALFORMED);
  expect(await interop.all()).toHaveLength(storedBefore);
});

/** An IngestRequest, but for these bytes of its payload valid. */
function inPayload(bytes: Uint8Array): Uint8Array {
  const request = toBinary(IngestRequestSchema, validIngestRequest());
  // A message that comes in two parts is merged.
  return Buffer.concat([request, delimited(1, delimited(13, bytes))]);
}

function delimited(field: number, bytes: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(field, WireType.LengthDelimited).bytes(bytes).finish();
}

it("refuses an unknown name of a side in JSON", async () => {
  const body = JSON.stringify(withSignalField("side", "SIDE_BUYY"));

  expect(await refusalOf(INGEST_PATH, body, "json")).toEqual(MALFORMED);
});

it("refuses a body in the other encoding than its content type says", async () => {
  const json = JSON.stringify(requestJson());
  const binary = toBinary(IngestRequestSchema, validIngestRequest());

  expect(await refusalOf(INGEST_PATH, json, "proto")).toEqual(MALFORMED);
  expect(await refusalOf(INGEST_PATH, binary, "json")).toEqual(MALFORMED);
  expect(await refusalOf(INGEST_PATH, ` ${json}`, "json")).toEqual(MALFORMED);
  expect(await interop.all()).toHaveLength(storedBefore);
});
