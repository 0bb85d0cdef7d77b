/**
 * The obvious server: what a good engineer writes in an afternoon with Connect and a
 * PostgreSQL driver. An interceptor proves the signature, a handler checks the rules and
 * inserts one row. It keeps the promises that come for free (durable, once per key) and
 * none of the others; it writes no log, which is in its favour.
 *
 * The interceptor sees the message and not its bytes, so it serializes it again to verify.
 * That works only for clients that serialize as protobuf-es does, and costs some 10 µs.
 *
 * Usage: DATABASE_URL, PRODUCER_ID and HMAC_PRODUCER_SECRET in the environment; the
 * argument is `http1` for Connect or `http2` for gRPC.
 */
import { randomUUIDv7 } from "node:crypto";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { toBinary, toJsonString } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type Interceptor,
  type UnaryRequest,
} from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import postgres from "postgres";
import { type IngestRequest, IngestService } from "../../gen/signals/v1/ingest_service_pb.ts";
import { SignalStatus } from "../../gen/signals/v1/signal_pb.ts";
import type { SignalCandidate } from "../../src/ingest/index.ts";
import { contentSha256, type Signal, signalFromProto } from "../../src/signal/index.ts";
import { parseSignature, parseTimestamp, Secret, verify } from "../../src/signing/index.ts";
import { insertSignal } from "./insertSignal.ts";
import { wrongFields } from "./validate.ts";

const FRESHNESS_NANOS = 300_000_000_000n;

const env = process.env as Record<"DATABASE_URL" | "PRODUCER_ID" | "HMAC_PRODUCER_SECRET", string>;
const sql = postgres(env.DATABASE_URL);
const secrets = new Map([[env.PRODUCER_ID, Secret.fromString(env.HMAC_PRODUCER_SECRET)]]);

const requireSignature: Interceptor = (next) => async (request) => {
  if (!request.stream && isSigned(request)) return next(request);
  throw new ConnectError("The request is not signed.", Code.Unauthenticated);
};

function isSigned({ header, url, method, message }: UnaryRequest): boolean {
  const producerId = header.get("x-producer-id") ?? "";
  const timestamp = header.get("x-timestamp") ?? "";
  const signature = parseSignature(header.get("x-signature") ?? "");
  const secret = secrets.get(producerId);
  const instant = parseTimestamp(timestamp);
  if (signature === undefined || secret === undefined || instant === undefined) return false;
  const skew = instant - now();
  if (skew > FRESHNESS_NANOS || skew < -FRESHNESS_NANOS) return false;
  const isJson = header.get("content-type")?.includes("json") === true;
  const body = isJson
    ? Buffer.from(toJsonString(method.input, message))
    : toBinary(method.input, message);
  const endpoint = new URL(url).pathname;
  return verify([secret], { endpoint, timestamp, producerId, body }, signature);
}

function routes(router: ConnectRouter): void {
  router.service(IngestService, {
    async ingest(request, context) {
      const producerId = context.requestHeader.get("x-producer-id") as string;
      const candidate = candidateOf(request, producerId);
      const isNew = await insertSignal(sql, candidate);
      const signalId = isNew ? candidate.signalId : await knownSignalId(candidate);
      return {
        signalId,
        status: SignalStatus.RECEIVED,
        serverTimestamp: timestampNow(),
        message: "The signal is stored.",
        duplicate: !isNew,
      };
    },
  });
}

function candidateOf({ signal, idempotencyKey }: IngestRequest, producerId: string) {
  const receiveTime = now();
  const wrong = signal && wrongFields(signal, receiveTime / 1_000_000_000n);
  if (signal === undefined || wrong === undefined || wrong.length > 0) {
    throw new ConnectError(`The signal is not valid: ${wrong ?? "missing"}`, Code.InvalidArgument);
  }
  const valid = signalFromProto(signal) as Signal;
  const candidate: SignalCandidate = {
    signalId: randomUUIDv7(),
    producerId,
    idempotencyKey,
    requestSignature: undefined,
    requestItem: 0,
    contentSha256: contentSha256(valid),
    status: "received",
    receiveTime,
    signal: valid,
    payloadJson: valid.payload && JSON.stringify(valid.payload),
  };
  return candidate;
}

/** The first signal under this key, if it says the same. */
async function knownSignalId(candidate: SignalCandidate): Promise<string> {
  const [row] = await sql`
    SELECT signal_id, content_sha256 FROM signals
    WHERE producer_id = ${candidate.producerId}
      AND idempotency_key = ${candidate.idempotencyKey ?? null}
  `;
  if (row === undefined || !Buffer.from(candidate.contentSha256).equals(row.content_sha256)) {
    throw new ConnectError("The key was used for another signal.", Code.AlreadyExists);
  }
  return row.signal_id;
}

function now(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}

const adapter = connectNodeAdapter({ routes, interceptors: [requireSignature] });
const server =
  process.argv[2] === "http2" ? http2.createServer(adapter) : http.createServer(adapter);
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  process.stderr.write(`The obvious server takes signals at http://127.0.0.1:${port}\n`);
});
process.on("SIGTERM", () => process.exit(0));
