import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { SignalRejectedError, StoreUnavailableError } from "../../src/ingest/store.ts";
import { createSignalStore, DatabaseError } from "../../src/store/index.ts";
import { aCandidate, aSignal, aSignature, NOW, SECOND } from "./builders.ts";
import { openTestDatabase } from "./openTestDatabase.ts";

const TIMEOUT_MS = 5_000;

const database = await openTestDatabase(4);
const store = createSignalStore(database);

async function count(): Promise<number> {
  const [row] = await database.query<{ n: number }>(
    TIMEOUT_MS,
    (sql) => sql`SELECT count(*)::integer AS n FROM signals`,
  );
  return row?.n ?? -1;
}

const OTHER_SIGNAL = aSignal({ entryPrice: 2001 });

describe("a signal that is new", () => {
  test("is stored with the id and status that the candidate names", async () => {
    const candidate = aCandidate({ status: "pending_approval" });
    const [outcome] = await store.ingest([candidate], TIMEOUT_MS);
    expect(outcome).toEqual({
      kind: "stored",
      signalId: candidate.signalId,
      status: "pending_approval",
      receiveTime: 1_761_402_645_123_456_000n,
    });
    expect(await store.findSignal(candidate.signalId)).toMatchObject({
      signalId: candidate.signalId,
      producerId: "bot-1",
      idempotencyKey: candidate.idempotencyKey,
      contentSha256: candidate.contentSha256,
      status: "pending_approval",
      receiveTime: 1_761_402_645_123_456_000n,
      signal: candidate.signal,
    });
  });

  test("is stored each time if it has neither key nor signature", async () => {
    const keyless = () => aCandidate({ idempotencyKey: undefined });
    const outcomes = await store.ingest([keyless(), keyless()], TIMEOUT_MS);
    expect(outcomes.map((outcome) => outcome.kind)).toEqual(["stored", "stored"]);
  });

  test("may have the key that another producer used", async () => {
    const candidate = aCandidate();
    const other = aCandidate({
      producerId: "bot-2",
      idempotencyKey: candidate.idempotencyKey,
    });
    const outcomes = await store.ingest([candidate, other], TIMEOUT_MS);
    expect(outcomes.map((outcome) => outcome.kind)).toEqual(["stored", "stored"]);
  });
});

test("an empty batch needs no database", async () => {
  expect(await store.ingest([], 1)).toEqual([]);
});

describe("a key that is known", () => {
  test("gives the first result again for the same content", async () => {
    const first = aCandidate();
    const [stored] = await store.ingest([first], TIMEOUT_MS);
    const retry = aCandidate({
      idempotencyKey: first.idempotencyKey,
      receiveTime: NOW + 60n * SECOND,
      status: "pending_approval",
    });
    const before = await count();
    expect(await store.ingest([retry], TIMEOUT_MS)).toEqual([{ ...stored, kind: "duplicate" }]);
    expect(await count()).toBe(before);
  });

  test("gives the status of now", async () => {
    const first = aCandidate({ status: "pending_approval" });
    await store.ingest([first], TIMEOUT_MS);
    await database.query(
      TIMEOUT_MS,
      (sql) => sql`UPDATE signals SET status = 'approved' WHERE signal_id = ${first.signalId}`,
    );
    const retry = aCandidate({ idempotencyKey: first.idempotencyKey });
    expect(await store.ingest([retry], TIMEOUT_MS)).toMatchObject([{ status: "approved" }]);
  });

  test("is refused for another content, and nothing is stored", async () => {
    const first = aCandidate();
    await store.ingest([first], TIMEOUT_MS);
    const before = await count();
    const reuse = aCandidate({ idempotencyKey: first.idempotencyKey }, OTHER_SIGNAL);
    expect(await store.ingest([reuse], TIMEOUT_MS)).toEqual([{ kind: "key_reused" }]);
    expect(await count()).toBe(before);
  });

  test("counts within the batch too: the first one wins", async () => {
    const first = aCandidate();
    const same = aCandidate({ idempotencyKey: first.idempotencyKey });
    const other = aCandidate({ idempotencyKey: first.idempotencyKey }, OTHER_SIGNAL);
    const neighbour = aCandidate();
    const outcomes = await store.ingest([first, same, other, neighbour], TIMEOUT_MS);
    expect(outcomes).toMatchObject([
      { kind: "stored", signalId: first.signalId },
      { kind: "duplicate", signalId: first.signalId },
      { kind: "key_reused" },
      { kind: "stored", signalId: neighbour.signalId },
    ]);
  });
});

