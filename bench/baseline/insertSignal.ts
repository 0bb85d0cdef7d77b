import type postgres from "postgres";
import type { SignalCandidate } from "../../src/ingest/index.ts";
import { nanosBelowMicro, toTimestamptz } from "../../src/store/values.ts";

/**
 * Inserts one signal as one statement: the same row in the same table as Countersign
 * writes, in the obvious way.
 *
 * @returns whether it is new; false if its key is known.
 */
export async function insertSignal(
  sql: postgres.Sql,
  { signal, payloadJson, ...candidate }: SignalCandidate,
): Promise<boolean> {
  const { expireTime } = signal;
  const rows = await sql`
    INSERT INTO signals (
      signal_id, producer_id, idempotency_key, content_sha256, status, receive_time,
      instrument, side, entry_price, stop_loss, take_profit, confidence, risk_percent,
      strategy_name, reason, comment,
      signal_time, signal_time_nanos, expire_time, expire_time_nanos, payload
    ) VALUES (
      ${candidate.signalId}, ${candidate.producerId}, ${candidate.idempotencyKey ?? null},
      ${candidate.contentSha256}, ${candidate.status},
      ${toTimestamptz(candidate.receiveTime)}::text::timestamptz,
      ${signal.instrument}, ${signal.side}, ${signal.entryPrice}, ${signal.stopLoss ?? null},
      ${signal.takeProfit ?? null}, ${signal.confidence ?? null}, ${signal.riskPercent ?? null},
      ${signal.strategyName}, ${signal.reason}, ${signal.comment},
      ${toTimestamptz(signal.signalTime)}::text::timestamptz,
      ${nanosBelowMicro(signal.signalTime)},
      ${expireTime === undefined ? null : toTimestamptz(expireTime)}::text::timestamptz,
      ${expireTime === undefined ? null : nanosBelowMicro(expireTime)},
      ${payloadJson ?? null}::text::jsonb
    )
    ON CONFLICT (producer_id, idempotency_key) DO NOTHING
    RETURNING signal_id
  `;
  return rows.length === 1;
}
