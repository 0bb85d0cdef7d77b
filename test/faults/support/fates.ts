/**
 * What became of each signal of a bot, held against what its ledger says.
 */

import type { Entry } from "../../../src/client/outbox/entry.ts";
import { OutboxFile } from "../../../src/client/outbox/file.ts";
import type { Signal } from "../../../src/signal/index.ts";
import { parseTimestamp } from "../../../src/signing/index.ts";
import type { StoredSignal } from "../../../src/store/index.ts";
import type { Decision, Ledger } from "./botLedger.ts";

/** What the log says of an attempt of the outbox that failed for a passing reason. */
export const FAILED_ATTEMPT = "a single attempt failed";

/** How long after a death a kill can keep it from being told. */
const KILLED_IN_BETWEEN_MS = 1_000;

/** Where the signals of a bot are. */
export interface Fates {
  readonly ledger: Ledger;
  /** In the order of their sequence. */
  readonly stored: readonly StoredSignal[];
  readonly pending: readonly Entry[];
  readonly dead: readonly Entry[];
  /** The bot's log, all lives of it. */
  readonly logLines: readonly Readonly<Record<string, unknown>>[];
  /** When the bot was killed, in milliseconds since 1970. */
  readonly killsMs: readonly number[];
}

/** What is in an outbox that no process uses. */
export function readOutbox(path: string): Pick<Fates, "pending" | "dead"> {
  const file = new OutboxFile(path);
  try {
    const fault = file.check();
    if (fault !== undefined) throw new Error(`The outbox is damaged: ${fault}`);
    const all = (table: "pending" | "dead") => file.entries(table, 0, Number.MAX_SAFE_INTEGER);
    return { pending: all("pending"), dead: all("dead") };
  } finally {
    file.close();
  }
}

/** Every way in which a promise to the producer is broken. Empty if all are kept. */
export function brokenProducerPromises(fates: Fates): string[] {
  const { stored, pending, dead } = fates;
  return [
    ...pending.map(({ idempotencyKey: key }) => `${key} is still to be delivered`),
    ...lost(fates),
    ...stored.flatMap((row, place) => faultsOfRow(row, stored[place - 1], fates)),
    ...dead.flatMap((entry) => faultsOfDeath(entry, fates)),
    ...wronglyUnknown(fates),
    ...untold(fates),
  ];
}

/**
 * The expired signals that are stored all the same. A producer whose last answer is lost cannot
 * know what became of a signal, and may not ask once the signal has expired.
 */
export function storedUnknown({ stored, dead }: Fates): Entry[] {
  const keys = new Set(stored.map(({ idempotencyKey }) => idempotencyKey));
  return dead.filter(({ idempotencyKey }) => keys.has(idempotencyKey));
}

/** Only a kill or a failed attempt can have hidden an answer. */
function wronglyUnknown(fates: Fates): string[] {
  const { ledger, logLines, killsMs } = fates;
  const failed = new Set(
    logLines
      .filter(({ msg }) => msg === FAILED_ATTEMPT)
      .flatMap(({ idempotency_key, idempotency_keys }) => idempotency_keys ?? idempotency_key),
  );
  const isWrong = ({ idempotencyKey: key, death }: Entry) => {
    const decidedMs = Date.parse(ledger.decisions.get(key)?.signalTime ?? "");
    const diedMs = death?.diedMs ?? 0;
    const wasKilled = killsMs.some((killMs) => killMs >= decidedMs && killMs <= diedMs);
    return !wasKilled && !failed.has(key);
  };
  const wrong = storedUnknown(fates).filter(isWrong);
  return wrong.map(({ idempotencyKey }) => `${idempotencyKey} is called expired and was delivered`);
}

function lost({ ledger, stored, dead }: Fates): string[] {
  const known = new Set([...stored, ...dead].map(({ idempotencyKey }) => idempotencyKey));
  return [...ledger.taken].filter((key) => !known.has(key)).map((key) => `${key} is lost`);
}

function faultsOfRow(row: StoredSignal, before: StoredSignal | undefined, fates: Fates): string[] {
  const { decisions } = fates.ledger;
  const key = String(row.idempotencyKey);
  const decision = decisions.get(key);
  if (decision === undefined) return [`${key} is stored and was never decided`];
  const faults: string[] = [];
  const indexBefore = decisions.get(String(before?.idempotencyKey))?.index ?? -1;
  if (indexBefore === decision.index) faults.push(`${key} is stored twice`);
  if (indexBefore > decision.index) faults.push(`${key} is stored after ${before?.idempotencyKey}`);
  if (!isAsDecided(row.signal, decision)) faults.push(`${key} is stored with another content`);
  const { expireTime } = row.signal;
  const isLate = expireTime !== undefined && row.receiveTime >= expireTime;
  if (isLate) faults.push(`${key} was received after it had expired`);
  return faults;
}

function isAsDecided(signal: Signal, { index, signalTime, expireTime }: Decision): boolean {
  return (
    signal.entryPrice === 1_000 + index &&
    signal.signalTime === parseTimestamp(signalTime) &&
    signal.expireTime === (expireTime && parseTimestamp(expireTime))
  );
}

function faultsOfDeath({ idempotencyKey: key, death }: Entry, { ledger }: Fates): string[] {
  const decision = ledger.decisions.get(key);
  if (decision === undefined) return [`${key} is a dead letter and was never decided`];
  if (death?.reason !== "SIGNAL_EXPIRED") return [`${key} is a dead letter: ${death?.message}`];
  if (decision.expireTime === undefined) return [`${key} has expired and was valid for ever`];
  const isEarly = death.diedMs < Date.parse(decision.expireTime) - 1;
  return isEarly ? [`${key} died before it had expired`] : [];
}

/**
 * Each death was told to the log: with its key, or if a kill came between the disk and the
 * log, together with others at the next start.
 */
function untold({ dead, logLines, killsMs }: Fates): string[] {
  const linesThatSay = (text: string) => logLines.filter(({ msg }) => msg === text);
  const deaths = linesThatSay("outbox: dead letter");
  const keys = new Set(deaths.map(({ idempotency_key }) => idempotency_key));
  const starts = linesThatSay("outbox: holds dead letters from before");
  const isToldAtStart = ({ death }: Entry) => {
    const diedMs = death?.diedMs ?? 0;
    const killMs = killsMs.find((ms) => ms >= diedMs && ms <= diedMs + KILLED_IN_BETWEEN_MS);
    return killMs !== undefined && starts.some(({ time }) => Number(time) > diedMs);
  };
  const missing = dead.filter((entry) => {
    return !keys.has(entry.idempotencyKey) && !isToldAtStart(entry);
  });
  return missing.map(({ idempotencyKey }) => `${idempotencyKey} died, and nobody was told`);
}
