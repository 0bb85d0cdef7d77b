/**
 * Whatever a valid signal holds, out to the bounds of every rule, is what comes back from
 * the database: by protobuf, by JSON and by REST.
 */
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import fc from "fast-check";
import { expect, it } from "vitest";
import { IngestService } from "../../gen/signals/v1/ingest_service_pb.ts";
import { createSigningInterceptor } from "../../src/client/index.ts";
import {
  contentSha256,
  type Instant,
  type JsonObject,
  type JsonValue,
  type Signal,
  signalToProto,
} from "../../src/signal/index.ts";
import type { StoredSignal } from "../../src/store/index.ts";
import { TEST_PRODUCER_ID, TEST_SECRET } from "../support/server.ts";
import { arbitrarySignal } from "../support/signals.ts";
import { jsonOf, sendRaw, signedRest } from "./support/raw.ts";
import { type RestAnswer, restJson } from "./support/senders.ts";
import { interopOfFile } from "./support/server.ts";

const SIGNALS = 500;
const REST_SIGNALS = 100;
/** So many signals with the greatest payload of all still fit into 4 MiB. */
const BATCH = 50;
const NANOS_PER_HOUR = 3_600_000_000_000n;

/** Another draw in each run; the number in a failure's message brings it back. */
const seed = Number(process.env.ROUND_TRIP_SEED ?? Date.now() % 2 ** 31);
const now = BigInt(Date.now()) * 1_000_000n;
const signals = fc.sample(
  arbitrarySignal({ now, isUnexpired: true }).map((signal) => outliving(signal, now)),
  { numRuns: SIGNALS, seed },
);

/** Some expire right after `now`, and would be too late when they are sent. */
function outliving(signal: Signal, now: Instant): Signal {
  const { expireTime } = signal;
  if (expireTime === undefined || expireTime > now + NANOS_PER_HOUR) return signal;
  return { ...signal, expireTime: expireTime + NANOS_PER_HOUR };
}

const interop = interopOfFile();

function transport(useBinaryFormat: boolean): Transport {
  const identity = { producerId: TEST_PRODUCER_ID, secret: TEST_SECRET };
  return createConnectTransport({
    baseUrl: interop.url,
    httpVersion: "1.1",
    useBinaryFormat,
    interceptors: [createSigningInterceptor(identity)],
  });
}

/** A signal in a form in which two are equal exactly if every field is. */
function comparable(signal: Signal) {
  const { signalTime, expireTime, payload, ...others } = signal;
  return {
    ...others,
    signalTime: signalTime.toString(),
    expireTime: expireTime?.toString(),
    payload: payload && JSON.stringify(sorted(payload)),
  };
}

/** jsonb keeps no order of keys. JSON.stringify writes −0 as 0, as JSON knows no −0. */
function sorted(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)])) as JsonObject;
}

function expectAsSent(row: StoredSignal | undefined, sent: Signal, index: number): void {
  const hint = `signal ${index} of ROUND_TRIP_SEED=${seed}`;
  expect(row && comparable(row.signal), hint).toEqual(comparable(sent));
  expect(row && Buffer.from(row.contentSha256), hint).toEqual(contentSha256(sent));
}

it.each([
  ["protobuf", true],
  ["JSON", false],
])(`reads ${SIGNALS} random signals back as they were sent in %s`, async (_, useBinaryFormat) => {
  const client = createClient(IngestService, transport(useBinaryFormat));
  const [last] = (await interop.all()).slice(-1);

  const ids: string[] = [];
  for (let start = 0; start < SIGNALS; start += BATCH) {
    const requests = signals
      .slice(start, start + BATCH)
      .map((signal) => ({ signal: signalToProto(signal) }));
    const { responses } = await client.ingestBatch({ requests });
    const faults = responses.flatMap(({ errors }) => errors.map(({ description }) => description));
    expect(faults, `ROUND_TRIP_SEED=${seed}`).toEqual([]);
    ids.push(...responses.map(({ signalId }) => signalId));
  }

  const afterSequence = last?.sequence ?? 0n;
  const rows = await interop.store.listSignals({ afterSequence, limit: SIGNALS + 1 });
  expect(rows.map(({ signalId }) => signalId)).toEqual(ids);
  for (const [index, row] of rows.entries()) expectAsSent(row, signals[index] as Signal, index);
});

it(`reads ${REST_SIGNALS} of them back as they were sent by REST`, async () => {
  for (const [index, signal] of signals.slice(0, REST_SIGNALS).entries()) {
    const raw = await sendRaw(interop.url, signedRest(restJson(signal)));
    expect(raw.status, `signal ${index} of ROUND_TRIP_SEED=${seed}`).toBe(201);
    const row = await interop.store.findSignal(jsonOf<RestAnswer>(raw).signal_id);
    expectAsSent(row, signal, index);
  }
});
