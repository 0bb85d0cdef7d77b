/** Names that REST does not know: misspelt ones are told from ordinary ones. */
import { describe, expect, test } from "vitest";
import { isRestName, nameMeantBy } from "../../../src/server/rest/nearNames.ts";

describe("is meant by", () => {
  test.each([
    ["stop_loss", "stopLoss stop_los StopLoss stoploss STOP-LOSS sotp_loss stop_losss stp_lss"],
    ["stop_loss", "sl SL stop stop_price stopLossPrice slPrice stop_level stop_loss_pct hard_stop"],
    ["take_profit", "takeProfit tp TP1 target targetPrice take_profits takeprofit2 tkae_proft"],
    ["take_profit", "tp_price target_1 priceTarget takeProfitPercent"],
    ["risk_percent", "riskPercent risk risk_pct riskPercentage riskPerTrade"],
    ["expire_time", "expireTime expires expires_at expiry valid_until expiretme"],
    ["expire_time", "expire expireAt expiresIn validTill expiration_date good_till"],
    ["validate_only", "validateOnly dry_run dryRun validate_onyl validate test_only"],
    ["idempotency_key", "idempotencyKey Idempotency-Key idempotentcy_key idempotency"],
    ["confidence", "Confidence confidenc confidnece"],
    ["strategy_name", "strategyName stratgy_name"],
    ["reason", "Reason reasn raeson"],
    ["comment", "comments coment"],
    ["payload", "Payload payloads"],
    ["instrument", "Instrument instrumnt"],
    ["entry_price", "entryPrice entry-price entry_pirce"],
    ["signal_time", "signalTime signal_tiem"],
    ["side", "Side SIDE"],
    ["time", "Time"],
  ])("%s: %s", (meant, names) => {
    for (const name of names.split(" ")) expect([name, nameMeantBy(name)]).toEqual([name, meant]);
  });
});

test.each(
  (
    "signal_type signal_name signal_id signal_side size type name mode bid ask id content commit " +
    "region symbol quantity volume price magic_number timeframe leverage order_type ticker " +
    "exchange action direction strategy strategy_id account user_id confluence entry exit_price " +
    "close open high low date client_order_id note rr stop_type limit lots tags meta version " +
    "source provider candles entry_time signal_strength trailing_stop __proto__ constructor _"
  ).split(" "),
)("%s is an ordinary name", (name) => {
  expect(isRestName(name)).toBe(false);
  expect(nameMeantBy(name)).toBeUndefined();
});

test("a name of any length is looked at in no time", () => {
  for (let count = 0; count < 1_000; count++) {
    expect(nameMeantBy("stop_loss".repeat(5_000))).toBeUndefined();
  }
});
