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
import { printable } from "../output.ts";
import {
  bodyMistakes,
  type Mistakes,
  type SignedParts,
  secretMistakes,
  usualMistakes,
} from "./mistakes.ts";

/** What is known about a request whose signature is in question. */
export interface Claim {
  /** The text of the secret. */
  readonly secret: string;
  readonly request: SignedRequest;
  /** The `x-signature` header, verbatim. */
  readonly signature: string;
  /** What the producer's program signed, if it is known. */
  readonly ownStringToSign: string | undefined;
  /** The `Host` header, if it is known. */
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

const MALFORMED: Readonly<Record<keyof SignedRequest, string>> = {
  method: "Every signed endpoint is called by POST.",
  endpoint: "The endpoint must be a path without host, blanks and query.",
  timestamp: "The timestamp is not RFC 3339 with Z or an offset, such as 2025-10-25T14:30:45Z.",
  producerId: "The producer id is not one: 1 to 64 letters, digits, dots, underscores or hyphens.",
  body: "The body cannot be signed.",
};

function findingsOf(claim: Claim): string[] {
  const findings: string[] = [];
  const malformed = malformedPart(claim.request);
  if (malformed !== undefined) findings.push(MALFORMED[malformed]);
  const { bytes, fault } = readSignature(claim.signature);
  if (fault !== undefined) findings.push(fault);
  if (bytes === undefined) return findings;
  const mistake = explain(claim, bytes);
  return [...new Set([...findings, ...conclusion(claim, bytes), ...mistake])];
}

const SPELLING_RULE = "Send standard base64 with padding, 44 characters.";

/** How the 32 bytes of an HMAC are written by mistake. */
const WRONG_SPELLINGS: readonly (readonly [RegExp, BufferEncoding, string])[] = [
  [/^[0-9a-f]{64}$/i, "hex", "is in hex."],
  [/^[A-Za-z0-9+/]{43}$/, "base64", "lacks the padding of base64, the = at its end."],
  [/^[\w-]{43}=?$/, "base64url", "is in base64url, with - and _ in place of + and /."],
];

/** The bytes that the author meant, if they can be made out, and what is wrong with the text. */
function readSignature(text: string): { readonly bytes?: Uint8Array; readonly fault?: string } {
  const strict = parseSignature(text);
  if (strict !== undefined) return { bytes: strict };
  const spelling = WRONG_SPELLINGS.find(([pattern]) => pattern.test(text));
  const trimmed = parseSignature(text.trim());
  const bytes = spelling === undefined ? trimmed : Buffer.from(text, spelling[1]);
  if (bytes === undefined) {
    return { fault: `The signature is not the base64 of 32 bytes. ${SPELLING_RULE}` };
  }
  const what = spelling?.[2] ?? "has blanks around it.";
  return { bytes, fault: `The signature ${what} ${SPELLING_RULE}` };
}

/** What the producer's own string to sign tells about the secret. */
function conclusion({ secret, ownStringToSign }: Claim, signature: Uint8Array): string[] {
  if (ownStringToSign === undefined) return [];
  const isOf = (key: string | Buffer) => hmac(key, ownStringToSign).equals(signature);
  if (isOf(secret)) {
    return [
      "The signature is that of your string to sign with this secret: what differs in it is the mistake.",
    ];
  }
  return [
    mistakeOf(secretMistakes(secret), ({ key = secret }) => isOf(key)) ??
      "The signature is not that of your string to sign with this secret: the secret or the HMAC is another.",
  ];
}

/** The mistake that leads to this signature; none if only its spelling is wrong. */
function explain(claim: Claim, signature: Uint8Array): string[] {
  const { secret, request, host, ownStringToSign } = claim;
  const right: SignedParts = {
    key: secret,
    endpoint: request.endpoint,
    timestamp: request.timestamp,
    producerId: request.producerId,
    bodyHash: bodySha256(request.body),
    separator: "\n",
    end: "",
  };
  if (signatureOf(right).equals(signature)) return [];
  const mistake = mistakeOf(usualMistakes(secret, request, host), (change) =>
    signatureOf({ ...right, ...change }).equals(signature),
  );
  if (mistake !== undefined) return [mistake];
  // The producer's own string to sign tells more than that nothing was found.
  if (ownStringToSign !== undefined) return [];
  return [
    "No usual mistake explains the signature: another secret was used, or another body, path, " +
      "timestamp or producer id was signed than is given here.",
  ];
}

function mistakeOf(
  mistakes: Mistakes,
  explains: (change: Partial<SignedParts>) => boolean,
): string | undefined {
  return Object.keys(mistakes).find((mistake) => explains(mistakes[mistake] ?? {}));
}

function signatureOf(parts: SignedParts): Buffer {
  const lines = [
    "METHOD:POST",
    `ENDPOINT:${parts.endpoint}`,
    `TIMESTAMP:${parts.timestamp}`,
    `PRODUCER_ID:${parts.producerId}`,
    `BODY_SHA256:${parts.bodyHash}`,
  ];
  return hmac(parts.key, lines.join(parts.separator) + parts.end);
}

/** Not by `Secret`, since the key that was used by mistake may be no secret at all. */
function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

/** One line that is not the same in both strings to sign, with what is invisible written out. */
export interface LineDifference {
  /** From 1. */
  readonly line: number;
  /** The right line; `undefined` if there should be none. */
  readonly expected: string | undefined;
  /** The producer's line; `undefined` if it is missing. */
  readonly actual: string | undefined;
  /** What the mistake is, if it is a usual one. */
  readonly hint: string | undefined;
}

/** The lines of the right string to sign and of the producer's own that differ. */
export function compareStringsToSign(
  expected: string,
  actual: string,
  body: Uint8Array,
): LineDifference[] {
  const expectedLines = expected.split("\n");
  const actualLines = actual.split("\n");
  const count = Math.max(expectedLines.length, actualLines.length);
  return Array.from({ length: count }, (_, index) => index)
    .filter((index) => expectedLines[index] !== actualLines[index])
    .map((index) => ({
      line: index + 1,
      expected: visible(expectedLines[index]),
      actual: visible(actualLines[index]),
      hint: bodyHashMistake(body, actualLines[index]),
    }));
}

/** Blanks at either end show as dots in the middle; other invisible characters as escapes. */
function visible(line: string | undefined): string | undefined {
  const dots = (blanks: string) => "\u00b7".repeat(blanks.length);
  return line && printable(line.replace(/^ +| +$/g, dots).replaceAll("\u00a0", "\\u{a0}"));
}

/** What was hashed in place of the body, if a producer's line shows that. */
function bodyHashMistake(body: Uint8Array, line: string | undefined): string | undefined {
  const hash = /^BODY_SHA256:(.*)$/.exec(line ?? "")?.[1];
  return mistakeOf(bodyMistakes(body), ({ bodyHash }) => bodyHash === hash);
}