describe("a signature that does not cover the key", () => {
  test("gives the original result under another key", async () => {
    const first = aCandidate({ requestSignature: aSignature() });
    const [stored] = await store.ingest([first], TIMEOUT_MS);
    const replay = aCandidate({ requestSignature: first.requestSignature });
    expect(await store.ingest([replay], TIMEOUT_MS)).toEqual([{ ...stored, kind: "duplicate" }]);
  });

  test("gives the original result without a key, and to a key added later", async () => {
    const first = aCandidate({ requestSignature: aSignature(), idempotencyKey: undefined });
    await store.ingest([first], TIMEOUT_MS);
    const replays = [
      aCandidate({ requestSignature: first.requestSignature, idempotencyKey: undefined }),
      aCandidate({ requestSignature: first.requestSignature }),
    ];
    expect(await store.ingest(replays, TIMEOUT_MS)).toMatchObject([
      { kind: "duplicate", signalId: first.signalId },
      { kind: "duplicate", signalId: first.signalId },
    ]);
  });

  test("wins over the key when the two name different signals", async () => {
    const first = aCandidate({ requestSignature: aSignature() });
    const second = aCandidate({ requestSignature: aSignature() });
    await store.ingest([first, second], TIMEOUT_MS);
    const replay = aCandidate({
      requestSignature: first.requestSignature,
      idempotencyKey: second.idempotencyKey,
    });
    expect(await store.ingest([replay], TIMEOUT_MS)).toMatchObject([
      { kind: "duplicate", signalId: first.signalId },
    ]);
  });

  test("is remembered of a retry too, which had a signature of its own", async () => {
    const first = aCandidate({ requestSignature: aSignature() });
    const retry = aCandidate({
      requestSignature: aSignature(),
      idempotencyKey: first.idempotencyKey,
    });
    await store.ingest([first], TIMEOUT_MS);
    await store.ingest([retry], TIMEOUT_MS);
    const replayOfRetry = aCandidate({ requestSignature: retry.requestSignature });
    expect(await store.ingest([replayOfRetry], TIMEOUT_MS)).toMatchObject([
      { kind: "duplicate", signalId: first.signalId },
    ]);
  });

  test("is remembered of a retry whose replay is in the same batch", async () => {
    const first = aCandidate({ requestSignature: aSignature() });
    await store.ingest([first], TIMEOUT_MS);
    const retry = aCandidate({
      requestSignature: aSignature(),
      idempotencyKey: first.idempotencyKey,
    });
    const replay = aCandidate({ requestSignature: retry.requestSignature });
    expect(await store.ingest([retry, replay], TIMEOUT_MS)).toMatchObject([
      { kind: "duplicate", signalId: first.signalId },
      { kind: "duplicate", signalId: first.signalId },
    ]);
  });

  test("is remembered of a request that was refused for its reused key", async () => {
    const first = aCandidate();
    const reuse = aCandidate(
      { requestSignature: aSignature(), idempotencyKey: first.idempotencyKey },
      OTHER_SIGNAL,
    );
    await store.ingest([first], TIMEOUT_MS);
    await store.ingest([reuse], TIMEOUT_MS);
    const replay = aCandidate({ requestSignature: reuse.requestSignature }, OTHER_SIGNAL);
    expect(await store.ingest([replay], TIMEOUT_MS)).toEqual([{ kind: "key_reused" }]);
  });

  test("stands for each item of its request apart", async () => {
    const requestSignature = aSignature();
    const items = [0, 1, 2].map((requestItem) =>
      aCandidate({ requestSignature, requestItem, idempotencyKey: undefined }),
    );
    const outcomes = await store.ingest(items, TIMEOUT_MS);
    expect(outcomes.map((outcome) => outcome.kind)).toEqual(["stored", "stored", "stored"]);
  });

  test("leaves a key free that only its replay used", async () => {
    const first = aCandidate({ requestSignature: aSignature() });
    const replay = aCandidate({ requestSignature: first.requestSignature });
    const honest = aCandidate({
      requestSignature: aSignature(),
      idempotencyKey: replay.idempotencyKey,
    });
    expect(await store.ingest([first, replay, honest], TIMEOUT_MS)).toMatchObject([
      { kind: "stored", signalId: first.signalId },
      { kind: "duplicate", signalId: first.signalId },
      { kind: "stored", signalId: honest.signalId },
    ]);
  });
});

