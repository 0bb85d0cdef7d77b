import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { printable } from "../../src/cli/output.ts";
import { Progress } from "../../src/cli/send/printer.ts";
import type { PlacedItem } from "../../src/cli/send/report.ts";
import { deliver } from "../../src/cli/send/sender.ts";
import { itemFromJson } from "../../src/cli/send/signalJson.ts";
import { gatherBatches, readLines } from "../../src/cli/send/streams.ts";
import {
  type IngestItem,
  type IngestItemResult,
  type SignalClient,
  SignalError,
  type SignalErrorReason,
  systemClock,
} from "../../src/client/index.ts";

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const item of source) collected.push(item);
  return collected;
}

describe("readLines", () => {
  async function* chunks(text: string | Buffer, size: number) {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }

  it.each([1, 2, 3, 1_000])("gives the same lines in chunks of %i bytes", async (size) => {
    const text = "\ufeff é1 \r\n\n\t\n{\u{1f600}}\n\xe9 too long\nlast";
    expect(await collect(readLines(chunks(text, size), 10))).toEqual([
      { number: 1, text: "é1" },
      { number: 4, text: "{\u{1f600}}" },
      { number: 5, fault: "is longer than 10 bytes" },
      { number: 6, text: "last" },
    ]);
  });

  it("names a line that is not UTF-8 and goes on", async () => {
    const bytes = Buffer.concat([Buffer.from([0xff, 0x0a]), Buffer.from("ok")]);
    expect(await collect(readLines(chunks(bytes, 10)))).toEqual([
      { number: 1, fault: "is not UTF-8" },
      { number: 2, text: "ok" },
    ]);
  });
});

describe("gatherBatches", () => {
  it("fills batches from a fast source and empties them for a slow one", async () => {
    async function* source() {
      for (let n = 1; n <= 5; n++) yield n;
      await sleep(200);
      yield 6;
    }
    expect(await collect(gatherBatches(source(), 2, 20))).toEqual([[1, 2], [3, 4], [5], [6]]);
  });

  it("gives what came before the source fails, and then its error", async () => {
    async function* source() {
      yield 1;
      throw new Error("the pipe broke");
    }
    const batches = gatherBatches(source(), 10, 1_000);
    expect((await batches.next()).value).toEqual([1]);
    await expect(batches.next()).rejects.toThrow("the pipe broke");
  });
});

describe("itemFromJson", () => {
  it.each([
    [{ side: 0 }, "buy"],
    [{ side: 1 }, "sell"],
    [{ side: "SIDE_BUY" }, "buy"],
    [{ signal: { side: "SIDE_SELL" } }, "sell"],
    // In the RPCs 1 means buy, in REST sell: never guess a direction.
    [{ signal: { side: 1 } }, 1],
  ])("takes the side of %j for %j", (json, side) => {
    expect(itemFromJson(json)).toMatchObject({ readable: true, item: { signal: { side } } });
  });

  it.each([
    [[], ""],
    [{ signal: 1 }, "signal"],
    [{ signal: {}, stop_loss: 1 }, "stop_loss"],
    [{ stop_loss: 1, stopLoss: 2 }, "stopLoss"],
    [{ time: "a", timestamp: "b" }, "timestamp"],
  ])("refuses %j", (json, field) => {
    expect(itemFromJson(json)).toMatchObject({ readable: false, violations: [{ field }] });
  });

  it("keeps a key named __proto__ as a key", () => {
    const reading = itemFromJson(JSON.parse('{"__proto__":{"side":"buy"}}'));
    expect(reading).toMatchObject({ readable: true });
    expect(reading.readable && Object.keys(reading.item.signal)).toEqual(["__proto__"]);
  });
});

