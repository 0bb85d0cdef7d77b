/**
 * What each step of a signal costs in CPU time, alone, in a process of its own. Its
 * argument is how long to repeat each, in milliseconds; it prints one {@link MicroReport}.
 */
import { randomUUIDv7 } from "node:crypto";
import { Bench } from "tinybench";
import { IngestRequestSchema } from "../../gen/signals/v1/ingest_service_pb.ts";
import { accept } from "../../src/ingest/accept.ts";
import { type Codec, decodeMessage } from "../../src/server/rpc/decode.ts";
import {
  contentSha256,
  DEFAULT_PAYLOAD_MAX_BYTES,
  signalFromProto,
  validateSignal,
} from "../../src/signal/index.ts";
import { parseSignature, Secret, verify } from "../../src/signing/index.ts";
import { PRODUCER_ID, SECRET } from "../contenders/contender.ts";
import { makeSignal, now } from "../load/signals.ts";
import { type SignedRequest, signedBinary, signedJson } from "../load/signedRequest.ts";

/** The steps, in the order of a signal's way. */
export type MicroReport = readonly {
  readonly step: string;
  readonly p50Micros: number;
  readonly p99Micros: number;
}[];

const secret = Secret.fromString(SECRET);
const keyed = makeSignal();
const binary = signedBinary([keyed], { producerId: PRODUCER_ID, secret });
const json = signedJson(keyed, { producerId: PRODUCER_ID, secret });
const limits = { now: now(), payloadMaxBytes: DEFAULT_PAYLOAD_MAX_BYTES };
const producer = {
  producerId: PRODUCER_ID,
  requireApproval: false,
  allowedInstruments: undefined,
};

const bench = new Bench({ time: Number(process.argv[2]), throws: true })
  .add(`verify (${binary.body.length} bytes)`, () => verifyOrThrow(binary))
  .add("parse binary", () => decodeOrThrow("binary", binary))
  .add(`parse JSON (${json.body.length} bytes)`, () => decodeOrThrow("json", json))
  .add("validate", () => validateSignal(keyed.signal, limits))
  .add("digest", () => contentSha256(keyed.signal))
  .add("all of it, binary", () => acceptOrThrow("binary", binary))
  .add("all of it, JSON", () => acceptOrThrow("json", json));
await bench.run();

const report: MicroReport = bench.tasks.map(({ name, result }) => {
  if (!("latency" in result)) throw new Error(`${name} was not measured: ${result.state}`);
  const { p50, p99 } = result.latency;
  return { step: name, p50Micros: p50 * 1_000, p99Micros: p99 * 1_000 };
});
process.stdout.write(JSON.stringify(report));

function verifyOrThrow({ body, endpoint, headers }: SignedRequest): Uint8Array {
  const signature = parseSignature(headers["x-signature"]);
  const request = {
    endpoint,
    body,
    producerId: headers["x-producer-id"],
    timestamp: headers["x-timestamp"],
  };
  if (signature === undefined || !verify([secret], request, signature)) {
    throw new Error("not verified");
  }
  return signature;
}

function decodeOrThrow(codec: Codec, { body }: SignedRequest) {
  const decoding = decodeMessage(IngestRequestSchema, codec, body);
  if (!decoding.ok) throw new Error(decoding.refusal.message);
  return decoding.value;
}

/** From the bytes to what the store is given. */
function acceptOrThrow(codec: Codec, request: SignedRequest): void {
  const requestSignature = verifyOrThrow(request);
  const { message, overrides } = decodeOrThrow(codec, request);
  const { signal, idempotencyKey } = message;
  const acceptance = accept(
    {
      signal: signal && Object.assign(signalFromProto(signal), overrides),
      idempotencyKey,
      isKeySigned: true,
      validateOnly: false,
    },
    0,
    { producer, requestSignature, receiveTime: now() },
    { payloadMaxBytes: DEFAULT_PAYLOAD_MAX_BYTES, newSignalId: randomUUIDv7 },
  );
  if (!acceptance.ok) throw new Error(acceptance.refusal.message);
}
