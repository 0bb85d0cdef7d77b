export { canonicalPayload, contentSha256 } from "./digest.ts";
export { bareName, editsBetween } from "./editDistance.ts";
export { INEXACT_NUMBER, isKeptByDouble } from "./exactNumber.ts";
export {
  type Field,
  type FieldKind,
  type FieldName,
  REQUEST_FIELDS,
  SIGNAL_FIELD_LIST,
  SIGNAL_FIELDS,
  type Signal,
  type SignalField,
  type SignalFieldRow,
  type UncheckedSignal,
} from "./fields.ts";
export { parseJsonStrictly, parseJsonText } from "./jsonText.ts";
export {
  BATCH_MAX_SIGNALS,
  BATCH_REQUEST_MAX_BYTES,
  DEFAULT_PAYLOAD_MAX_BYTES,
  LOWEST_PAYLOAD_MAX_BYTES,
  SIGNAL_REQUEST_MAX_BYTES,
} from "./limits.ts";
export { didYouMean, nearestName } from "./nearestName.ts";
export { PAYLOAD_VALUES_MAX, PAYLOAD_VALUES_RULE } from "./payload.ts";
export {
  instantFromProto,
  instantToProto,
  type MessageFields,
  optionalTime,
  signalFromProto,
  signalToProto,
  statusToProto,
  type WithoutOtherFields,
} from "./proto.ts";
export {
  type Disposition,
  type FailureRecord,
  isReason,
  REASON_DOMAIN,
  REASONS,
  type Reason,
  type RefusalCode,
  type Retry,
  recordOf,
} from "./reason.ts";
export {
  invalidRequest,
  invalidSignal,
  NOT_STORED,
  ok,
  type Refusal,
  type Result,
  refuse,
  refuseCall,
  refused,
  retryAfterMsOf,
} from "./refusal.ts";
export {
  IDEMPOTENCY_KEY_RULE,
  isIdempotencyKey,
  type SignalLimits,
  type SignalVerdict,
  validateSignal,
} from "./rules.ts";
export {
  INVALID_TIME,
  type Instant,
  type JsonObject,
  type JsonValue,
  type Side,
  type SignalStatus,
  type Violation,
} from "./values.ts";
