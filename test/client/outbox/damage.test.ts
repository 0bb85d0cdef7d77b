/**
 * Damaged files: whatever happened to a file, no changed signal is ever sent, what can be read
 * is kept, the file is set aside, and people are told.
 */
import {
  closeSync,
  copyFileSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { SignalError } from "../../../src/client/index.ts";
import type { Death } from "../../../src/client/outbox/entry.ts";
import { OutboxFile } from "../../../src/client/outbox/file.ts";
import { decodeRecord, encodeEntry, encodeProgress } from "../../../src/client/outbox/record.ts";
import { salvage } from "../../../src/client/outbox/salvage.ts";
import { openOutbox, outboxPath, RecordingAlerts, SIGNAL } from "./support.ts";

/** By it SQLite sees that another process changed the file (fileformat2, section 1.3.7). */
const CHANGE_COUNTER_AT = 24;

/** An outbox with small signals, some that fill several pages, and a dead letter. */
async function fill(path: string, count: number): Promise<Map<string, Buffer>> {
  const outbox = openOutbox({
    path,
    client: {
      ingest: () => Promise.reject(new SignalError("INVALID_SIGNAL", "for a test")),
      ingestBatch: () => Promise.reject(new SignalError("UNREACHABLE", "for a test")),
    },
  });
  await outbox.enqueue(SIGNAL, { idempotencyKey: "dead" });
  await outbox.flush(5_000);
  const signals = Array.from({ length: count }, (_, n) => {
    const isLong = n % 7 === 3;
    const signal = { ...SIGNAL, entryPrice: 4_000 + n };
    return {
      key: `${isLong ? "long" : "key"}-${n}`,
      signal: isLong ? { ...signal, payload: { text: `${n} `.repeat(1_000 + 150 * n) } } : signal,
    };
  });
  await Promise.all(
    signals.map(({ key, signal }) => outbox.enqueue(signal, { idempotencyKey: key })),
  );
  await outbox.close();
  return contents(path);
}

/** Every request in a file that is sound, by its key. */
function contents(path: string): Map<string, Buffer> {
  const file = new OutboxFile(path);
  try {
    expect(file.check()).toBeUndefined();
    const entries = file.everything().entries;
    return new Map(entries.map((entry) => [entry.idempotencyKey, Buffer.from(entry.request)]));
  } finally {
    file.close();
  }
}

/** Opens and closes an outbox whose file was damaged. @returns what people were told. */
async function reopen(path: string): Promise<RecordingAlerts> {
  const alerts = new RecordingAlerts();
  const outbox = openOutbox({ path, alerts });
  await outbox.close({ drainMs: 0 });
  return alerts;
}

function setAside(path: string): string[] {
  return readdirSync(dirname(path)).filter(
    (name) => name.includes(".damaged-") && !name.endsWith("-journal"),
  );
}

/** What must hold after damage, and which signals were lost. */
function judge(path: string, before: Map<string, Buffer>, alerts: RecordingAlerts): string[] {
  const after = contents(path);
  for (const [key, request] of after) {
    expect(before.get(key)?.equals(request), `${key} was changed`).toBe(true);
  }
  const lost = [...before.keys()].filter((key) => !after.has(key));
  if (lost.length > 0) expect(alerts.kinds).toContain("outbox_damaged");
  expect(setAside(path).length).toBe(alerts.kinds.includes("outbox_damaged") ? 1 : 0);
  return lost;
}

describe("a flipped bit", () => {
  it("costs at most the signal that it is in, wherever it is, but for long ones", {
    timeout: 120_000,
  }, async () => {
    const source = outboxPath();
    const before = await fill(source, 60);
    const bytes = readFileSync(source);
    let losses = 0;
    for (const [round, place] of offsets(bytes.length).entries()) {
      const path = outboxPath();
      const damaged = Buffer.from(bytes);
      damaged[place] = (damaged[place] as number) ^ (1 << (round % 8));
      writeFileSync(path, damaged);
      const alerts = await reopen(path);
      const lost = judge(path, before, alerts);
      // The structure of the file tells where the parts of a long one lie.
      const lostShort = lost.filter((key) => !key.startsWith("long-"));
      expect(lostShort.length, `a flip at ${place}`).toBeLessThanOrEqual(1);
      if (lost.length > 0) {
        losses += 1;
        const [name] = setAside(path);
        expect(readFileSync(join(dirname(path), String(name))).equals(damaged)).toBe(true);
      }
      rmSync(dirname(path), { recursive: true, force: true });
    }
    // Otherwise the test would have damaged nothing that matters.
    expect(losses).toBeGreaterThan(20);
  });

  it.each(["key-20", "long-24", "dead"])("in the record of %s costs only that one", async (key) => {
    const path = outboxPath();
    const before = await fill(path, 60);
    breakRecord(path, key);
    const alerts = await reopen(path);
    expect(judge(path, before, alerts)).toEqual([key]);
    expect(alerts.sent.at(0)?.text).toContain(
      "60 signals could be read from it and stayed in the outbox. At least 1 could not be read.",
    );
  });

  /** The header of the file, the heads of pages, and places all over. */
  function offsets(size: number): number[] {
    const random = generator(20251025);
    const header = Array.from({ length: 100 }, (_, at) => at);
    const heads = Array.from({ length: 40 }, () => {
      return Math.floor((random() * size) / 4_096) * 4_096 + Math.floor(random() * 40);
    });
    const anywhere = Array.from({ length: 60 }, () => Math.floor(random() * size));
    return [...header, ...heads, ...anywhere];
  }
});

describe("a truncated file", () => {
  it.each([0, 100, 4_097, 70_001])("of %i bytes gives what it still has", async (size) => {
    const path = outboxPath();
    const before = await fill(path, 60);
    truncateSync(path, size);
    const alerts = await reopen(path);
    const lost = judge(path, before, alerts);
    expect(lost.length).toBeGreaterThan(0);
    expect(alerts.kinds.filter((kind) => kind === "outbox_damaged")).toHaveLength(1);
    expect(alerts.sent[0]?.text).toContain(".damaged-");
  });

  it("is found while it is in use, and new signals are taken", async () => {
    const path = outboxPath();
    const alerts = new RecordingAlerts();
    const outbox = openOutbox({ path, alerts });
    await outbox.enqueue(SIGNAL, { idempotencyKey: "before" });
    truncateSync(path, 0);
    await outbox.enqueue(SIGNAL, { idempotencyKey: "after" });
    expect(alerts.kinds).toContain("outbox_damaged");
    await outbox.close({ drainMs: 0 });
    expect([...contents(path).keys()]).toContain("after");
  });
});

describe("a file that is no outbox", () => {
  it("is set aside if it is no database", async () => {
    const path = outboxPath();
    writeFileSync(path, "This is a shopping list.\n".repeat(500));
    const alerts = await reopen(path);
    expect(alerts.kinds).toEqual(["outbox_damaged"]);
    expect(readFileSync(join(dirname(path), String(setAside(path)[0])), "utf8")).toContain("list");
  });

  it("is left with its write-ahead log if it is another program's, or set aside if it is not", async () => {
    const foreign = outboxPath();
    const database = new DatabaseSync(foreign);
    database.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (a)");
    database.close();
    const before = readFileSync(foreign);
    expect(() => openOutbox({ path: foreign })).toThrow(
      expect.objectContaining({ reason: "OUTBOX_FOREIGN_FILE" }),
    );
    expect(readFileSync(foreign)).toEqual(before);

    const own = outboxPath();
    const signals = await fill(own, 5);
    const changed = new DatabaseSync(own);
    changed.exec("PRAGMA journal_mode = WAL");
    changed.close();
    const alerts = new RecordingAlerts();
    await openOutbox({ path: own, alerts }).close();
    expect(alerts.sent[0]?.text).toContain("write-ahead log");
    expect(contents(own)).toEqual(signals);
  });
});

it.each([
  ["under way", ["lost"]],
  ["next in line", ["first", "second", "lost"]],
])("takes no new signal for one that was %s when its record broke", async (_, keys) => {
  const path = outboxPath();
  const sent: (string | undefined)[] = [];
  const answered = Promise.withResolvers<void>();
  const store = async (...keys: (string | undefined)[]) => {
    sent.push(...keys);
    await answered.promise;
    return keys.map(() => ({ outcome: "stored" }) as never);
  };
  const outbox = openOutbox({
    path,
    maxBatchSize: 2,
    client: {
      ingest: async (_, options) => (await store(options?.idempotencyKey))[0] as never,
      ingestBatch: (items) => store(...items.map(({ idempotencyKey }) => idempotencyKey)),
    },
  });
  await Promise.all(keys.map((idempotencyKey) => outbox.enqueue(SIGNAL, { idempotencyKey })));
  await vi.waitFor(() => expect(sent).toHaveLength(Math.min(2, keys.length)));
  // What is next in line is read a moment later.
  await sleep(50);
  breakRecord(path, "lost");

  await outbox.enqueue(SIGNAL, { idempotencyKey: "new" });
  expect(setAside(path)).toHaveLength(1);
  answered.resolve();
  expect(await outbox.flush(5_000)).toBe(true);
  expect(sent).toEqual([...keys, "new"]);
});

/** Breaks the record of a signal in a file that is open, so that SQLite reads it again. */
function breakRecord(path: string, key: string): void {
  const bytes = readFileSync(path);
  const places: number[] = [];
  for (let at = bytes.indexOf(key); at >= 0; at = bytes.indexOf(key, at + 1)) places.push(at);
  const file = openSync(path, "r+");
  for (const place of places) writeSync(file, "X", place);
  writeSync(file, Buffer.from([9, 9, 9, 9]), 0, 4, CHANGE_COUNTER_AT);
  closeSync(file);
}

it("does not send again what was delivered, when the file is salvaged", async () => {
  const path = outboxPath();
  const sent: (string | undefined)[] = [];
  const result = { outcome: "stored" } as never;
  const first = openOutbox({
    path,
    client: { ingest: async () => result, ingestBatch: async (items) => items.map(() => result) },
  });
  await Promise.all(
    Array.from({ length: 500 }, (_, n) => first.enqueue(SIGNAL, { idempotencyKey: `old-${n}` })),
  );
  expect(await first.flush(10_000)).toBe(true);
  await first.close();
  const bytes = readFileSync(path);
  bytes[0] = 0;
  writeFileSync(path, bytes);
  const second = openOutbox({
    path,
    client: {
      ingest: async (_, options) => {
        sent.push(options?.idempotencyKey);
        return result;
      },
      ingestBatch: async (items) => {
        sent.push(...items.map(({ idempotencyKey }) => idempotencyKey));
        return items.map(() => result);
      },
    },
  });
  await second.enqueue(SIGNAL, { idempotencyKey: "new" });
  expect(await second.flush(10_000)).toBe(true);
  expect(sent).toEqual(["new"]);
});

it("keeps the damaged file although its name is taken", async () => {
  const path = outboxPath();
  await fill(path, 5);
  const clock = { now: () => 1_761_402_645_000_000_000n };
  const name = `${path}.damaged-20251025T143045000Z`;
  copyFileSync(path, name);
  const copied = readFileSync(name);
  truncateSync(path, 10);
  const outbox = openOutbox({ path, clock, alerts: new RecordingAlerts() });
  await outbox.close({ drainMs: 0 });
  expect(readFileSync(name).equals(copied)).toBe(true);
  expect(existsSync(`${name}-2`)).toBe(true);
});

it("salvages of each key the latest record, and none older than the progress of delivery", () => {
  const path = outboxPath();
  const record = (sequence: number, idempotencyKey: string, death?: Death) =>
    encodeEntry({ sequence, idempotencyKey, enqueuedMs: 0, death, request: Buffer.from("x") });
  const death = { reason: "REFUSED", message: "", violations: [], diedMs: 0 } as const;
  const parts = [
    record(3, "delivered long ago"),
    record(4, "refused", death),
    record(9, "waits"),
    record(8, "retried", death),
    record(10, "retried"),
    encodeProgress({ pendingFrom: 9, nextSequence: 9 }),
    encodeProgress({ pendingFrom: 2, nextSequence: 5 }),
    record(11, "cut off").subarray(0, -1),
  ];
  writeFileSync(path, Buffer.concat(parts));
  const { entries, progress, brokenCount } = salvage(path);
  expect(entries.map(({ idempotencyKey }) => idempotencyKey)).toEqual([
    "refused",
    "waits",
    "retried",
  ]);
  expect(entries.at(-1)?.death).toBeUndefined();
  expect([progress, brokenCount]).toEqual([{ pendingFrom: 9, nextSequence: 11 }, 1]);
});

describe("a record", () => {
  const entry = {
    sequence: 7,
    idempotencyKey: "key",
    enqueuedMs: 1_761_402_645_123,
    death: undefined,
    request: Buffer.from("request"),
  };

  it("comes back as it was", () => {
    expect(decodeRecord(encodeEntry(entry))).toEqual({ kind: "entry", entry });
  });

  it("is refused if any bit of it is changed", () => {
    const record = encodeEntry(entry);
    for (let bit = 0; bit < record.length * 8; bit++) {
      const changed = Buffer.from(record);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(decodeRecord(changed), `bit ${bit}`).toBeUndefined();
    }
    expect(decodeRecord(record.subarray(0, -1))).toBeUndefined();
  });
});

/** Numbers from 0 to 1 that look random and are the same in each run (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
