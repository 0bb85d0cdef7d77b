/**
 * Who sent a request: proven from its headers and the bytes of its body, before
 * anything looks into those bytes.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Origin } from "../../ingest/index.ts";
import { type Instant, NOT_STORED, ok, type Refusal, refuse } from "../../signal/index.ts";
import {
  formatTimestamp,
  HEADER_PRODUCER_ID,
  HEADER_SIGNATURE,
  HEADER_TIMESTAMP,
  isProducerId,
  parseSignature,
  parseTimestamp,
} from "../../signing/index.ts";
import { findSigner } from "../../signing/verify.ts";
import type { Standing } from "../http/nodeHttp.ts";
import type { AccessDirectory } from "./accessDirectory.ts";
import type { KnownProducer, KnownSecret } from "./knownProducers.ts";
import type { RateLimit } from "./rateLimit.ts";

/** How far a timestamp may be from the server's clock, either way. */
const FRESHNESS_SECONDS = 300;
const NANOS_PER_SECOND = 1_000_000_000n;
/** As after a signal that the database did not take. */
const RETRY_AFTER_MS = 1_000;
const NO_SIGNATURE = new Uint8Array(32);

/** Who sends unsigned requests that name no producer. */
const UNSIGNED_PRODUCER_ID = "unsigned";
/** Where nobody has to prove anything. */
const STANDING_OF_ALL: Standing = { isGood: true };

/** What of a request its signature covers, and the headers that carry the proof. */
export interface RequestToAuthenticate {
  readonly headers: IncomingHttpHeaders;
  /** The path of the request, without a query string. */
  readonly endpoint: string;
  /** The message as the producer sent it, after gRPC framing is taken off. */
  readonly body: Uint8Array;
  /** Whether it may hold more than one signal. */
  readonly isBatch: boolean;
}

/** A request that may go on. */
export interface Admitted {
  readonly origin: Origin;
  /**
   * A request is let through as one signal, whatever it holds. Whoever finds more in it asks here
   * whether they may go on, all together.
   *
   * @returns why not.
   */
  readonly admitBatch: (signals: number) => Promise<Refusal | undefined>;
}

/** The outcome of {@link Authenticate}. */
export type Authentication =
  | {
      readonly ok: true;
      /** With what the proof of its sender hangs on. */
      readonly value: Admitted & { readonly standing: Standing };
    }
  | {
      readonly ok: false;
      readonly refusal: Refusal;
      /** The producer, if it was proven who it is though it is refused. */
      readonly producerId: string | undefined;
    };

/** Proves who sent a request, or refuses it. Never throws. */
export type Authenticate = (request: RequestToAuthenticate) => Promise<Authentication>;

/** Why a request was not authenticated: more than its sender is told. */
export type AuthenticationFailure =
  | "malformed_headers"
  | "unknown_producer"
  | "wrong_signature"
  | "clock_skew"
  | "producer_disabled"
  | "unknown_token";

/** What authentication is made of. */
export interface AuthenticateOptions {
  readonly directory: Pick<AccessDirectory, "findProducer" | "isStale">;
  readonly rateLimit: RateLimit;
  readonly now: () => Instant;
  /** Told of each fresh proof, also of one whose producer may not send now. */
  readonly onProof?: (producerId: string, secretId: string) => void;
  /** Told of each failure, for metrics. */
  readonly onFailure?: (failure: AuthenticationFailure) => void;
}

/** Authentication by HMAC signature: signature, freshness, producer enabled, rate limit. */
export function authenticateBySignature(options: AuthenticateOptions): Authenticate {
  return async function authenticate(request) {
    const receiveTime = options.now();
    const proof = prove(request, options.directory);
    if (!proof.proven) {
      options.onFailure?.(proof.failure);
      return refused(unauthenticated(), undefined);
    }
    const { producer, secret, signature, timestamp } = proof;
    const skew = timestamp - receiveTime;
    const tolerance = BigInt(FRESHNESS_SECONDS) * NANOS_PER_SECOND;
    if (skew > tolerance || skew < -tolerance) {
      options.onFailure?.("clock_skew");
      return refused(clockSkew(receiveTime, skew), producer.producerId);
    }
    options.onProof?.(producer.producerId, secret.secretId);
    const origin = { producer, requestSignature: signature, receiveTime };
    return admit(origin, request.isBatch, secret.standing, options);
  };
}

/**
 * Authentication that asks for no proof, for development: the producer is whoever the
 * request says, and one that is not in the directory has no limits.
 */
