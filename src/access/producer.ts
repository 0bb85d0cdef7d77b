/**
 * Producers as they are administered: their settings and their secrets.
 */
import { type Instant, SIGNAL_FIELDS, type Violation } from "../signal/index.ts";
import { isProducerId, PRODUCER_ID_RULE } from "../signing/index.ts";

/** What an operator decides about a producer. */
export interface ProducerSettings {
  /** For people; at most 100 characters. */
  readonly displayName: string;
  readonly requireApproval: boolean;
  /** Signals a second, and at most at once: 1 to 1,000,000; `undefined` sets no limit. */
  readonly rateLimitPerSecond: number | undefined;
  /** The instruments that it may signal, at least one; `undefined` allows all. */
  readonly allowedInstruments: readonly string[] | undefined;
}

/** A setting that can be changed alone. */
export type ProducerSetting = keyof ProducerSettings;

/** What is known of a secret. The secret itself is not. */
export interface SecretInfo {
  readonly secretId: string;
  readonly createTime: Instant;
  /** From when it no longer signs; `undefined` for never. */
  readonly expireTime: Instant | undefined;
  /** To about a minute; `undefined` if it never was. */
  readonly lastUsedTime: Instant | undefined;
}

/** A producer as it is on disk, without its secrets' values. */
export interface ProducerInfo extends ProducerSettings {
  readonly producerId: string;
  readonly enabled: boolean;
  /** Those that have not ended, the newest first; at most two. */
  readonly secrets: readonly SecretInfo[];
  readonly createTime: Instant;
  readonly updateTime: Instant;
  /** To about a minute; `undefined` if it never was. */
  readonly lastSeenTime: Instant | undefined;
}

/** For how long the secret before goes on signing after a rotation, in seconds. */
export const GRACE_SECONDS_DEFAULT = 86_400;
/** 7 days. */
const GRACE_SECONDS_MAX = 604_800;

const DISPLAY_NAME_MAX_LENGTH = 100;
const RATE_LIMIT_MAX = 1_000_000;
const INSTRUMENTS_MAX = 1_000;
/**
 * Also those that change the direction of what follows, so that no name reads as another in the
 * log, the audit or a table (Unicode Standard Annex 9, section 2).
 */
const CONTROL_CHARACTER =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: They are what is looked for.
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;

/** Whether a text can be read by people on one line. */
export function isPlainText(text: string): boolean {
  return text.isWellFormed() && !CONTROL_CHARACTER.test(text);
}

/** What is wrong with the id of a producer. */
export function producerIdViolations(producerId: string, field = "producer_id"): Violation[] {
  return isProducerId(producerId) ? [] : [{ field, description: PRODUCER_ID_RULE }];
}

/**
 * Everything that is wrong with settings.
 *
 * @param prefix of the fields' names, such as `producer.`.
 */
export function settingsViolations(
  settings: Partial<{
    readonly displayName: string;
    readonly rateLimitPerSecond: number;
    readonly allowedInstruments: readonly string[];
  }>,
  prefix = "",
): Violation[] {
  const { displayName = "", rateLimitPerSecond = 0, allowedInstruments = [] } = settings;
  const violations: Violation[] = [];
  if ([...displayName].length > DISPLAY_NAME_MAX_LENGTH || !isPlainText(displayName)) {
    violations.push({
      field: `${prefix}display_name`,
      description: `must have at most ${DISPLAY_NAME_MAX_LENGTH} characters, none of them a control character`,
    });
  }
  if (
    !Number.isInteger(rateLimitPerSecond) ||
    rateLimitPerSecond < 0 ||
    rateLimitPerSecond > RATE_LIMIT_MAX
  ) {
    violations.push({
      field: `${prefix}rate_limit_per_second`,
      description: `must be 0 for no limit, or a whole number up to ${RATE_LIMIT_MAX}`,
    });
  }
  const field = `${prefix}allowed_instruments`;
  if (allowedInstruments.length > INSTRUMENTS_MAX) {
    violations.push({ field, description: `must have at most ${INSTRUMENTS_MAX}` });
  } else {
    const [fault] = allowedInstruments.flatMap((each) => instrumentFault(each) ?? []);
    if (fault !== undefined) violations.push({ field, description: `each ${fault}` });
  }
  return violations;
}

function instrumentFault(instrument: string): string | undefined {
  return SIGNAL_FIELDS.instrument.rule.safeParse(instrument).error?.issues[0]?.message;
}

/** Everything that is wrong with a grace period. */
export function graceViolations(seconds: number): Violation[] {
  const isRight = Number.isInteger(seconds) && seconds >= 0 && seconds <= GRACE_SECONDS_MAX;
  const description = `must be a whole number of seconds from 0 to ${GRACE_SECONDS_MAX} (7 days)`;
  return isRight ? [] : [{ field: "grace_seconds", description }];
}
