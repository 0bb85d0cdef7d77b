/**
 * Hands signals to the server, and finds out what became of each.
 *
 * An item waits until it is settled: answered, refused, or, when all repeats failed,
 * unconfirmed. Each attempt carries all items that still wait, under the keys that they
 * had from the start, so that a repeat of what was stored unseen comes back as a duplicate.
 *
 * Once an attempt may have stored them, a refusal of a later one proves nothing about them:
 * a server that takes no more of this producer may well have stored what came before.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { violationsByItem } from "../../client/batchViolations.ts";
import { failureRecordOf } from "../../client/errorReason.ts";
import {
  type Backoff,
  createBackoff,
  type SignalClient,
  SignalError,
  type SignalErrorReason,
} from "../../client/index.ts";
import { isNeverConnected } from "../neverConnected.ts";
import {
  answeredReport,
  type FailedOutcome,
  failedReport,
  NOT_STORED,
  type PlacedItem,
  type Report,
} from "./report.ts";

/** What a sender must know. */
export interface SenderOptions {
  readonly client: SignalClient;
  /** How often an attempt that failed for a passing reason is repeated. */
  readonly retries: number;
  /** Gives up when it is aborted. */
  readonly signal: AbortSignal;
  /** Told of each wait before it. */
  readonly onWait: (failure: SignalError, delayMs: number) => void;
}

/** What became of some items. */
export interface Delivery {
  readonly reports: readonly Report[];
  /** Why it is of no use to send more; `undefined` if it may be. */
  readonly stop: SignalError | undefined;
}

/** What one attempt brought. */
interface Attempt extends Delivery {
  /** What is worth another attempt, and why this one failed. */
  readonly waiting: readonly PlacedItem[];
  readonly failure: SignalError | undefined;
}

/** A person waits for it, so the first repeat comes soon. */
const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 30_000;
/** How long all repeats of a batch may take. */
const BUDGET_MS = 600_000;

/**
 * Hands over 1 to 1,000 items, together.
 *
 * @param mayBeStored whether an earlier attempt may have stored them.
 */
export async function deliver(
  items: readonly PlacedItem[],
  options: SenderOptions,
  mayBeStored = false,
): Promise<Delivery> {
  const reports: Report[] = [];
  let waiting = items;
  const backoff = createSchedule(options);
  for (;;) {
    const attempt = await tryOnce(waiting, options, mayBeStored);
    for (const item of waiting) item.fixTime();
    mayBeStored ||= attempt.failure !== undefined && mayHaveStored(attempt.failure);
    reports.push(...attempt.reports);
    waiting = attempt.waiting;
    const { stop, failure } = attempt;
    if (stop !== undefined || waiting.length === 0) return { reports, stop };
    // Without a failure, items that were wrong are gone and the others have yet to be sent.
    if (failure === undefined) continue;
    const delayMs = options.signal.aborted ? undefined : backoff.next(failure);
    if (delayMs === undefined) {
      const outcome = { outcome: "unconfirmed", mayBeStored } as const;
      reports.push(...waiting.map((item) => failedReport(item, outcome, failure)));
      return { reports, stop: failure };
    }
    options.onWait(failure, delayMs);
    await pause(delayMs, options.signal);
  }
}

/** Every repeat is counted, so none comes beside the number that was asked for. */
function createSchedule({ retries }: SenderOptions): Backoff {
  return createBackoff({
    immediateRetry: false,
    retriesMax: retries,
    baseDelayMs: FIRST_DELAY_MS,
    delayMaxMs: MAX_DELAY_MS,
    budgetMs: BUDGET_MS,
  });
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}

async function tryOnce(
  items: readonly PlacedItem[],
  options: SenderOptions,
  mayBeStored: boolean,
): Promise<Attempt> {
  try {
    return await call(items, options, mayBeStored);
  } catch (thrown) {
    return explain(items, SignalError.from(thrown), options, mayBeStored);
  }
}

