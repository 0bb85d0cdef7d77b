/**
 * Where the server is meant to answer otherwise than the protocol library does, and why.
 * Everything else is compared and must be the same; and a difference that is listed here
 * must be there.
 */
import { BROKEN_OFF } from "./support/client.ts";
import type { Facet, Facets } from "./support/facets.ts";

/** One intended difference. */
export interface Difference {
  readonly because: string;
  /** What the server answers. */
  readonly here: Partial<Facets>;
  /** What the library answers by itself. */
  readonly there: Partial<Facets>;
  /** The facets that may differ. Each does so for some request. */
  readonly facets: readonly Facet[];
}

/** The error says it in other words, and for programs, too. */
const WORDS = ["message", "reason", "details"] as const;
/** It is another error. */
const ERROR = ["status", "code", ...WORDS] as const;
/** One is an error, and the other is not. */
const OUTCOME = [...ERROR, "contentType", "result", "shape"] as const;

/** The bytes are no message. */
const MALFORMED = { code: "invalid_argument", reason: "MALFORMED_BODY" };
const REASONED =
  "Every refusal has its reason in its details, so that programs need not read words.";
const CLAMPED = "A timeout beyond what a timer can hold is a long one, not one that is over.";

export const DIFFERENCES = {
  "plain words": {
    because: "Outside of the RPC protocols, people who look for a mistake are told what is wrong.",
    here: { code: "http", contentType: "application/problem+json" },
    there: { code: "http", contentType: undefined, message: "" },
    facets: ["contentType", "message", "fields", "shape"],
  },
  "media type": {
    because:
      "Parameters may be empty, quoted, and surrounded by blanks (RFC 9110, section 5.6.6), and some clients write them so.",
    here: { code: "ok" },
    there: { code: "http", status: "415" },
    facets: ["status", "code", "contentType", "result", "fields", "shape"],
  },
  "no query": {
    because: "The path is what is signed; a query beside it could be changed on the way.",
    here: MALFORMED,
    there: { code: "ok" },
    facets: OUTCOME.filter((facet) => facet !== "contentType"),
  },
  "sender first": {
    because: "No parser looks at bytes whose sender is not proven.",
    here: { code: "unauthenticated", reason: "UNAUTHENTICATED" },
    there: { code: "internal" },
    facets: ERROR,
  },
  "malformed protobuf": {
    because: "Bytes that are no message are the caller's mistake and no fault of the server.",
    here: MALFORMED,
    there: { code: "internal", reason: undefined },
    facets: ERROR,
  },
  "malformed, in other words": {
    because: REASONED,
    here: MALFORMED,
    there: { code: "invalid_argument", reason: undefined },
    facets: WORDS,
  },
  "brace first": {
    because: "The first byte tells the codec, so that no signed body can be replayed as the other.",
    here: MALFORMED,
    there: { code: "invalid_argument", reason: "INVALID_SIGNAL" },
    facets: WORDS,
  },
  "not UTF-8": {
    because: "The library reads what is no character as U+FFFD, which nobody has signed.",
    here: MALFORMED,
    there: { code: "invalid_argument", reason: "INVALID_SIGNAL" },
    facets: WORDS,
  },
  "unknown field number": {
    because:
      "A field that is not defined may be a stop loss of a newer contract; it must not vanish.",
    here: MALFORMED,
    there: { code: "ok" },
    facets: OUTCOME,
  },
  "number of messages": {
    because:
      "The method is there, which unimplemented would deny: it is the body that is not one message.",
    here: MALFORMED,
    there: { code: "unimplemented", reason: undefined },
    facets: ["code", ...WORDS],
  },
  "frame's length": {
    because: "What a frame says of its length is held against what came, and not believed.",
    here: MALFORMED,
    there: { code: "resource_exhausted", reason: undefined },
    facets: ["code", ...WORDS],
  },
  "undefined flags": {
    because: "Flags that the protocol does not define could change what the message means.",
    here: MALFORMED,
    there: { code: "ok" },
    facets: OUTCOME.filter((facet) => facet !== "contentType" && facet !== "status"),
  },
  "undefined flags, with a compressed one": {
    because: "Flags that the protocol does not define are the caller's mistake.",
    here: MALFORMED,
    there: { code: "internal", reason: undefined },
    facets: ["code", ...WORDS],
  },
  "compressed flag": {
    because:
      "A compressed message is refused in the same way, whether its encoding is named or not.",
    here: { code: "unimplemented" },
    there: { code: "internal" },
    facets: ["code", "message"],
  },
  "no compression": {
    because: "The caller is told what to do: nothing signed is taken compressed.",
    here: {
      code: "unimplemented",
      message: "Compressed requests are not taken: send the body as it is.",
    },
    there: { code: "unimplemented" },
    facets: ["message"],
  },
  "too large, in other words": {
    because: REASONED,
    here: { code: "resource_exhausted", reason: "BODY_TOO_LARGE" },
    there: { code: "resource_exhausted", reason: undefined },
    facets: WORDS,
  },
  "413": {
    because: "A body that is too large will not fit later either, which 429 would promise.",
    here: { code: "resource_exhausted", status: "413" },
    there: { code: "resource_exhausted", status: "429" },
    facets: ["status"],
  },
  "timeout clamped": {
    because: CLAMPED,
    here: { code: "ok" },
    there: { code: "deadline_exceeded" },
    facets: [...ERROR.filter((facet) => facet !== "reason"), "result", "shape"],
  },
  "timeout clamped, of a stream": {
    because: CLAMPED,
    here: { code: "none" },
    there: { code: "unavailable" },
    facets: ["code", "message", "details", "result", "shape"],
  },
  "deadline, in other words": {
    because: "The caller is told to send again under the same key, and when.",
    here: { code: "deadline_exceeded", reason: "DEADLINE_EXCEEDED" },
    there: { code: "deadline_exceeded", reason: undefined },
    facets: [...WORDS, "fields"],
  },
  fault: {
    because: "The caller is told under which id the log has more, and nothing of the cause.",
    here: { code: "internal", reason: "INTERNAL" },
    there: { code: "internal", reason: undefined },
    facets: [...WORDS, "fields"],
  },
  "half a character": {
    because: "The library breaks the call off, for gRPC cannot write half a character.",
    here: { code: "invalid_argument" },
    there: { status: BROKEN_OFF },
    facets: [...OUTCOME.filter((facet) => facet !== "result"), "fields"],
  },
  "half a character, escaped": {
    because: "The same words are sent in every protocol, and gRPC cannot write half a character.",
    here: { code: "invalid_argument", message: "Half of it: \ufffd. Not stored by this request." },
    there: { code: "invalid_argument", message: "Half of it: \ud83e. Not stored by this request." },
    facets: ["message"],
  },
  "request id": {
    because: "Every answer names the request, so that the log can be asked about it.",
    here: {},
    there: { requestId: undefined },
    facets: ["requestId"],
  },
} as const satisfies Readonly<Record<string, Difference>>;

export type DifferenceName = keyof typeof DIFFERENCES;
