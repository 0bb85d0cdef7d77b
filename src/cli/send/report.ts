/**
 * What became of each signal, for people and for programs. Pure.
 */
import type {
  IngestItem,
  IngestItemResult,
  SignalError,
  SignalErrorReason,
  Violation,
} from "../../client/index.ts";
import type { Column } from "../table.ts";

/** Where a signal stands in its source; `undefined` if it is the only one. */
export type Place = { readonly name: "line" | "item"; readonly number: number } | undefined;

/** A signal with its place. It has a key and a time, so that a repeat is the same signal. */
export interface PlacedItem {
  readonly place: Place;
  readonly item: IngestItem & { readonly idempotencyKey: string };
  /** Whether its source gives it both, so that the same source repeats the same signal. */
  readonly isNamedBySource: boolean;
  /** Fixes the time that it was given here. To be called after its first attempt. */
  fixTime(): void;
}

/**
 * What became of a signal. `refused`: this run did not store it, and a repeat would be refused
 * too; only an earlier run under the same key may have stored it. `unconfirmed`: nothing proves
 * that it is stored, and a repeat is harmless.
 */
export type Outcome = "stored" | "duplicate" | "valid" | "refused" | "unconfirmed";

/** The outcome of one signal. */
export interface Report {
  readonly place: Place;
  readonly outcome: Outcome;
  readonly signalId: string | undefined;
  readonly status: string | undefined;
  readonly serverTimestamp: string | undefined;
  readonly message: string;
  /** Why not, for `refused` and `unconfirmed`. */
  readonly reason: SignalErrorReason | undefined;
  /** Whether it may be stored all the same, for `unconfirmed`. */
  readonly mayBeStored: boolean;
  readonly violations: readonly Violation[];
  /** What was sent; `undefined` if the line could not even be read. */
  readonly item: PlacedItem["item"] | undefined;
}

/**
 * The report of an item that the server answered.
 *
 * @param mayBeStored whether an earlier attempt may have stored it.
 */
export function answeredReport(
  { place, item }: PlacedItem,
  result: IngestItemResult,
  mayBeStored: boolean,
): Report {
  const { signalId, status, message, serverTimestamp } = result;
  const isRefused = result.outcome === "refused";
  return {
    place,
    // A client that is switched off is told before anything is sent.
    outcome:
      result.outcome === "disabled" || (isRefused && mayBeStored) ? "unconfirmed" : result.outcome,
    signalId,
    status,
    serverTimestamp,
    message,
    reason: isRefused ? result.reason : undefined,
    mayBeStored: isRefused && mayBeStored,
    violations: isRefused ? result.violations.map(withoutPath) : [],
    item,
  };
}

/** What is known of an item whose request failed, or was not made. */
export interface FailedOutcome {
  readonly outcome: "refused" | "unconfirmed";
  readonly mayBeStored: boolean;
}

/** An item that was not stored for sure. */
export const NOT_STORED: FailedOutcome = { outcome: "refused", mayBeStored: false };

/** The report of such an item. */
export function failedReport(
  { place, item }: PlacedItem,
  { outcome, mayBeStored }: FailedOutcome,
  { message, reason, violations }: Pick<SignalError, "message" | "reason" | "violations">,
): Report {
  return {
    ...NOTHING_ANSWERED,
    place,
    outcome,
    mayBeStored,
    message: message.replace(/^\[\w+\] /, ""),
    reason,
    violations: violations.map(withoutPath),
    item,
  };
}

/** The report of a line that is no signal. */
export function unreadableReport(place: Place, violations: readonly Violation[]): Report {
  const message = "It was not sent, because it cannot be read.";
  const reason = "MALFORMED_BODY";
  return { ...NOTHING_ANSWERED, ...NOT_STORED, place, message, reason, violations };
}

const NOTHING_ANSWERED = {
  signalId: undefined,
  status: undefined,
  serverTimestamp: undefined,
  item: undefined,
} as const;

/** The fields of a file have no `signal.` before them. */
function withoutPath({ field, description }: Violation): Violation {
  return { field: field.replace(/^signal\./, ""), description };
}

/** A report as an object for JSON, in the names of REST. */
export function reportJson(report: Report): Record<string, unknown> {
  const { place, item, outcome } = report;
  return {
    ...(place !== undefined && { [place.name]: place.number }),
    outcome,
    signal_id: report.signalId,
    status: report.status,
    idempotency_key: item?.idempotencyKey,
    server_timestamp: report.serverTimestamp,
    reason: report.reason,
    message: report.message,
    errors: report.violations.length > 0 ? report.violations : undefined,
    resend: outcome === "unconfirmed" && item !== undefined ? resendJson(item) : undefined,
  };
}

/** The signal as a line that can be sent again without being stored twice. */
export function resendJson({ signal, idempotencyKey, validateOnly }: PlacedItem["item"]) {
  return { ...signal, idempotencyKey, ...(validateOnly === true && { validateOnly }) };
}

/** The columns of the table; with `minWidth`, so that it can be written batch by batch. */
export function reportColumns(placeName: "line" | "item" | undefined): Column[] {
  return [
    ...(placeName === undefined ? [] : [{ title: placeName.toUpperCase(), minWidth: 8 }]),
    { title: "OUTCOME", minWidth: 11 },
    { title: "STATUS", minWidth: 23 },
    { title: "SIGNAL ID", minWidth: 36 },
    { title: "IDEMPOTENCY KEY" },
  ];
}

/** A report as a row of the table. */
export function reportRow({ place, outcome, status, reason, signalId, item }: Report): string[] {
  return [
    ...(place === undefined ? [] : [String(place.number)]),
    outcome,
    reason ?? status ?? "-",
    signalId ?? "-",
    item?.idempotencyKey ?? "-",
  ];
}

/** The server's words of one attempt. What is told here is true of all of them. */
const SAYS_NOT_STORED = / Not stored by this request\.$/;

/** What is wrong, in one line for a person; `undefined` if nothing is. */
export function reportProblem(report: Report): string | undefined {
  const { place, outcome, reason, violations, message, item } = report;
  if (outcome !== "refused" && outcome !== "unconfirmed") return undefined;
  const where = place === undefined ? "" : `${place.name} ${place.number} `;
  const faults = violations.map(({ field, description }) => `${field} ${description}`.trim());
  const why = faults.length > 0 ? faults.join("; ") : message.replace(SAYS_NOT_STORED, "");
  if (outcome === "refused") return `${where}refused, not stored by this run: ${reason}: ${why}`;
  const what = report.mayBeStored ? "not known to be stored" : "not stored yet";
  return `${where}${what} (key ${item?.idempotencyKey}): ${reason}: ${why}`;
}
