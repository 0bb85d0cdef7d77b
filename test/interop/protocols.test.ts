/**
 * One signed signal, handed over in every way that a producer may choose, is the same row;
 * and handed over again in another way, it is a duplicate of that row.
 */
import { randomUUID } from "node:crypto";
import postgres from "postgres";
import { describe, expect, it } from "vitest";
import { validSignal } from "../support/signals.ts";
import { skipVisibly } from "./support/command.ts";
import type { Reply } from "./support/reply.ts";
import { availableSenders, type Sender } from "./support/senders.ts";
import { decidedByProducer, interopOfFile, rowOf } from "./support/server.ts";

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const NANOS_PER_MINUTE = 60_000_000_000n;

/** Every field is set, and holds what an encoding could spoil. */
const SIGNAL = validSignal({
  side: "sell",
  entryPrice: 0.1 + 0.2,
  stopLoss: 1e12,
  takeProfit: 5e-324,
  confidence: 1,
  riskPercent: 33.333333333333336,
  strategyName: "Größe: klein €",
  reason: 'Zeile 1\n\tZeile 2 "zitiert" \\ 🐂',
  comment: "<script>&amp;\u2028",
  expireTime: 253_402_300_799_999_999_999n,
  payload: {
    timeframe: "H1",
    10: [null, true, false, -1.5e300, 2 ** 53, "Ω", [], {}],
    nested: { "": "empty key", ключ: { deep: [{ er: 1 }] } },
  },
});

const senders = availableSenders();

/** Another protocol than the sender's own: half-way round the list of all. */
function counterpart(sender: Sender): Sender {
  const index = senders.indexOf(sender) + Math.floor(senders.length / 2);
  return senders[index % senders.length] as Sender;
}

const interop = interopOfFile();

skipVisibly(["python3", "curl", "buf"], "not every way to hand over a signal was tried");

describe.each(senders)("$name", (sender) => {
  it("stores the signal once, equal in every field, whichever way it comes again", async () => {
    const key = randomUUID();
    const before = BigInt(Date.now()) * 1_000_000n;

    const first = await sender.send(interop.url, SIGNAL, key);

    expect(first).toMatchObject({
      signalId: expect.stringMatching(UUID_V7),
      status: "received",
      message: "The signal is stored.",
      duplicate: false,
      errorCount: 0,
    } satisfies Partial<Reply>);
    expect(first.httpStatus).toBe(sender.newStatus);
    expect(first.serverTime).toBeGreaterThanOrEqual(before);
    expect(first.serverTime).toBeLessThan(before + NANOS_PER_MINUTE);
    const row = await interop.store.findSignal(first.signalId);
    expect(decidedByProducer(row)).toEqual(rowOf(SIGNAL, { idempotencyKey: key }));
    expect(row?.receiveTime).toBe(first.serverTime);

    const second = await counterpart(sender).send(interop.url, SIGNAL, key);

    expect(second).toMatchObject({
      signalId: first.signalId,
      status: "received",
      serverTime: first.serverTime,
      duplicate: true,
      errorCount: 0,
    } satisfies Partial<Reply>);
    expect(second.message).toBe("The signal was stored before; this is the first result.");
    const rows = await interop.all();
    expect(rows.filter(({ idempotencyKey }) => idempotencyKey === key)).toHaveLength(1);
  });
});

it("stands in the table itself as it was sent, for whoever reads it without this code", async () => {
  const [sender] = senders as [Sender];
  const key = randomUUID();
  const { signalId } = await sender.send(interop.url, SIGNAL, key);

  const sql = postgres(interop.databaseUrl, { max: 1 });
  const [row] = await sql`
    SELECT producer_id, idempotency_key, status, instrument, side, entry_price, stop_loss,
      take_profit, confidence, risk_percent, strategy_name, reason, comment, payload,
      to_char(signal_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') AS signal_time,
      signal_time_nanos,
      to_char(expire_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') AS expire_time,
      expire_time_nanos
    FROM signals WHERE signal_id = ${signalId}
  `.finally(() => sql.end());

  expect(row).toEqual({
    producer_id: "test-bot",
    idempotency_key: key,
    status: "received",
    instrument: "GOLD",
    side: "sell",
    entry_price: 0.30000000000000004,
    stop_loss: 1e12,
    take_profit: 5e-324,
    confidence: 1,
    risk_percent: 33.333333333333336,
    strategy_name: SIGNAL.strategyName,
    reason: SIGNAL.reason,
    comment: SIGNAL.comment,
    payload: SIGNAL.payload,
    signal_time: "2025-10-25T14:30:45.123456",
    signal_time_nanos: 789,
    expire_time: "9999-12-31T23:59:59.999999",
    expire_time_nanos: 999,
  });
});