export function authenticateNobody(
  options: AuthenticateOptions & { readonly requireApproval: boolean },
): Authenticate {
  return async function authenticate({ headers, isBatch }) {
    const producerId = single(headers[HEADER_PRODUCER_ID]) || UNSIGNED_PRODUCER_ID;
    if (!isProducerId(producerId)) {
      options.onFailure?.("malformed_headers");
      return refused(unauthenticated(), undefined);
    }
    const producer = options.directory.findProducer(producerId) ?? {
      producerId,
      isEnabled: true,
      rateLimitPerSecond: undefined,
      requireApproval: options.requireApproval,
      allowedInstruments: undefined,
      secrets: [],
    };
    const receiveTime = options.now();
    const origin = { producer, requestSignature: undefined, receiveTime };
    return admit(origin, isBatch, STANDING_OF_ALL, options);
  };
}

/** Who a request is from, or why that is not known. */
type Proof =
  | {
      readonly proven: true;
      readonly producer: KnownProducer;
      /** The one that it signed with. */
      readonly secret: KnownSecret;
      readonly signature: Uint8Array;
      readonly timestamp: Instant;
    }
  | { readonly proven: false; readonly failure: AuthenticationFailure };

/**
 * Looks for the proof that a request carries. A missing, repeated or malformed
 * header and an unknown producer take the same path as a wrong signature, with dummies
 * for what is lacking, so that neither the answer nor its time tells them apart.
 */
function prove(
  { headers, endpoint, body }: RequestToAuthenticate,
  directory: Pick<AccessDirectory, "findProducer">,
): Proof {
  // Node joins a repeated header with ", ", which none of the three forms allows.
  const producerId = single(headers[HEADER_PRODUCER_ID]);
  const timestampText = single(headers[HEADER_TIMESTAMP]);
  const signature = parseSignature(single(headers[HEADER_SIGNATURE]));
  const timestamp = parseTimestamp(timestampText);
  const producer = directory.findProducer(producerId);
  const signer = findSigner(
    producer?.secrets ?? [],
    { method: "POST", endpoint, timestamp: timestampText, producerId, body },
    signature ?? NO_SIGNATURE,
  );
  if (signature === undefined || timestamp === undefined || !isProducerId(producerId)) {
    return { proven: false, failure: "malformed_headers" };
  }
  if (producer === undefined) return { proven: false, failure: "unknown_producer" };
  if (signer === undefined) return { proven: false, failure: "wrong_signature" };
  return { proven: true, producer, secret: signer, signature, timestamp };
}

function single(value: string | string[] | undefined): string {
  return typeof value === "string" ? value : (value?.join(", ") ?? "");
}

/** Whether a producer that is proven may send now. */
async function admit(
  origin: Origin & { readonly producer: KnownProducer },
  isBatch: boolean,
  standing: Standing,
  { directory, rateLimit, onFailure }: AuthenticateOptions,
): Promise<Authentication> {
  const { producer } = origin;
  if (directory.isStale()) return refused(stale(), producer.producerId);
  if (!producer.isEnabled) {
    onFailure?.("producer_disabled");
    const message = "This producer is disabled. Ask the operator of the server.";
    return refused(refuse("PRODUCER_DISABLED", message), producer.producerId);
  }
  // Most have no limit, and are not kept waiting for a turn of the event loop.
  const refusal =
    producer.rateLimitPerSecond === undefined
      ? undefined
      : await rateLimit.admit(producer, isBatch);
  if (refusal !== undefined) return refused(refusal, producer.producerId);
  return ok({ origin, standing, admitBatch: (signals) => rateLimit.admitBatch(producer, signals) });
}

function refused(refusal: Refusal, producerId: string | undefined): Authentication {
  return { ok: false, refusal, producerId };
}

function unauthenticated(): Refusal {
  return refuse(
    "UNAUTHENTICATED",
    "The request is not signed by a known producer. It needs one each of the headers x-producer-id, x-timestamp and x-signature, and a signature over the exact bytes of the body.",
  );
}

function stale(): Refusal {
  const why =
    "The database does not answer, so it is not known whether this producer may send. Send it again under the same idempotency key.";
  return refuse("STORE_UNAVAILABLE", `${why} ${NOT_STORED}`, { retryAfterMs: RETRY_AFTER_MS });
}

function clockSkew(serverTime: Instant, skew: Instant): Refusal {
  const seconds = Number(skew / 1_000_000n) / 1000;
  const direction = skew > 0n ? "ahead of" : "behind";
  return refuse(
    "CLOCK_SKEW",
    `The timestamp is ${Math.abs(seconds)} s ${direction} the server's clock; at most ${FRESHNESS_SECONDS} s are allowed. Correct the clock and sign again.`,
    {
      metadata: { server_time: formatTimestamp(serverTime), skew_seconds: seconds.toString() },
    },
  );
}
