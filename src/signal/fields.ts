/**
 * The fields of a signal, in one table for everything that has to know them: the rules and the
 * content digest, the RPCs and REST, client, command line and outbox, and the database.
 *
 * `proto/signals/v1/signal.proto` defines the fields. The compiler refuses a table that lacks
 * one of them, has another, or takes one for something else.
 */
import type { Message } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { z } from "zod";
import type { Side as ProtoSide, Signal as ProtoSignal } from "../../gen/signals/v1/signal_pb.ts";
import {
  instrument,
  line,
  payload,
  percentage,
  price,
  prose,
  share,
  side,
  time,
  timeSince2000,
} from "./fieldRules.ts";
import type { INVALID_TIME, Instant } from "./values.ts";

/** What a field is called where people write JSON, and what they call it by mistake. */
export interface FieldName {
  /** Its name in the contract, in REST and in the database. */
  readonly name: string;
  /**
   * How many edits a name may be away to be taken for a misspelling of this one: two, if not
   * given. Fewer where ordinary names are that near ("signal_type", "content", "size") and what
   * is misspelt is missed in any case, or is only for people to read.
   */
  readonly edits?: 0 | 1;
  /** What others call it: words in the form of `bareName`. */
  readonly mistaken?: string;
}

/** How each format writes a value. */
export type FieldKind = "text" | "side" | "number" | "time" | "object";

/** All that is to be known about a field of the signal. */
export interface Field<Kind extends FieldKind = FieldKind> extends FieldName {
  readonly kind: Kind;
  /** Judges the field by itself. What relates two fields is in rules.ts. */
  readonly rule: z.ZodType;
  /** What `--help` calls a value of it, and says of it. */
  readonly help: readonly [value: string, about: string];
  /** Other names that JSON may have for a time, with their {@link FieldName.edits}. */
  readonly aliases?: Readonly<Record<string, number>>;
}

/** By the type of a field in the generated message. */
type KindOf<Value> = Value extends string
  ? "text"
  : Value extends ProtoSide
    ? "side"
    : Value extends number
      ? "number"
      : Value extends Timestamp
        ? "time"
        : "object";

/** The fields by their names in TypeScript and in the JSON of the RPCs. */
export const SIGNAL_FIELDS = {
  instrument: {
    name: "instrument",
    kind: "text",
    rule: instrument,
    help: ["name", "what to trade, such as GOLD"],
    edits: 1,
  },
  side: {
    name: "side",
    kind: "side",
    rule: side,
    help: ["side", "buy or sell"],
    edits: 0,
  },
  entryPrice: {
    name: "entry_price",
    kind: "number",
    rule: price,
    help: ["price", "the price at which to enter"],
    edits: 1,
  },
  stopLoss: {
    name: "stop_loss",
    kind: "number",
    rule: price.optional(),
    help: ["price", "the price at which to leave with a loss"],
    mistaken:
      "sl slprice stop stopprice stoplossprice stoplosslevel stoplosspct stoplosspercent stoplevel hardstop initialstop",
  },
  takeProfit: {
    name: "take_profit",
    kind: "number",
    rule: price.optional(),
    help: ["price", "the price at which to leave with a gain"],
    mistaken:
      "tp tp1 tpprice target target1 targetprice pricetarget profittarget takeprofitprice takeprofitlevel takeprofitpct takeprofitpercent",
  },
  confidence: {
    name: "confidence",
    kind: "number",
    rule: share.optional(),
    help: ["n", "how sure the strategy is, 0 to 1"],
  },
  riskPercent: {
    name: "risk_percent",
    kind: "number",
    rule: percentage.optional(),
    help: ["n", "the share of the account to risk, above 0 to 100"],
    mistaken: "risk risk% riskpct riskpercentage riskpertrade",
  },
  strategyName: {
    name: "strategy_name",
    kind: "text",
    rule: line(64),
    help: ["name", "which strategy decided"],
  },
  reason: {
    name: "reason",
    kind: "text",
    rule: prose(500),
    help: ["text", "why it decided so"],
    edits: 1,
  },
  comment: {
    name: "comment",
    kind: "text",
    rule: prose(500),
    help: ["text", "anything else for people to read"],
    edits: 1,
  },
  signalTime: {
    name: "signal_time",
    kind: "time",
    rule: timeSince2000,
    help: ["time", "when it decided, RFC 3339 (now)"],
    edits: 1,
    aliases: { timestamp: 1, time: 0 },
  },
  expireTime: {
    name: "expire_time",
    kind: "time",
    rule: time.optional(),
    help: ["time", "when the signal stops being worth executing, RFC 3339"],
    mistaken:
      "expire expireat expires expiresat expiresin expiry expiration expirationdate expirationtime validtill validuntil goodtill",
  },
  payload: {
    name: "payload",
    kind: "object",
    rule: payload,
    help: ["json", "anything else for programs, a JSON object"],
    edits: 1,
  },
} as const satisfies {
  readonly [Name in Exclude<keyof ProtoSignal, keyof Message>]-?: Field<
    KindOf<NonNullable<ProtoSignal[Name]>>
  >;
};

/** What stands beside the signal in a request, under the names that TypeScript has for it. */
export const REQUEST_FIELDS = {
  idempotencyKey: {
    name: "idempotency_key",
    mistaken: "idempotency idempotencyid",
  },
  validateOnly: {
    name: "validate_only",
    mistaken: "dryrun testonly validate",
  },
} as const satisfies Record<string, FieldName>;

/** A field of the signal, by its name in TypeScript. */
export type SignalField = keyof typeof SIGNAL_FIELDS;

/** A field with its name in TypeScript. */
export type SignalFieldRow = {
  [Name in SignalField]: Field & (typeof SIGNAL_FIELDS)[Name] & { readonly field: Name };
}[SignalField];

/** The table as a list, in the order of the contract. */
export const SIGNAL_FIELD_LIST = Object.entries(SIGNAL_FIELDS).map(([field, row]) => {
  return { ...row, field };
}) as readonly SignalFieldRow[];

/**
 * A valid signal in its normal form: every rule of `validateSignal` holds, an absent optional
 * field is `undefined`, an absent text is empty, and no field is −0. Within the payload −0 and 0
 * mean the same.
 */
export type Signal = {
  readonly [Name in SignalField]: z.output<(typeof SIGNAL_FIELDS)[Name]["rule"]>;
};

/**
 * A signal as it came from outside, decoded but not checked. An edge that decodes a wire format
 * fills it in as faithfully as it can and leaves all judging to `validateSignal`.
 */
export type UncheckedSignal = {
  readonly [Name in SignalField]?: (typeof SIGNAL_FIELDS)[Name]["kind"] extends "time"
    ? Instant | typeof INVALID_TIME | undefined
    : unknown;
};
