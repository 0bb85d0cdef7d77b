/** The database refuses by itself what the rules exclude, whoever writes to it. */
import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { SignalCandidate } from "../../src/ingest/store.ts";
import type { Signal } from "../../src/signal/index.ts";
import { createSignalStore } from "../../src/store/index.ts";
import { aCandidate, aSignal, NOW } from "./builders.ts";
import { openTestDatabase } from "./openTestDatabase.ts";

const TIMEOUT_MS = 5_000;
const CHECK_VIOLATION = "23514";
/** What the store throws for a signal that breaks a rule of the table. */
const REJECTED = { name: "SignalRejectedError", cause: { cause: { code: CHECK_VIOLATION } } };

const database = await openTestDatabase(2);

function ingest(overrides: Partial<SignalCandidate>, signal: Partial<Signal>) {
  return createSignalStore(database).ingest([aCandidate(overrides, aSignal(signal))], TIMEOUT_MS);
}

describe("a signal", () => {
  // Each is checked by one column's rule, so the rest of the signal must be valid.
  const bare = { stopLoss: undefined, takeProfit: undefined };
  test.each<[string, Partial<Signal>]>([
    ["an instrument in lower case", { instrument: "gold" }],
    ["an instrument that ends with a newline", { instrument: "GOLD\n" }],
    ["an unknown side", { side: "hold" as Signal["side"] }],
    ["a price of zero", { ...bare, entryPrice: 0 }],
    ["a negative price", { ...bare, entryPrice: -1 }],
    ["a price that is not a number", { ...bare, entryPrice: Number.NaN }],
    ["an infinite price", { ...bare, entryPrice: Number.POSITIVE_INFINITY }],
    ["a price above 1e12", { ...bare, entryPrice: 1.000001e12 }],
    ["a stop above the entry of a buy", { stopLoss: 2001 }],
    ["a stop at the entry of a buy", { stopLoss: 2000.5 }],
    ["a target below the entry of a buy", { takeProfit: 1999 }],
    ["a stop below the entry of a sell", { side: "sell", stopLoss: 1999, takeProfit: undefined }],
    ["a target above the entry of a sell", { side: "sell", stopLoss: undefined }],
    ["a confidence above 1", { confidence: 1.01 }],
    ["a risk of zero", { riskPercent: 0 }],
    ["a risk above 100", { riskPercent: 100.1 }],
    ["a strategy name of 65 characters", { strategyName: "x".repeat(65) }],
    ["a reason of 501 characters", { reason: "x".repeat(501) }],
    ["a comment of 501 characters", { comment: "x".repeat(501) }],
    ["a time before the year 2000", { signalTime: 946_684_799_999_999_000n }],
    ["an expire time that is the signal time", { expireTime: NOW }],
    ["a payload that is no object", { payload: [] as unknown as NonNullable<Signal["payload"]> }],
  ])("is refused with %s", async (_, signal) => {
    const attempt = ingest({ receiveTime: 946_684_800_000_000_000n }, signal);
    await expect(attempt).rejects.toMatchObject(REJECTED);
  });

  test.each<[string, Partial<SignalCandidate>]>([
    ["a digest that is too short", { contentSha256: new Uint8Array(31) }],
    ["a signature that is too long", { requestSignature: new Uint8Array(33) }],
    ["a negative item", { requestSignature: new Uint8Array(32), requestItem: -1 }],
    ["an unknown status", { status: "done" as SignalCandidate["status"] }],
    ["a key with a space", { idempotencyKey: "a b" }],
    ["an empty key", { idempotencyKey: "" }],
    ["a key of 129 characters", { idempotencyKey: "x".repeat(129) }],
    ["a producer id that begins with a dot", { producerId: ".bot" }],
    ["a producer id of 65 characters", { producerId: "x".repeat(65) }],
  ])("is refused with %s", async (_, overrides) => {
    await expect(ingest(overrides, {})).rejects.toMatchObject(REJECTED);
  });

  test("is taken at the limits of the rules", async () => {
    const signal: Partial<Signal> = {
      instrument: "A.B-C_D0123456789XYZ",
      entryPrice: 1e12,
      stopLoss: 5e-324,
      takeProfit: undefined,
      confidence: 0,
      riskPercent: 100,
      strategyName: "😀".repeat(64),
      reason: "é\t\n".repeat(166),
      comment: "",
      signalTime: 946_684_800_000_000_000n,
      expireTime: 946_684_800_000_000_001n,
      payload: {},
    };
    const overrides = { idempotencyKey: "~!".repeat(64), receiveTime: 946_684_800_000_000_000n };
    expect(await ingest(overrides, signal)).toMatchObject([{ kind: "stored" }]);
  });
});

describe("a producer", () => {
  test.each([
    ["an id with a space", "INSERT INTO producers (producer_id) VALUES ('a b')"],
    ["a rate limit of zero", "INSERT INTO producers VALUES ('p', true, true, null, 0)"],
    ["no instrument in its list", "INSERT INTO producers VALUES ('p', true, true, '{NULL}')"],
  ])("is refused with %s", async (_, statement) => {
    const attempt = database.query(TIMEOUT_MS, (sql) => sql.unsafe(statement));
    await expect(attempt).rejects.toMatchObject({ cause: { code: CHECK_VIOLATION } });
  });

  test("is needed for a secret", async () => {
    const attempt = database.query(
      TIMEOUT_MS,
      (sql) => sql`
        INSERT INTO producer_secrets (secret_id, producer_id, sealed)
        VALUES (${randomUUID()}, 'nobody', '\\x00')
      `,
    );
    await expect(attempt).rejects.toMatchObject({ cause: { code: "23503" } });
  });
});

test("the time of a row's last change is kept by the database", async () => {
  const candidate = aCandidate();
  const store = createSignalStore(database);
  await store.ingest([candidate], TIMEOUT_MS);
  const before = await store.findSignal(candidate.signalId);
  await database.query(
    TIMEOUT_MS,
    (sql) => sql`UPDATE signals SET comment = 'x' WHERE signal_id = ${candidate.signalId}`,
  );
  const after = await store.findSignal(candidate.signalId);
  expect(after?.updateTime).toBeGreaterThan(before?.updateTime ?? 0n);
});
