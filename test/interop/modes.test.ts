/**
 * What a signal meets besides the usual: a mere validation, a platform where a person
 * approves, and a server for development that asks for no signature.
 */
import { randomUUID } from "node:crypto";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { describe, expect, it } from "vitest";
import { IngestService } from "../../gen/signals/v1/ingest_service_pb.ts";
import { SignalStatus } from "../../gen/signals/v1/signal_pb.ts";
import { createSignalClient, type SignalClientOptions } from "../../src/client/index.ts";
import { signalToProto } from "../../src/signal/index.ts";
import { TEST_PRODUCER_ID, TEST_SECRET } from "../support/server.ts";
import { restBody, validSignal } from "../support/signals.ts";
import { jsonOf, REST_PATHS, sendRaw, signedRest } from "./support/raw.ts";
import { decidedByProducer, rowOf, startInterop } from "./support/server.ts";

const WIRES = [
  { protocol: "grpc" },
  { protocol: "grpc-web" },
  { protocol: "connect", codec: "binary" },
  { protocol: "connect", codec: "json" },
] as const satisfies Partial<SignalClientOptions>[];

const IDENTITY = { producerId: TEST_PRODUCER_ID, secret: TEST_SECRET };

describe("validate_only", () => {
  it.each(WIRES)("checks the signal and stores nothing, over %j", async (wire) => {
    await using interop = await startInterop();
    await using client = createSignalClient({ serverUrl: interop.url, ...IDENTITY, ...wire });
    const idempotencyKey = randomUUID();
    const expired = validSignal({ expireTime: validSignal().signalTime + 1n });

    const result = await client.ingest(validSignal(), { idempotencyKey, validateOnly: true });
    const refusal = client.ingest(expired, { validateOnly: true });

    expect(result).toMatchObject({
      outcome: "valid",
      signalId: undefined,
      status: "received",
      message: "The signal is valid. Nothing was stored.",
    });
    await expect(refusal).rejects.toMatchObject({ reason: "SIGNAL_EXPIRED" });
    expect(await interop.all()).toEqual([]);

    // The key is still free.
    const stored = await client.ingest(validSignal(), { idempotencyKey });
    expect(stored.outcome).toBe("stored");
  });
});

describe("REQUIRE_APPROVAL=true", () => {
  it("holds every signal for a person, over every protocol", async () => {
    await using interop = await startInterop({ REQUIRE_APPROVAL: "true" });
    for (const wire of WIRES) {
      await using client = createSignalClient({ serverUrl: interop.url, ...IDENTITY, ...wire });
      const idempotencyKey = randomUUID();
      const first = await client.ingest(validSignal(), { idempotencyKey });
      const again = await client.ingest(validSignal(), { idempotencyKey });
      const checked = await client.ingest(validSignal(), { validateOnly: true });

      expect(first).toMatchObject({ outcome: "stored", status: "pending_approval" });
      expect(again).toMatchObject({ outcome: "duplicate", status: "pending_approval" });
      expect(checked).toMatchObject({ outcome: "valid", status: "pending_approval" });
    }
    const rest = await sendRaw(interop.url, signedRest(restBody()));

    expect(rest.status).toBe(201);
    expect(jsonOf(rest)).toMatchObject({ status: "pending_approval" });
    const rows = await interop.all();
    expect(rows).toHaveLength(WIRES.length + 1);
    expect(rows.every(({ status }) => status === "pending_approval")).toBe(true);
  });
});

describe("HMAC_PRODUCER_ENABLED=false", () => {
  const UNSIGNED = { HMAC_PRODUCER_ENABLED: "false", REQUIRE_APPROVAL: "false" };
  const headers = { "content-type": "application/json" };

  it("takes unsigned signals over RPC, and knows their keys", async () => {
    await using interop = await startInterop(UNSIGNED);
    const transports = [
      createConnectTransport({ baseUrl: interop.url, httpVersion: "1.1" }),
      createConnectTransport({ baseUrl: interop.url, httpVersion: "1.1", useBinaryFormat: false }),
      createGrpcWebTransport({ baseUrl: interop.url, httpVersion: "1.1" }),
    ];
    const request = { signal: signalToProto(validSignal()), idempotencyKey: "key-1" };

    const responses = [];
    for (const transport of transports) {
      responses.push(await createClient(IngestService, transport).ingest(request));
    }

    expect(responses.map(({ duplicate }) => duplicate)).toEqual([false, true, true]);
    expect(responses.every(({ status }) => status === SignalStatus.RECEIVED)).toBe(true);
    expect((await interop.all()).map(decidedByProducer)).toEqual([
      rowOf(validSignal(), { producerId: "unsigned", idempotencyKey: "key-1" }),
    ]);
  });

  it("takes unsigned signals over REST, for the producer that is named", async () => {
    await using interop = await startInterop(UNSIGNED);
    const body = Buffer.from(restBody());
    const path = REST_PATHS[1];

    const nameless = await sendRaw(interop.url, { path, headers, body });
    const named = { ...headers, "x-producer-id": "somebody" };
    await sendRaw(interop.url, { path, headers: named, body });
    await sendRaw(interop.url, { path, headers: { ...headers, "x-producer-id": "" }, body });

    expect(nameless.status).toBe(201);
    const producers = (await interop.all()).map(({ producerId }) => producerId);
    expect(producers).toEqual(["unsigned", "somebody", "unsigned"]);
  });

  it("takes signed signals as well", async () => {
    await using interop = await startInterop(UNSIGNED);
    await using client = createSignalClient({ serverUrl: interop.url, ...IDENTITY });

    await client.ingest(validSignal(), { idempotencyKey: "key-1" });

    expect((await interop.all()).map(decidedByProducer)).toEqual([
      rowOf(validSignal(), { idempotencyKey: "key-1" }),
    ]);
  });
});
