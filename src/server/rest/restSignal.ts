/**
 * The flat snake_case JSON of REST: what producers already post, read leniently where
 * that is harmless and strictly where money is.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Submission } from "../../ingest/index.ts";
import {
  type FieldKind,
  INVALID_TIME,
  type Instant,
  SIGNAL_FIELD_LIST,
  type SignalField,
  type UncheckedSignal,
  type Violation,
} from "../../signal/index.ts";
import { parseTimestamp } from "../../signing/index.ts";
import { isRestName, nameMeantBy } from "./nearNames.ts";

const SIDES: ReadonlyMap<unknown, "buy" | "sell"> = new Map<unknown, "buy" | "sell">([
  ["buy", "buy"],
  ["sell", "sell"],
  [0, "buy"],
  [1, "sell"],
]);

const VALIDATE_ONLY_FAULT: Violation = {
  field: "validate_only",
  description: "must be true or false",
};

/** The headers that may carry the idempotency key, which no signature covers. */
const KEY_HEADERS = ["x-idempotency-key", "idempotency-key"] as const;
const KEY_HEADERS_FAULT: Violation = {
  field: "idempotency_key",
  description: "is given by X-Idempotency-Key and by Idempotency-Key with different values",
};

/** So many misspelt fields are named, and so much of each name. */
const MISSPELT_MAX = 20;
const NAMED_MAX_LENGTH = 64;

type RestBody = Readonly<Record<string, unknown>>;

/** A REST body taken apart. */
export interface RestSubmission {
  readonly submission: Submission;
  /** Wrong fields that are no part of the signal. */
  readonly faults: readonly Violation[];
  /** The names in the body that mean nothing here, and look like nothing that does. */
  readonly unknownNames: readonly string[];
}

/**
 * Takes a REST body apart. Judges nothing: what has the wrong type goes on as it is,
 * for validation to name.
 *
 * @param headers may carry the idempotency key: one in the body wins over it.
 */
export function restSubmission(body: RestBody, headers: IncomingHttpHeaders): RestSubmission {
  const headerKeys = new Set(KEY_HEADERS.map((name) => headerText(headers[name])));
  headerKeys.delete(undefined);
  const [headerKey] = headerKeys;
  const bodyKey = present(body.idempotency_key);
  const validateOnly = present(body.validate_only) ?? false;
  const { misspelt, unknownNames } = otherNames(body);
  const faults = [...misspelt];
  if (typeof validateOnly !== "boolean") faults.push(VALIDATE_ONLY_FAULT);
  if (headerKeys.size > 1) faults.push(KEY_HEADERS_FAULT);
  const submission: Submission = {
    signal: uncheckedSignal(body),
    // A key that is not text becomes text that no key may be, so that it is refused.
    idempotencyKey: bodyKey === undefined ? headerKey : typeof bodyKey === "string" ? bodyKey : "",
    isKeySigned: bodyKey !== undefined,
    // What is refused for these faults is judged with all the rest, and must not be stored.
    validateOnly: validateOnly === true || faults.length > 0,
  };
  return { submission, faults, unknownNames };
}

/** The names that are no field: those that look like one, and those that are ignored. */
function otherNames(body: RestBody) {
  const misspelt: Violation[] = [];
  const unknownNames: string[] = [];
  for (const name of Object.keys(body)) {
    if (isRestName(name)) continue;
    const meant = nameMeantBy(name);
    if (meant === undefined) unknownNames.push(name);
    else if (misspelt.length < MISSPELT_MAX) {
      const field = name.slice(0, NAMED_MAX_LENGTH);
      misspelt.push({ field, description: `must be named ${meant}` });
    }
  }
  return { misspelt, unknownNames };
}

function headerText(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(", ") : value;
}

/** How a value of each kind is read. Many producers write `null` for what they do not have. */
const READERS: Readonly<Record<FieldKind, (value: unknown) => unknown>> = {
  text: present,
  number: present,
  object: present,
  side: (value) => SIDES.get(value) ?? present(value),
  time: (value) => (value === undefined || value === null ? undefined : instantOf(value)),
};

const FIELDS = SIGNAL_FIELD_LIST.map(({ field, name, kind, aliases = {} }) => {
  return { field, name, read: READERS[kind], aliases: Object.keys(aliases) };
});

function uncheckedSignal(body: RestBody): UncheckedSignal {
  const signal: Partial<Record<SignalField, unknown>> = {};
  for (const { field, name, read, aliases } of FIELDS) {
    let value = read(body[name]);
    for (const alias of aliases) {
      const other = read(body[alias]);
      // Two names with different times leave unclear which is meant, so that is no time.
      if (other !== undefined) value = (value ?? other) === other ? other : INVALID_TIME;
    }
    signal[field] = value;
  }
  return signal as UncheckedSignal;
}

function present(value: unknown): unknown {
  return value === null ? undefined : value;
}

function instantOf(value: unknown): Instant | typeof INVALID_TIME {
  return (typeof value === "string" ? parseTimestamp(value) : undefined) ?? INVALID_TIME;
}
