/**
 * What a name that REST does not know was meant to be. Unknown fields are ignored, but a
 * misspelt stop loss must not vanish.
 */
import { bareName, editsBetween } from "../../signal/index.ts";

/**
 * How many edits a name may be away to be taken for this one. Two, but fewer where ordinary
 * names are that near ("signal_type", "content", "size") and what is misspelt is missed in
 * any case, or is only for people to read.
 */
const EDITS_BY_NAME = {
  instrument: 1,
  side: 0,
  entry_price: 1,
  stop_loss: 2,
  take_profit: 2,
  confidence: 2,
  risk_percent: 2,
  strategy_name: 2,
  reason: 1,
  comment: 1,
  signal_time: 1,
  timestamp: 1,
  time: 0,
  expire_time: 2,
  payload: 1,
  idempotency_key: 2,
  validate_only: 2,
} as const satisfies Record<string, number>;

/** The name of a field of REST. */
type RestName = keyof typeof EDITS_BY_NAME;

/** What others call these fields, in the form of {@link bareName}. */
const MEANT_BY_OTHER_NAME: ReadonlyMap<string, RestName> = new Map<string, RestName>([
  ["sl", "stop_loss"],
  ["stop", "stop_loss"],
  ["stopprice", "stop_loss"],
  ["stoplossprice", "stop_loss"],
  ["stoplosslevel", "stop_loss"],
  ["stoplosspct", "stop_loss"],
  ["stoplosspercent", "stop_loss"],
  ["stoplevel", "stop_loss"],
  ["hardstop", "stop_loss"],
  ["initialstop", "stop_loss"],
  ["slprice", "stop_loss"],
  ["tp", "take_profit"],
  ["tp1", "take_profit"],
  ["target", "take_profit"],
  ["target1", "take_profit"],
  ["targetprice", "take_profit"],
  ["pricetarget", "take_profit"],
  ["profittarget", "take_profit"],
  ["takeprofitprice", "take_profit"],
  ["takeprofitlevel", "take_profit"],
  ["takeprofitpct", "take_profit"],
  ["takeprofitpercent", "take_profit"],
  ["tpprice", "take_profit"],
  ["risk", "risk_percent"],
  ["riskpct", "risk_percent"],
  ["riskpercentage", "risk_percent"],
  ["riskpertrade", "risk_percent"],
  ["risk%", "risk_percent"],
  ["expire", "expire_time"],
  ["expireat", "expire_time"],
  ["expires", "expire_time"],
  ["expiresat", "expire_time"],
  ["expiresin", "expire_time"],
  ["expiry", "expire_time"],
  ["expiration", "expire_time"],
  ["expirationdate", "expire_time"],
  ["expirationtime", "expire_time"],
  ["validtill", "expire_time"],
  ["validuntil", "expire_time"],
  ["goodtill", "expire_time"],
  ["idempotency", "idempotency_key"],
  ["idempotencyid", "idempotency_key"],
  ["dryrun", "validate_only"],
  ["testonly", "validate_only"],
  ["validate", "validate_only"],
]);

/** Terms of traders that only look like a name. */
const ORDINARY_NAMES: ReadonlySet<string> = new Set(["confluence"]);

const KNOWN = Object.entries(EDITS_BY_NAME).map(([name, edits]) => ({
  name: name as RestName,
  bareName: bareName(name),
  edits,
}));
const LENGTH_MAX = Math.max(
  ...KNOWN.map(({ bareName, edits }) => bareName.length + edits),
  ...[...MEANT_BY_OTHER_NAME.keys()].map(({ length }) => length),
);

/** Whether it is the name of a field. */
export function isRestName(name: string): name is RestName {
  return Object.hasOwn(EDITS_BY_NAME, name);
}

/** The field that was meant by a name that is none; `undefined` if it looks like no other. */
export function nameMeantBy(name: string): RestName | undefined {
  const bare = bareName(name);
  if (bare.length > LENGTH_MAX || ORDINARY_NAMES.has(bare)) return undefined;
  const other = MEANT_BY_OTHER_NAME.get(bare);
  if (other !== undefined) return other;
  return KNOWN.find((known) => isNear(bare, known))?.name;
}

function isNear(name: string, { bareName, edits }: (typeof KNOWN)[number]): boolean {
  return editsBetween(name, bareName, edits) <= edits;
}
