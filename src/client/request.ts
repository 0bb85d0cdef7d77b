/**
 * From what an author submits to the messages that are sent, or to the error that names
 * everything that is wrong with it. Pure.
 *
 * A message is made once, before the first attempt, and every attempt sends the same one:
 * its key, its time and so its content stay what they are.
 */

import { create } from "@bufbuild/protobuf";
import { v7 as randomUUIDv7 } from "uuid";
import {
  type IngestBatchRequest,
  IngestBatchRequestSchema,
  type IngestRequest,
  IngestRequestSchema,
} from "../../gen/signals/v1/ingest_service_pb.ts";
import {
  BATCH_MAX_SIGNALS,
  didYouMean,
  IDEMPOTENCY_KEY_RULE,
  isIdempotencyKey,
  SIGNAL_FIELD_LIST,
  type Signal,
  type SignalLimits,
  signalToProto,
  type Violation,
  validateSignal,
} from "../signal/index.ts";
import { itemPath } from "./batchViolations.ts";
import { type SignalInput, signalFromInput, unknownFields } from "./input.ts";
import { SignalError } from "./signalError.ts";

/** One signal to hand over, and how. */
export interface IngestItem {
  readonly signal: SignalInput;
  /**
   * Names this signal for good, so that no retry can store it twice: 1 to 128 visible ASCII
   * characters. Defaults to a new UUIDv7, which the result tells.
   */
  readonly idempotencyKey?: string | undefined;
  /** Have everything checked by the server, but nothing stored. Defaults to false. */
  readonly validateOnly?: boolean | undefined;
}

/** An item that has its key for good. */
export interface KeyedItem extends IngestItem {
  readonly idempotencyKey: string;
}

/** Names each item that has no key. What is no list is none, which is refused later. */
export function withKeys(items: readonly IngestItem[]): readonly KeyedItem[] {
  if (!Array.isArray(items)) return [];
  return items.map((item) => ({
    ...item,
    // By their names, since a copy leaves out what is an accessor of a class.
    signal: item?.signal,
    validateOnly: item?.validateOnly,
    idempotencyKey: item?.idempotencyKey ?? randomUUIDv7(),
  }));
}

/**
 * Makes the request for one signal.
 *
 * @throws SignalError `INVALID_SIGNAL` or `PAYLOAD_TOO_LARGE`, naming every wrong field.
 */
export function ingestRequest(item: KeyedItem, limits: SignalLimits): IngestRequest {
  const judged = judge(item, limits);
  if (judged.faults.length > 0) throw invalid([judged]);
  return messageOf(judged);
}

/**
 * Makes the request for several signals.
 *
 * @throws SignalError as {@link ingestRequest}, naming every wrong field of every item; also
 *   unless there are 1 to 1,000 items.
 */
export function ingestBatchRequest(
  items: readonly KeyedItem[],
  limits: SignalLimits,
): IngestBatchRequest {
  if (!Array.isArray(items) || items.length < 1 || items.length > BATCH_MAX_SIGNALS) {
    const description = `must have 1 to ${BATCH_MAX_SIGNALS} items`;
    throw invalid([{ faults: [{ field: "requests", description }], isOnlyTooLarge: false }]);
  }
  const judged = items.map((item, index) => judge(item, limits, itemPath(index)));
  const wrong = judged.filter(({ faults }) => faults.length > 0);
  if (wrong.length > 0) throw invalid(wrong);
  return create(IngestBatchRequestSchema, { requests: judged.map(messageOf) });
}

/** What is wrong with an item. */
interface Faults {
  /** By their path from the request. Empty if nothing is. */
  readonly faults: readonly Violation[];
  /** Whether the size of the payload is all that is wrong. */
  readonly isOnlyTooLarge: boolean;
}

interface JudgedItem extends Faults {
  /** Undefined if it has faults. */
  readonly signal: Signal | undefined;
  readonly idempotencyKey: string;
  readonly validateOnly: boolean;
}

const ITEM_NAMES = {
  signal: true,
  idempotencyKey: true,
  validateOnly: true,
} as const satisfies Record<keyof IngestItem, true>;

function judge(item: KeyedItem, limits: SignalLimits, path = ""): JudgedItem {
  const { idempotencyKey } = item;
  const validateOnly = item.validateOnly ?? false;
  const { signal, ...judged } = judgeSignal(item.signal, limits);
  const faults = judged.faults.map(({ field, description }) => {
    return { field: `${path}signal${field === "" ? "" : `.${field}`}`, description };
  });
  const faultsOfSignal = faults.length;
  if (typeof idempotencyKey !== "string" || !isIdempotencyKey(idempotencyKey)) {
    faults.push({ field: `${path}idempotency_key`, description: IDEMPOTENCY_KEY_RULE });
  }
  if (typeof validateOnly !== "boolean") {
    faults.push({ field: `${path}validate_only`, description: "must be true or false" });
  }
  for (const name of Object.keys(item).filter((each) => !Object.hasOwn(ITEM_NAMES, each))) {
    const meant = didYouMean(name, Object.keys(ITEM_NAMES));
    faults.push({ field: `${path}${name}`, description: `is not a field of an item${meant}` });
  }
  const isOnlyTooLarge = judged.isOnlyTooLarge && faults.length === faultsOfSignal;
  return { faults, isOnlyTooLarge, signal, idempotencyKey, validateOnly };
}

/** By the path of each field from the signal. */
function judgeSignal(
  input: SignalInput,
  limits: SignalLimits,
): Faults & Pick<JudgedItem, "signal"> {
  if (typeof input !== "object" || input === null) {
    const faults = [{ field: "", description: "is required" }];
    return { faults, isOnlyTooLarge: false, signal: undefined };
  }
  const verdict = validateSignal(signalFromInput(input, limits.now), limits);
  const unknown = unknownFields(input);
  if (verdict.valid && unknown.length === 0) {
    return { faults: [], isOnlyTooLarge: false, signal: verdict.signal };
  }
  // That one is missing whose name is misspelt is the same mistake told twice.
  const misspelt = new Set(unknown.map(({ meant }) => meant));
  const missing = SIGNAL_FIELD_LIST.filter(({ field }) => !Object.hasOwn(input, field));
  const told = new Set<string>(
    missing.filter(({ field }) => misspelt.has(field)).map(({ name }) => name),
  );
  const violations = verdict.valid ? [] : verdict.violations;
  const faults = violations.filter(({ field }) => !told.has(field));
  for (const { name, meant } of unknown) {
    const hint = meant === undefined ? "" : ` (did you mean ${meant}?)`;
    faults.push({ field: name, description: `is not a field of a signal${hint}` });
  }
  const isTooLarge = !verdict.valid && verdict.reason === "PAYLOAD_TOO_LARGE";
  return { faults, isOnlyTooLarge: isTooLarge && unknown.length === 0, signal: undefined };
}

function messageOf({ signal, idempotencyKey, validateOnly }: JudgedItem): IngestRequest {
  const message = create(IngestRequestSchema, { idempotencyKey, validateOnly });
  if (signal !== undefined) message.signal = signalToProto(signal);
  return message;
}

function invalid(items: readonly Faults[]): SignalError {
  const violations = items.flatMap(({ faults }) => faults);
  const listed = violations.map(({ field, description }) => `${field} ${description}`).join("; ");
  const isOnlyTooLarge = items.every((item) => item.isOnlyTooLarge);
  return new SignalError(
    isOnlyTooLarge ? "PAYLOAD_TOO_LARGE" : "INVALID_SIGNAL",
    `Nothing was sent, because the request is not valid: ${listed}.`,
    { violations },
  );
}