describe("a signal past its expire time", () => {
  const expireTime = NOW + 5n;
  const signal = aSignal({ expireTime });

  test.each([
    ["a nanosecond before", expireTime - 1n, "stored"],
    ["at the very nanosecond", expireTime, "expired"],
    ["a nanosecond after", expireTime + 1n, "expired"],
  ])("is refused from that nanosecond on: %s", async (_, receiveTime, kind) => {
    const candidate = aCandidate({ receiveTime }, signal);
    expect(await store.ingest([candidate], TIMEOUT_MS)).toMatchObject([{ kind }]);
    expect((await store.findSignal(candidate.signalId)) !== undefined).toBe(kind === "stored");
  });

  test("leaves its key free", async () => {
    const late = aCandidate({ receiveTime: expireTime }, signal);
    await store.ingest([late], TIMEOUT_MS);
    const next = aCandidate({ idempotencyKey: late.idempotencyKey });
    expect(await store.ingest([next], TIMEOUT_MS)).toMatchObject([{ kind: "stored" }]);
  });

  test("gives a late retry its first result", async () => {
    const first = aCandidate({ requestSignature: aSignature() }, signal);
    const [stored] = await store.ingest([first], TIMEOUT_MS);
    const late = { receiveTime: expireTime + SECOND };
    const retry = aCandidate({ ...late, idempotencyKey: first.idempotencyKey }, signal);
    const replay = aCandidate({ ...late, requestSignature: first.requestSignature }, signal);
    expect(await store.ingest([retry, replay], TIMEOUT_MS)).toEqual([
      { ...stored, kind: "duplicate" },
      { ...stored, kind: "duplicate" },
    ]);
  });

  test("stays refused when the request is replayed", async () => {
    const late = aCandidate({ receiveTime: expireTime, requestSignature: aSignature() }, signal);
    await store.ingest([late], TIMEOUT_MS);
    const replay = aCandidate(
      { receiveTime: expireTime, requestSignature: late.requestSignature },
      signal,
    );
    expect(await store.ingest([replay], TIMEOUT_MS)).toEqual([{ kind: "expired" }]);
  });
});

describe("a batch", () => {
  test("is answered in order, and its sequence follows it", async () => {
    const [last] = (await store.listSignals({ afterSequence: 0n, limit: 10_000 })).slice(-1);
    const candidates = Array.from({ length: 300 }, () => aCandidate());
    const outcomes = await store.ingest(candidates, TIMEOUT_MS);
    const ids = candidates.map((candidate) => candidate.signalId);
    expect(outcomes.map((outcome) => outcome.kind === "stored" && outcome.signalId)).toEqual(ids);
    const listed = await store.listSignals({ afterSequence: last?.sequence ?? 0n, limit: 1_000 });
    expect(listed.map((signal) => signal.signalId)).toEqual(ids);
  });

  test("is stored wholly or not at all", async () => {
    const before = await count();
    const broken = aCandidate({ contentSha256: new Uint8Array(31) });
    const ingest = store.ingest([aCandidate(), broken, aCandidate()], TIMEOUT_MS);
    await expect(ingest).rejects.toThrow(SignalRejectedError);
    expect(await count()).toBe(before);
  });

  test("that fails tells the cause without the statement and the values", async () => {
    const broken = aCandidate({}, aSignal({ reason: "x".repeat(501) }));
    const error: unknown = await store.ingest([broken], TIMEOUT_MS).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(SignalRejectedError);
    const failure = error instanceof Error ? error.cause : undefined;
    expect(failure).toBeInstanceOf(StoreUnavailableError);
    const cause = failure instanceof Error ? failure.cause : undefined;
    expect(cause).toBeInstanceOf(DatabaseError);
    expect(cause).toMatchObject({ code: "23514", constraint: "signals_reason_check" });
    const told = JSON.stringify([error, failure, cause]) + String([error, failure, cause]);
    expect(told).not.toMatch(/xxx|INSERT|unnest/);
  });
});

describe("reading", () => {
  test("finds nothing under an unknown id", async () => {
    expect(await store.findSignal(randomUUID())).toBeUndefined();
  });

  test("lists page by page without a gap", async () => {
    const all = await store.listSignals({ afterSequence: 0n, limit: 10_000 });
    const paged: string[] = [];
    for (let afterSequence = 0n; ; ) {
      const page = await store.listSignals({ afterSequence, limit: 37 });
      paged.push(...page.map((signal) => signal.signalId));
      const last = page.at(-1);
      if (last === undefined) {
        break;
      }
      afterSequence = last.sequence;
    }
    expect(paged).toEqual(all.map((signal) => signal.signalId));
  });
});
