/**
 * Who captures a request on the wire can send it again, anywhere and with any header that
 * no signature covers: there is never a second signal.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { IngestBatchRequestSchema } from "../../gen/signals/v1/ingest_service_pb.ts";
import { type Signal, signalToProto } from "../../src/signal/index.ts";
import { restBody, validSignal } from "../support/signals.ts";
import {
  asGrpcWeb,
  INGEST_BATCH_PATH,
  INGEST_PATH,
  jsonOf,
  type RawRequest,
  REST_PATHS,
  replyOfBinary,
  sendRaw,
  signed,
  signedRest,
} from "./support/raw.ts";
import { ingestBytes, ingestJson, type RestAnswer, restJson } from "./support/senders.ts";
import { interopOfFile } from "./support/server.ts";

const SIGNED_PATHS = [INGEST_PATH, INGEST_BATCH_PATH, ...REST_PATHS];

const interop = interopOfFile();

/** How many signals more there are after some work. */
async function growth(work: () => Promise<void>): Promise<number> {
  const before = (await interop.all()).length;
  await work();
  return (await interop.all()).length - before;
}

/** The signal's id in an answer of any protocol, or what came in place of one. */
async function signalIdOf(request: RawRequest): Promise<string> {
  const answer = await sendRaw(interop.url, request);
  const contentType = answer.headers["content-type"] ?? "";
  if (answer.status >= 300) return `${answer.status} ${Buffer.from(answer.body).toString("utf8")}`;
  if (contentType !== "application/json") return replyOfBinary(answer).signalId;
  const body = jsonOf<Partial<RestAnswer> & { signalId?: string }>(answer);
  return body.signalId ?? body.signal_id ?? "";
}

/** What of a request no signature covers, changed as an attacker may. */
function withHeaders(request: RawRequest, headers: Record<string, string>): RawRequest {
  return { ...request, headers: { ...request.headers, ...headers } };
}

function withoutKeyHeader(request: RawRequest): RawRequest {
  const { "x-idempotency-key": _, ...headers } = request.headers;
  return { ...request, headers };
}

/** The requests that an attacker may have captured: each with the ways to send it again. */
const CAPTURES: readonly (readonly [string, () => RawRequest])[] = [
  [
    "protobuf with a signed key",
    () => signed(INGEST_PATH, ingestBytes(validSignal(), randomUUID()), "application/proto"),
  ],
  [
    "protobuf without a key",
    () => signed(INGEST_PATH, ingestBytes(validSignal()), "application/proto"),
  ],
  [
    "Connect JSON with a signed key",
    () =>
      signed(
        INGEST_PATH,
        JSON.stringify(ingestJson(validSignal(), randomUUID())),
        "application/json",
      ),
  ],
  [
    "Connect JSON without a key",
    () => signed(INGEST_PATH, JSON.stringify(ingestJson(validSignal(), "")), "application/json"),
  ],
  ["REST with a signed key", () => signedRest(restBody({ idempotency_key: randomUUID() }))],
  ["REST without a key", () => signedRest(restBody())],
  [
    "REST with X-Idempotency-Key",
    () => signedRest(restBody(), { "x-idempotency-key": randomUUID() }),
  ],
  [
    "REST on its other path, with X-Idempotency-Key",
    () => signedRest(restBody(), { "x-idempotency-key": randomUUID() }, REST_PATHS[1]),
  ],
];

describe.each(CAPTURES)("a captured request in %s", (_, capture) => {
  it("gives its first signal again, whatever X-Idempotency-Key comes with it", async () => {
    const request = capture();
    const ids: string[] = [];

    const more = await growth(async () => {
      ids.push(await signalIdOf(request));
      ids.push(await signalIdOf(request));
      ids.push(await signalIdOf(withoutKeyHeader(request)));
      for (const key of [randomUUID(), randomUUID()]) {
        ids.push(await signalIdOf(withHeaders(request, { "x-idempotency-key": key })));
      }
    });

    expect(ids[0]).toMatch(/^[0-9a-f-]{36}$/);
    expect(new Set(ids).size).toBe(1);
    expect(more).toBe(1);
  });

  it("is no request to any other endpoint", async () => {
    const request = capture();

    const more = await growth(async () => {
      await signalIdOf(request);
      for (const path of SIGNED_PATHS.filter((other) => other !== request.path)) {
        for (const contentType of ["application/json", "application/proto"]) {
          if (path.startsWith("/api/") && contentType === "application/proto") continue;
          const moved = { ...withHeaders(request, { "content-type": contentType }), path };
          const answer = await sendRaw(interop.url, moved);
          expect(answer.status).toBe(401);
          expect(Buffer.from(answer.body).toString("utf8")).toContain("UNAUTHENTICATED");
        }
      }
    });

    expect(more).toBe(1);
  });

  it("is one signal although it comes 30 times at once, each under another key", async () => {
    const request = capture();
    let ids: string[] = [];

    const more = await growth(async () => {
      const copies = Array.from({ length: 30 }, () =>
        withHeaders(request, { "x-idempotency-key": randomUUID() }),
      );
      ids = await Promise.all(copies.map(signalIdOf));
    });

    expect(new Set(ids).size).toBe(1);
    expect(more).toBe(1);
  });
});

