import { execFileSync } from "node:child_process";
import { toJson } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, it } from "vitest";
import { IngestRequestSchema } from "../../gen/signals/v1/ingest_service_pb.ts";
import { bufMessage } from "../../src/cli/bufMessage.ts";
import { type JsonValue, signalToProto } from "../../src/signal/index.ts";
import { arbitrarySignal, validIngestRequest } from "../support/signals.ts";
import { PROTO } from "./support/run.ts";

const NOW = 1_761_402_645_123_456_789n;

/** What buf makes of the same JSON; its `curl` and `convert` serialise in the same way. */
function bufConvert(type: string, json: string): Buffer {
  return execFileSync(
    "node_modules/.bin/buf",
    ["convert", PROTO, "--type", type, "--from", "-#format=json", "--to", "-#format=binpb"],
    { input: json, maxBuffer: 1 << 26 },
  );
}

it("makes the bytes that buf makes, for signals of every kind", () => {
  // One batch, since each run of buf takes as long as thousands of conversions.
  const signals = fc.sample(arbitrarySignal({ now: NOW, payloadMaxBytes: 2_000 }), {
    numRuns: 300,
    seed: 7,
  });
  const requests = signals.map((signal, index) => {
    const message = validIngestRequest({
      signal: signalToProto(signal),
      idempotencyKey: index % 2 === 0 ? `key-${index}` : "",
      validateOnly: index % 3 === 0,
    });
    return toJson(IngestRequestSchema, message) as JsonValue;
  });
  const json = JSON.stringify({ requests });
  const expected = bufConvert("signals.v1.IngestBatchRequest", json);
  expect(Buffer.from(bufMessage("IngestBatchRequest", json)).equals(expected)).toBe(true);
});
