import {
  DEFAULT_PAYLOAD_MAX_BYTES,
  type Instant,
  type SignalVerdict,
  type UncheckedSignal,
  validateSignal,
} from "../../src/signal/index.ts";
import { SIGNAL_TIME, uncheckedSignal } from "../support/signals.ts";

/** The clock of the judge: the very moment at which the builders' signals were decided. */
export const NOW: Instant = SIGNAL_TIME;

/** The verdict over a signal that is valid but for the fields given. */
export function verdictOn(
  overrides: UncheckedSignal,
  payloadMaxBytes = DEFAULT_PAYLOAD_MAX_BYTES,
): SignalVerdict {
  return verdictOnExactly(uncheckedSignal(overrides), payloadMaxBytes);
}

/** The verdict over what is given and nothing else. */
export function verdictOnExactly(
  signal: UncheckedSignal,
  payloadMaxBytes = DEFAULT_PAYLOAD_MAX_BYTES,
): SignalVerdict {
  return validateSignal(signal, { now: NOW, payloadMaxBytes });
}

/** What the verdict finds wrong, by field; empty if the signal is valid. */
export function violationsOf(
  overrides: UncheckedSignal,
  payloadMaxBytes = DEFAULT_PAYLOAD_MAX_BYTES,
): Record<string, string> {
  const verdict = verdictOn(overrides, payloadMaxBytes);
  if (verdict.valid) return {};
  return Object.fromEntries(verdict.violations.map((fault) => [fault.field, fault.description]));
}
