/**
 * The answer to a request that proves nothing. An address may bring a few of them; each one more
 * is told so, and its connection ends. That is decided after the proof has failed, and alike for
 * all kinds of failure: it keeps nobody out who signs well, whoever else shares the address, and
 * tells nobody what was wrong.
 */
import type { Refusal } from "../../signal/index.ts";
import type { RequestCaller } from "../http/nodeHttp.ts";

/**
 * Counts a failed proof.
 *
 * @param refusal of authentication. What follows a proof, such as `CLOCK_SKEW`, is not counted.
 * @returns what to answer.
 */
export async function boundFailure(refusal: Refusal, caller: RequestCaller): Promise<Refusal> {
  if (refusal.reason !== "UNAUTHENTICATED") return refusal;
  const retryAfterMs = caller.takeFailure();
  if (retryAfterMs === undefined) return refusal;
  // A connection on which somebody is proven may be that of many, behind a proxy.
  if (!caller.isProven) await caller.endWithAnswer();
  return {
    ...refusal,
    reason: "RATE_LIMITED",
    message: `Too many requests from this address prove nothing. ${refusal.message}`,
    retryAfterMs,
  };
}