describe("deliver", () => {
  const items: readonly PlacedItem[] = [1, 2, 3, 4].map((number) => ({
    place: { name: "line", number },
    item: {
      signal: { instrument: "GOLD", side: "buy", entryPrice: number },
      idempotencyKey: `key-${number}`,
    },
    isNamedBySource: true,
    fixTime() {},
  }));
  const never = new AbortController().signal;

  /** A client whose batches a test answers. */
  function clientOf(answer: (batch: readonly IngestItem[]) => IngestItemResult[]): SignalClient {
    return {
      clock: systemClock,
      ingest: () => Promise.reject(new Error("not a batch")),
      ingestBatch: async (batch) => answer(batch),
      close: async () => {},
      [Symbol.asyncDispose]: async () => {},
    };
  }

  function stored({ idempotencyKey = "" }: IngestItem): IngestItemResult {
    return {
      outcome: "stored",
      signalId: `id-of-${idempotencyKey}`,
      status: "received",
      idempotencyKey,
      message: "",
      serverTime: undefined,
      serverTimestamp: undefined,
    };
  }

  async function outcomes(client: SignalClient, retries = 0, waits: unknown[] = []) {
    const onWait = ({ reason }: SignalError) => waits.push(reason);
    const { reports, stop } = await deliver(items, { client, retries, signal: never, onWait });
    const byLine = reports.map(({ place, outcome }) => `${place?.number} ${outcome}`).sort();
    return { byLine, stop: stop?.reason };
  }

  it("splits a batch that is too large until it fits", async () => {
    const sizes: number[] = [];
    const client = clientOf((batch) => {
      sizes.push(batch.length);
      if (batch.length > 1) throw new SignalError("BODY_TOO_LARGE", "too large");
      if (batch[0]?.idempotencyKey === "key-3")
        throw new SignalError("BODY_TOO_LARGE", "too large");
      return batch.map(stored);
    });
    expect(await outcomes(client)).toEqual({
      byLine: ["1 stored", "2 stored", "3 refused", "4 stored"],
      stop: undefined,
    });
    expect(sizes).toEqual([4, 2, 1, 1, 2, 1, 1]);
  });

  it("splits a batch that is bigger than the producer's limit", async () => {
    const sizes: number[] = [];
    const client = clientOf((batch) => {
      sizes.push(batch.length);
      if (batch.length <= 2) return batch.map(stored);
      const violations = [{ field: "requests", description: "must hold at most 2 requests" }];
      throw new SignalError("INVALID_SIGNAL", "too many", { violations });
    });
    expect(await outcomes(client)).toEqual({
      byLine: ["1 stored", "2 stored", "3 stored", "4 stored"],
      stop: undefined,
    });
    expect(sizes).toEqual([4, 2, 2]);
  });

  it("sends the others without the item that breaks a rule", async () => {
    const client = clientOf((batch) => {
      const index = batch.findIndex(({ idempotencyKey }) => idempotencyKey === "key-2");
      if (index < 0) return batch.map(stored);
      const violations = [{ field: `requests[${index}].signal.side`, description: "is wrong" }];
      throw new SignalError("INVALID_SIGNAL", "invalid", { violations });
    });
    expect(await outcomes(client)).toEqual({
      byLine: ["1 stored", "2 refused", "3 stored", "4 stored"],
      stop: undefined,
    });
  });

  it("repeats only the items that are worth it", async () => {
    const keys: unknown[] = [];
    const client = clientOf((batch) => {
      keys.push(batch.map(({ idempotencyKey }) => idempotencyKey));
      return batch.map((item, index): IngestItemResult => {
        if (keys.length > 1 || index < 2) return stored(item);
        const refusal = { reason: "OVERLOADED", retry: "same_key", retryable: true } as const;
        const answer = { ...stored(item), outcome: "refused", signalId: undefined } as const;
        return { ...answer, status: "rejected", ...refusal, violations: [] };
      });
    });
    const waits: unknown[] = [];
    expect(await outcomes(client, 1, waits)).toMatchObject({ stop: undefined });
    expect(waits).toEqual(["OVERLOADED"]);
    expect(keys).toEqual([
      ["key-1", "key-2", "key-3", "key-4"],
      ["key-3", "key-4"],
    ]);
  });

  const refused = Object.assign(new Error("refused"), { syscall: "connect" });
  const neverConnected = new SignalError("UNREACHABLE", "", {
    cause: new AggregateError([refused, refused]),
  });

  it.each<[readonly (SignalErrorReason | SignalError)[], string]>([
    [["STORE_UNAVAILABLE"], "unconfirmed, may be stored"],
    [["UNREACHABLE"], "unconfirmed, may be stored"],
    [["CANCELLED"], "unconfirmed, may be stored"],
    [["RATE_LIMITED"], "unconfirmed"],
    [["OVERLOADED"], "unconfirmed"],
    [[neverConnected], "unconfirmed"],
    [["UNAUTHENTICATED"], "refused"],
    [["RATE_LIMITED", "PRODUCER_DISABLED"], "refused"],
    // The first attempt may have stored them, so the second says nothing of them.
    [["DEADLINE_EXCEEDED", "PRODUCER_DISABLED"], "unconfirmed, may be stored"],
    [["INTERNAL", "RATE_LIMITED"], "unconfirmed, may be stored"],
    [["INVALID_RESPONSE", neverConnected], "unconfirmed, may be stored"],
    [["UNREACHABLE", "IDEMPOTENCY_KEY_REUSED"], "refused"],
  ])("after %j says of each item: %s", async (failures, fate) => {
    let attempt = 0;
    const client = clientOf(() => {
      const failure = failures[attempt++] ?? "INVALID_SIGNAL";
      throw failure instanceof SignalError ? failure : new SignalError(failure, "");
    });
    const options = { client, retries: failures.length - 1, signal: never, onWait() {} };
    const { reports, stop } = await deliver(items, options);
    const fates = reports.map(({ outcome, mayBeStored }) =>
      mayBeStored ? `${outcome}, may be stored` : outcome,
    );
    expect(fates).toEqual(items.map(() => fate));
    const last = failures.at(-1);
    const isOfOne = last === "IDEMPOTENCY_KEY_REUSED";
    expect(stop?.reason).toBe(
      isOfOne ? undefined : last instanceof SignalError ? last.reason : last,
    );
  });

  it("says of each item that it may be stored, if one of their refusals leaves that open", async () => {
    const reasons = ["OVERLOADED", "STORE_UNAVAILABLE", "OVERLOADED", "RATE_LIMITED"] as const;
    const client = clientOf((batch) =>
      batch.map((item, index): IngestItemResult => {
        const refusal = { retry: "same_key", retryable: true, violations: [] } as const;
        const answer = { ...stored(item), outcome: "refused", signalId: undefined } as const;
        return { ...answer, status: "rejected", ...refusal, reason: reasons[index] ?? "INTERNAL" };
      }),
    );
    const options = { client, retries: 0, signal: never, onWait() {} };
    const { reports } = await deliver(items, options);
    expect(reports.map(({ mayBeStored }) => mayBeStored)).toEqual([true, true, true, true]);
  });

  it("fixes the times of its items after the first attempt only", async () => {
    const events: string[] = [];
    const timed = items.map((item) => ({ ...item, fixTime: () => events.push("fixed") }));
    const client = clientOf((batch) => {
      events.push("sent");
      if (events.length === 1) throw new SignalError("OVERLOADED", "busy");
      return batch.map(stored);
    });
    await deliver(timed, { client, retries: 1, signal: never, onWait() {} });
    expect(events.slice(0, 6)).toEqual(["sent", "fixed", "fixed", "fixed", "fixed", "sent"]);
  });
});

describe("Progress", () => {
  it.each([
    ["one line that changes on a terminal", true, [100, 250, 300], [250]],
    ["a line every few seconds elsewhere", false, [1_000, 5_000, 6_000, 10_000], [5_000, 10_000]],
  ])("is %s", (_, isTTY, times, shownAt) => {
    const written: string[] = [];
    let nowMs = 0;
    const stream = { isTTY, write: (text: string) => written.push(text) };
    const progress = new Progress(stream as unknown as NodeJS.WriteStream, () => nowMs);
    for (const ms of times) {
      nowMs = ms;
      progress.show({ stored: ms });
      progress.clear();
    }
    const texts = shownAt.map((ms) => `countersign: ${ms} signals: ${ms} stored so far`);
    expect(written).toEqual(
      isTTY
        ? texts.flatMap((text) => [`\r\u001b[K${text}`, "\r\u001b[K"])
        : texts.map((text) => `${text}\n`),
    );
  });
});

it("text from outside cannot steer a terminal", () => {
  expect(printable("a\u001b[2J\r\n\t\u202eb\u2028é")).toBe(
    "a\\u{1b}[2J\\r\\n\\t\\u{202e}b\\u{2028}é",
  );
});
