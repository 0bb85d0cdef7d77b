/**
 * The JSON of a signal, as people write it to a file, as an item to send. Pure.
 */
import type { IngestItem, SignalInput, Violation } from "../../client/index.ts";
import { REQUEST_FIELDS, SIGNAL_FIELD_LIST } from "../../signal/index.ts";

/** The outcome of {@link itemFromJson}. */
export type ItemReading =
  | { readonly readable: true; readonly item: IngestItem }
  | { readonly readable: false; readonly violations: readonly Violation[] };

/** Names in snake_case, as in REST, and what they are in lowerCamelCase, as in the RPCs. */
const SIGNAL_NAMES: ReadonlyMap<string, string> = new Map(
  SIGNAL_FIELD_LIST.flatMap(({ field, name, aliases = {} }) =>
    [name, ...Object.keys(aliases)].map((each) => [each, field] as const),
  ),
);
const REQUEST_NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries(REQUEST_FIELDS).map(([field, { name }]) => [name, field]),
);

const SIDES: ReadonlyMap<unknown, string> = new Map<unknown, string>([
  ["SIDE_BUY", "buy"],
  ["SIDE_SELL", "sell"],
]);

/** REST counts the sides from 0, the RPCs from 1, so a number is clear in the form of REST only. */
const REST_SIDES: ReadonlyMap<unknown, string> = new Map<unknown, string>([
  ...SIDES,
  [0, "buy"],
  [1, "sell"],
]);

/**
 * Reads one signal: a flat object as in REST, or the JSON of an `IngestRequest`, with the
 * signal under `signal`. Whether its fields hold the rules, the client judges; what it
 * does not know is left in place, for the client to name.
 */
export function itemFromJson(value: unknown): ItemReading {
  if (!isObject(value)) return unreadable("", "must be a JSON object");
  const isNested = "signal" in value;
  if (isNested && !isObject(value.signal)) return unreadable("signal", "must be a JSON object");
  const violations: Violation[] = [];
  const { idempotencyKey, validateOnly, ...rest } = translate(
    value,
    isNested ? REQUEST_NAMES : new Map([...SIGNAL_NAMES, ...REQUEST_NAMES]),
    violations,
  );
  let signal = rest;
  if (isNested) {
    const { signal: nested, ...others } = rest;
    signal = translate(nested as Record<string, unknown>, SIGNAL_NAMES, violations);
    for (const name of Object.keys(others)) {
      violations.push({ field: name, description: "is not a field of a request" });
    }
  }
  if (violations.length > 0) return { readable: false, violations };
  const sides = isNested ? SIDES : REST_SIDES;
  if (sides.has(signal.side)) signal.side = sides.get(signal.side);
  return {
    readable: true,
    item: {
      signal: signal as unknown as SignalInput,
      idempotencyKey: idempotencyKey as string | undefined,
      validateOnly: validateOnly as boolean | undefined,
    },
  };
}

/** Renames fields and leaves out those that are null, as many programs write what they lack. */
function translate(
  object: Readonly<Record<string, unknown>>,
  names: ReadonlyMap<string, string>,
  violations: Violation[],
): Record<string, unknown> {
  const translated = new Map<string, unknown>();
  for (const [name, value] of Object.entries(object)) {
    if (value === null) continue;
    const field = names.get(name) ?? name;
    // Of two spellings with different values, none can be trusted.
    if (translated.has(field) && translated.get(field) !== value) {
      violations.push({ field: name, description: "is given twice, with different values" });
    }
    translated.set(field, value);
  }
  return Object.fromEntries(translated);
}

function unreadable(field: string, description: string): ItemReading {
  return { readable: false, violations: [{ field, description }] };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
