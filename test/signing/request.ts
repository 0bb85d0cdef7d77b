import type { SignedRequest } from "../../src/signing/index.ts";

/** A well-formed request, with the parts that a test cares about replaced. */
export function aRequest(parts: Partial<SignedRequest> = {}): SignedRequest {
  return {
    endpoint: "/signals.v1.IngestService/Ingest",
    timestamp: "2025-10-25T14:30:45.123456Z",
    producerId: "bot-1",
    body: Buffer.from('{"signal":{}}'),
    ...parts,
  };
}

/** Requests of which some part can be in no signed request, by what is wrong with them. */
export const MALFORMED_REQUESTS: readonly (readonly [string, Partial<SignedRequest>, string])[] = [
  ["another method", { method: "GET" as "POST" }, "method"],
  ["a method in lower case", { method: "post" as "POST" }, "method"],
  ["an empty endpoint", { endpoint: "" }, "endpoint"],
  ["an endpoint without a slash", { endpoint: "a" }, "endpoint"],
  ["a query string", { endpoint: "/a?b=c" }, "endpoint"],
  ["an empty query string", { endpoint: "/a?" }, "endpoint"],
  ["a fragment", { endpoint: "/a#b" }, "endpoint"],
  ["a URL", { endpoint: "http://localhost/a" }, "endpoint"],
  ["a blank in the endpoint", { endpoint: "/a b" }, "endpoint"],
  ["a line feed in the endpoint", { endpoint: "/a\nTIMESTAMP:x" }, "endpoint"],
  ["a line feed after the endpoint", { endpoint: "/a\n" }, "endpoint"],
  ["DEL in the endpoint", { endpoint: "/a\x7f" }, "endpoint"],
  ["an endpoint beyond ASCII", { endpoint: "/\u00fc" }, "endpoint"],
  ["a timestamp without a zone", { timestamp: "2025-10-25T14:30:45" }, "timestamp"],
  ["a timestamp with a line feed", { timestamp: "2025-10-25T14:30:45Z\n" }, "timestamp"],
  ["an empty producer id", { producerId: "" }, "producerId"],
  ["a producer id with a line feed", { producerId: "bot-1\n" }, "producerId"],
];
