/**
 * How the metrics and the log name what became of a signal. Pure.
 */
import { isReason, recordOf } from "../../signal/index.ts";
import type { SignalErrorReason } from "../errorReason.ts";
import type { SignalError } from "../signalError.ts";

/**
 * What became of a signal, in few words.
 * - `success`: it is stored, was stored before, or is valid if only that was asked.
 * - `validation_error`: it breaks a rule of the contract, as this side or the server found.
 * - `timeout`: the last attempt got no answer in time.
 * - `failure`: everything else.
 */
export type PostResult = "success" | "failure" | "timeout" | "validation_error";

const RESULT_BY_REASON: Readonly<Partial<Record<SignalErrorReason, PostResult>>> = {
  MALFORMED_BODY: "validation_error",
  INVALID_SIGNAL: "validation_error",
  BODY_TOO_LARGE: "validation_error",
  PAYLOAD_TOO_LARGE: "validation_error",
  DEADLINE_EXCEEDED: "timeout",
};

/** What became of a signal that failed for this reason. */
export function postResultOf(reason: SignalErrorReason): PostResult {
  return RESULT_BY_REASON[reason] ?? "failure";
}

/** The HTTP status of a success. */
export const HTTP_OK = "200";
/** In place of an HTTP status, where the service gave no answer. */
const NO_ANSWER = "none";

/** The HTTP status of a refusal by the service; `none` for what only this side could find. */
export function httpCodeOfReason(reason: SignalErrorReason): string {
  return isReason(reason) ? String(recordOf(reason).httpStatus) : NO_ANSWER;
}

/**
 * The HTTP status of the answer behind an error, whatever the protocol; `none` if there was
 * no answer: nothing was sent, nobody answered in time, or what answered was not the service.
 */
export function httpCodeOf({ reason, code, requestId }: SignalError): string {
  const wasSent = code !== undefined;
  // A deadline ends a call on this side too, and then there is no answer with an id.
  const isAnswered = wasSent && (reason !== "DEADLINE_EXCEEDED" || requestId !== undefined);
  return isAnswered ? httpCodeOfReason(reason) : NO_ANSWER;
}