it.each([
  ["with a signed key", () => randomUUID()],
  ["without a key", () => ""],
])(
  "gives the first signal to a message that comes again by another protocol, %s",
  async (_, key) => {
    const request = signed(INGEST_PATH, ingestBytes(validSignal(), key()), "application/proto");
    const ids: string[] = [];

    const more = await growth(async () => {
      ids.push(await signalIdOf(request), await signalIdOf(asGrpcWeb(request)));
    });

    expect(new Set(ids).size).toBe(1);
    expect(more).toBe(1);
  },
);

it("gives the first signals to a captured batch, with and without keys", async () => {
  const items = [validSignal(), validSignal({ comment: "second" }), validSignal()];
  const requests = items.map((signal, index) => ({
    signal: signalToProto(signal),
    idempotencyKey: index === 1 ? randomUUID() : "",
  }));
  const body = toBinary(IngestBatchRequestSchema, create(IngestBatchRequestSchema, { requests }));
  const request = signed(INGEST_BATCH_PATH, body, "application/proto");
  const answers: Buffer[] = [];

  const more = await growth(async () => {
    const first = await sendRaw(interop.url, request);
    const second = await sendRaw(interop.url, request);
    const third = await sendRaw(
      interop.url,
      withHeaders(request, { "x-idempotency-key": randomUUID() }),
    );
    expect([first.status, second.status, third.status]).toEqual([200, 200, 200]);
    answers.push(Buffer.from(second.body), Buffer.from(third.body));
  });

  // Two of the signals are equal, and still two: within one request each has its place.
  expect(more).toBe(3);
  expect(answers[0]).toEqual(answers[1]);
});

it("keeps a capture under a key of another signal on its own signal", async () => {
  const other = signedRest(restBody({ comment: "other" }), { "x-idempotency-key": randomUUID() });
  const request = signedRest(restBody());

  const more = await growth(async () => {
    const otherId = await signalIdOf(other);
    const id = await signalIdOf(request);
    const stolen = withHeaders(request, {
      "x-idempotency-key": other.headers["x-idempotency-key"] as string,
    });
    expect(await signalIdOf(stolen)).toBe(id);
    expect(id).not.toBe(otherId);
  });

  expect(more).toBe(2);
});

it("gives the first signal to a captured retry under another key", async () => {
  const keyed = { "x-idempotency-key": randomUUID() };
  const ids: string[] = [];

  const more = await growth(async () => {
    ids.push(await signalIdOf(signedRest(restBody(), keyed)));
    // The retry has a signature of its own, which only its key ties to the signal.
    await sleep(2);
    const retry = signedRest(restBody(), keyed);
    ids.push(await signalIdOf(retry));
    ids.push(await signalIdOf(withHeaders(retry, { "x-idempotency-key": randomUUID() })));
    ids.push(await signalIdOf(withoutKeyHeader(retry)));
  });

  expect(new Set(ids).size).toBe(1);
  expect(more).toBe(1);
});

it("takes the same content twice when the producer signs it twice without a key", async () => {
  const more = await growth(async () => {
    const first = await signalIdOf(signedRest(restBody()));
    await sleep(2);
    const second = await signalIdOf(signedRest(restBody()));
    expect(second).not.toBe(first);
  });

  expect(more).toBe(2);
});

describe("a signal whose expire_time has passed", () => {
  const LIFE_MS = 1_000;

  function shortLived(comment: string): Signal {
    const signalTime = BigInt(Date.now()) * 1_000_000n;
    const expireTime = signalTime + BigInt(LIFE_MS) * 1_000_000n;
    return validSignal({ comment, signalTime, expireTime });
  }

  it("still gives its first result to retries and to replays", async () => {
    const signal = shortLived("signed key");
    const key = randomUUID();
    const keyed = signed(INGEST_PATH, ingestBytes(signal, key), "application/proto");
    const keyless = signedRest(restJson(shortLived("no key")));
    const headedBody = restJson(shortLived("key in the header"));
    const keyHeader = { "x-idempotency-key": randomUUID() };
    const headed = signedRest(headedBody, keyHeader);

    const more = await growth(async () => {
      const id = await signalIdOf(keyed);
      const keylessId = await signalIdOf(keyless);
      const headedId = await signalIdOf(headed);
      await sleep(LIFE_MS + 200);

      const retry = signed(
        INGEST_PATH,
        JSON.stringify(ingestJson(signal, key)),
        "application/json",
      );
      expect(await signalIdOf(retry)).toBe(id);
      expect(await signalIdOf(keyed)).toBe(id);
      expect(await signalIdOf(keyless)).toBe(keylessId);
      expect(await signalIdOf(headed)).toBe(headedId);
      expect(await signalIdOf(signedRest(headedBody, keyHeader))).toBe(headedId);
    });

    expect(more).toBe(3);
  });

  it("is refused for good when it came too late the first time", async () => {
    const expired = validSignal({ expireTime: validSignal().signalTime + 1n });
    const request = signedRest(restJson(expired));

    const more = await growth(async () => {
      for (const copy of [request, withHeaders(request, { "x-idempotency-key": randomUUID() })]) {
        const answer = await sendRaw(interop.url, copy);
        expect(answer.status).toBe(422);
        expect(jsonOf(answer)).toMatchObject({ reason: "SIGNAL_EXPIRED" });
      }
    });

    expect(more).toBe(0);
  });
});
