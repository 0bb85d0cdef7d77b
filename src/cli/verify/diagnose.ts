/**
 * Tells whether a request is signed rightly, and if not, which mistake explains it. Pure.
 */
import { createHmac } from "node:crypto";
import {
  bodySha256,
  malformedPart,
  parseSignature,
  Secret,
  type SignedRequest,
  stringToSign,
  verify,
} from "../../signing/index.ts";
import { readSignature } from "./signatureText.ts";
import {
  bodyHashVariants,
  endpointVariants,
  JOIN_VARIANTS,
  keyVariants,
  producerIdVariants,
  timestampVariants,
  type Variant,
} from "./variants.ts";

/** What is known about a request whose signature is in question. */
export interface Claim {
  /** The text of the secret. */
  readonly secret: string;
  readonly request: SignedRequest;
  /** The `x-signature` header, verbatim. */
  readonly signature: string;
  /** What the producer's program signed, if it is known. */
  readonly ownStringToSign: string | undefined;
  /** The `Host` header, if it is known: some programs sign it too. */
  readonly host: string | undefined;
}

/** The outcome of {@link diagnose}. */
export interface Diagnosis {
  readonly valid: boolean;
  /** The right one. */
  readonly stringToSign: string;
  /** What is wrong, a sentence each; empty if the signature is valid. */
  readonly findings: readonly string[];
}

/** Judges a signature as the server does, and looks for the mistake if it is wrong. */
export function diagnose(claim: Claim): Diagnosis {
  const right = stringToSign(claim.request);
  const signature = parseSignature(claim.signature);
  const secret = Secret.fromString(claim.secret);
  if (signature !== undefined && verify([secret], claim.request, signature)) {
    return { valid: true, stringToSign: right, findings: [] };
  }
  return { valid: false, stringToSign: right, findings: findingsOf(claim) };
}

function findingsOf(claim: Claim): string[] {
  const findings: string[] = [];
  const malformed = malformedPart(claim.request);
  if (malformed !== undefined) findings.push(MALFORMED[malformed]);
  const { bytes, fault } = readSignature(claim.signature);
  if (fault !== undefined) findings.push(fault);
  if (bytes === undefined) return findings;

  const mistakes = explain(claim, bytes) ?? [
    "No usual mistake explains the signature: another secret was used, or another body, path, " +
      "timestamp or producer id was signed than is given here.",
  ];
  return [...new Set([...findings, ...conclusion(claim, bytes), ...mistakes])];
}

const MALFORMED: Readonly<Record<keyof SignedRequest, string>> = {
  method: "Every signed endpoint is called by POST.",
  endpoint: "The endpoint must be a path without host, blanks and query.",
  timestamp: "The timestamp is not RFC 3339 with Z or an offset, such as 2025-10-25T14:30:45Z.",
  producerId: "The producer id is not one: 1 to 64 letters, digits, dots, underscores or hyphens.",
  body: "The body cannot be signed.",
};

/** What the producer's own string to sign tells about the secret. */
function conclusion({ secret, ownStringToSign }: Claim, signature: Uint8Array): string[] {
  if (ownStringToSign === undefined) return [];
  const key = keyVariants(secret).find(({ value }) =>
    hmac(value, ownStringToSign).equals(signature),
  );
  if (key === undefined) {
    return [
      "The signature is not that of your string to sign with this secret: the secret or the HMAC is another.",
    ];
  }
  return [
    key.mistake ??
      "The signature is that of your string to sign with this secret: what differs in it is the mistake.",
  ];
}

/**
 * The mistakes that together lead to this signature: the fewest that do, at most two.
 *
 * @returns `undefined` if none do; empty if nothing is wrong but what is known already,
 *   for instance the signature's spelling.
 */
function explain({ secret, request, host }: Claim, signature: Uint8Array): string[] | undefined {
  const dimensions = [
    keyVariants(secret),
    endpointVariants(request.endpoint, host),
    timestampVariants(request.timestamp),
    producerIdVariants(request.producerId),
    bodyHashVariants(request.body),
    JOIN_VARIANTS,
  ] as const satisfies readonly (readonly Variant<unknown>[])[];
  for (const choice of fewestFirst(dimensions.map(({ length }) => length))) {
    const pick = <T>(variants: readonly Variant<T>[], dimension: number) =>
      variants[choice[dimension] ?? 0] as Variant<T>;
    const key = pick(dimensions[0], 0);
    const endpoint = pick(dimensions[1], 1);
    const timestamp = pick(dimensions[2], 2);
    const producerId = pick(dimensions[3], 3);
    const bodyHash = pick(dimensions[4], 4);
    const join = pick(dimensions[5], 5);
    const text = join.value([
      "METHOD:POST",
      `ENDPOINT:${endpoint.value}`,
      `TIMESTAMP:${timestamp.value}`,
      `PRODUCER_ID:${producerId.value}`,
      `BODY_SHA256:${bodyHash.value}`,
    ]);
    if (!hmac(key.value, text).equals(signature)) continue;
    return [key, endpoint, timestamp, producerId, bodyHash, join].flatMap(
      ({ mistake }) => mistake ?? [],
    );
  }
  return undefined;
}

/** For variants numbered from 0, the right one: the choices with none, one, and two wrong ones. */
function* fewestFirst(counts: readonly number[]): Generator<readonly number[]> {
  const right = counts.map(() => 0);
  yield right;
  const singles = counts.flatMap((count, dimension) =>
    Array.from({ length: count - 1 }, (_, index) => ({ dimension, index: index + 1 })),
  );
  for (const { dimension, index } of singles) yield right.with(dimension, index);
  for (const first of singles) {
    for (const second of singles) {
      if (second.dimension <= first.dimension) continue;
      yield right.with(first.dimension, first.index).with(second.dimension, second.index);
    }
  }
}

/** Not by `Secret`, since the key that was used by mistake may be no secret at all. */
function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

/** The mistake that explains a wrong hash of the body, if a usual one does. */
export function explainBodyHash(body: Uint8Array, hash: string): string | undefined {
  if (hash === bodySha256(body)) return undefined;
  return bodyHashVariants(body).find(({ value }) => value === hash)?.mistake;
}
