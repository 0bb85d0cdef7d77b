/**
 * What a failed call means to a person: what happened and what to do, in a sentence, and the
 * exit code.
 */
import { Code } from "@connectrpc/connect";
import { sentence } from "../../alerts/index.ts";
import { type CallFailure, describeFailure } from "../../client/callFailure.ts";
import { failureRecordOf, isRetryable, type SignalErrorReason } from "../../client/errorReason.ts";
import type { Reason } from "../../signal/index.ts";
import { type CliError, failedError, unavailableError, usageError } from "../cliError.ts";
import { isNeverConnected } from "../neverConnected.ts";
import type { AdminAccess } from "./access.ts";

/** What the command knows of its call. */
export interface CallContext {
  /** What to do after reasons that mean something to this command. */
  readonly advice?: Partial<Record<Reason, string>>;
  /** What to do if it is not known whether the change was made; none for a call that reads. */
  readonly doubt?: string;
}

/** What to do where nothing was to be changed. */
const AGAIN: Partial<Record<SignalErrorReason, string>> = {
  STORE_UNAVAILABLE: "Try again.",
  DEADLINE_EXCEEDED: "Try again.",
};

/** How the fields of requests are given on the command line. */
const NAME_BY_FIELD: Readonly<Record<string, string>> = {
  producer_id: "the producer id",
  secret_id: "the secret's id",
  token_id: "the token's id",
  display_name: "--display-name",
  rate_limit_per_second: "--rate-limit",
  allowed_instruments: "--instruments",
  grace_seconds: "--grace",
  name: "--name",
  scopes: "--scope",
  producer_ids: "--producer",
  expire_time: "--expires",
  action: "--action",
};

/** Makes an error for the terminal of whatever a call threw. */
export function callError(
  thrown: unknown,
  access: AdminAccess,
  { advice = {}, doubt }: CallContext = {},
): CliError {
  const failure = describeFailure(thrown, { url: access.url, expectedType: "" });
  const { reason } = failure;
  const known = advice[reason as Reason];
  if (known !== undefined) return failedError(known);
  if (isOtherPort(failure)) return failedError(otherPort(access));
  const message = messageOf(failure, access);
  const record = failureRecordOf(reason);
  const isUnknown = record.mayBeStored && !isNeverConnected(thrown);
  const end = isUnknown ? (doubt ?? AGAIN[reason]) : undefined;
  const text = end === undefined ? message : `${message} ${end}`;
  if (failure.violations.length > 0) return usageError(text);
  const isPassing = (isRetryable(record.retry) || reason === "CANCELLED") && !failure.isForeign;
  return isPassing ? unavailableError(text) : failedError(text);
}

/** Why a call fails; `undefined` if it does not. */
export async function reasonOf(call: Promise<unknown>): Promise<SignalErrorReason | undefined> {
  return call.then(
    () => undefined,
    (error: unknown) => describeFailure(error).reason,
  );
}

/** Only what knows no such service answers so, and never the service. */
function isOtherPort({ code, reason }: CallFailure): boolean {
  return code === Code.Unimplemented && reason === "REFUSED";
}

function otherPort({ url, urlVariable }: AdminAccess): string {
  const set =
    urlVariable === "COUNTERSIGN_URL"
      ? "Set COUNTERSIGN_OPS_URL to that (http://127.0.0.1:9090 unless OPS_PORT is set)"
      : "Set COUNTERSIGN_OPS_URL to that, and not to the public port";
  return `${url} has no such service: these commands go to the operations port of a server. ${set}.`;
}

function messageOf(failure: CallFailure, access: AdminAccess): string {
  const { reason, violations } = failure;
  const words = sentence(failure.message);
  switch (reason) {
    case "UNAUTHENTICATED":
      return (
        `The server at ${access.url} does not take the token ${access.tokenId}: it is another ` +
        "server's, or was revoked, or has expired. Set COUNTERSIGN_TOKEN to one that is live."
      );
    case "SCOPE_MISSING":
      return `The token ${access.tokenId} may not do this. ${words}`;
    case "UNREACHABLE":
      return (
        `The server at ${access.url} cannot be reached: ${words} See that it runs and that ` +
        `${access.urlVariable} is right, then try again.`
      );
    case "STORE_UNAVAILABLE":
      return `The server at ${access.url} has no answer of its database.`;
    case "DEADLINE_EXCEEDED":
      return `The server at ${access.url} gave no answer in time.`;
    case "CANCELLED":
      return "Stopped before the answer came.";
    case "INVALID_REQUEST":
      if (violations.length === 0) return words;
      return `${violations.map(violationText).join("; ")}.`;
    case "INTERNAL":
      return `${words} Its log tells more under the request id ${failure.requestId ?? "-"}.`;
    default:
      return words;
  }
}

function violationText({ field, description }: CallFailure["violations"][number]): string {
  const name = field.replace(/^producer\./, "");
  return `${NAME_BY_FIELD[name] ?? name} ${description}`;
}