async function call(
  items: readonly PlacedItem[],
  { client, signal }: SenderOptions,
  mayBeStored: boolean,
): Promise<Attempt> {
  const [only] = items;
  if (items.length === 1 && only !== undefined && only.place === undefined) {
    const { signal: input, ...others } = only.item;
    const result = await client.ingest(input, { ...others, signal });
    return settled([answeredReport(only, result, mayBeStored)]);
  }
  const results = await client.ingestBatch(
    items.map(({ item }) => item),
    { signal },
  );
  const reports: Report[] = [];
  const waiting: PlacedItem[] = [];
  let failure: SignalError | undefined;
  for (const [index, item] of items.entries()) {
    const result = results[index];
    if (result === undefined) throw new Error("The client gave too few results.");
    if (result.outcome === "refused" && result.retryable) {
      waiting.push(item);
      // One that leaves its item in doubt is told before one that does not.
      if (failure === undefined || !mayHaveStored(failure)) {
        failure = new SignalError(result.reason, result.message);
      }
    } else {
      const isProven = result.outcome === "refused" && result.reason === PROVES_NOT_STORED;
      reports.push(answeredReport(item, result, mayBeStored && !isProven));
    }
  }
  return { reports, waiting, failure, stop: undefined };
}

/** What a request that failed as a whole means for its items. */
async function explain(
  items: readonly PlacedItem[],
  error: SignalError,
  options: SenderOptions,
  mayBeStored: boolean,
): Promise<Attempt> {
  if (error.retryable) return { reports: [], waiting: items, failure: error, stop: undefined };
  const byItem = violationsByItem(error.violations, items.length);
  if (byItem.size > 0) {
    // Nothing of the request was stored, so the items without a fault are sent again.
    const { reason } = error;
    const message = "It was not sent, because it breaks a rule.";
    const wrong = items.flatMap((item, index) => {
      const violations = byItem.get(index);
      return violations === undefined
        ? []
        : [failedReport(item, NOT_STORED, { message, reason, violations })];
    });
    const waiting = items.filter((_, index) => !byItem.has(index));
    return { ...settled(wrong), waiting };
  }
  if (isTooBigTogether(error) && items.length > 1) {
    return await halve(items, options, mayBeStored);
  }
  const outcome = outcomeAfter(error, mayBeStored);
  const reports = items.map((item) => failedReport(item, outcome, error));
  return { ...settled(reports), stop: concernsOneSignal(error.reason) ? undefined : error };
}

/** What a failure that is not repeated says of its items. */
function outcomeAfter(error: SignalError, mayBeStored: boolean): FailedOutcome {
  if (error.reason === PROVES_NOT_STORED) return NOT_STORED;
  const isUnknown = mayBeStored || mayHaveStored(error);
  return { outcome: isUnknown ? "unconfirmed" : "refused", mayBeStored: isUnknown };
}

/** Only this comes from the store: its key names another signal, so this one is not there. */
const PROVES_NOT_STORED = "IDEMPOTENCY_KEY_REUSED";

function mayHaveStored(error: SignalError): boolean {
  return failureRecordOf(error.reason).mayBeStored && !isNeverConnected(error);
}

/** Whether a reason says nothing about the next signal. Any other would refuse that as well. */
function concernsOneSignal(reason: SignalErrorReason): boolean {
  const { outbox } = failureRecordOf(reason);
  return (outbox === "dead_letter" || outbox === "expired") && reason !== "MALFORMED_BODY";
}

/** Whether the batch has too many bytes, or more signals than a limit allows at once. */
function isTooBigTogether({ reason, violations }: SignalError): boolean {
  return reason === "BODY_TOO_LARGE" || violations.some(({ field }) => field === "requests");
}

/** A batch that is too large as a whole may fit in parts. */
async function halve(
  items: readonly PlacedItem[],
  options: SenderOptions,
  mayBeStored: boolean,
): Promise<Attempt> {
  const middle = Math.ceil(items.length / 2);
  const first = await deliver(items.slice(0, middle), options, mayBeStored);
  const { stop } = first;
  if (stop !== undefined) {
    // These were not sent again, so what stopped the others says nothing of them.
    const isPassing = mayBeStored || stop.retryable || failureRecordOf(stop.reason).mayBeStored;
    const outcome = { outcome: isPassing ? "unconfirmed" : "refused", mayBeStored } as const;
    const rest = items.slice(middle).map((item) => failedReport(item, outcome, stop));
    return { ...settled([...first.reports, ...rest]), stop };
  }
  const second = await deliver(items.slice(middle), options, mayBeStored);
  return { ...settled([...first.reports, ...second.reports]), stop: second.stop };
}

function settled(reports: readonly Report[]): Attempt {
  return { reports, waiting: [], failure: undefined, stop: undefined };
}
