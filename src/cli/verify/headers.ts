/**
 * Reads the headers of a request as they stand on the wire, or as tools print them. Pure.
 */
import { HEADER_PRODUCER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP } from "../../signing/index.ts";

/** What a request says about its signature. */
export interface RequestHead {
  /** The path of the request line, if there is one. */
  readonly endpoint: string | undefined;
  readonly host: string | undefined;
  readonly producerId: string | undefined;
  readonly timestamp: string | undefined;
  readonly signature: string | undefined;
  /** The names of headers that stand there more than once, which no server accepts. */
  readonly repeated: readonly string[];
}

const REQUEST_LINE = /^[A-Z]+ (\S+)( HTTP\/[0-9.]+)?$/;
/** `curl --verbose` puts this before each line that it sends. */
const CURL_PREFIX = /^> ?/;

/** Takes header lines apart. The body, after a blank line, is not looked at. */
export function parseRequestHead(text: string): RequestHead {
  const lines = text
    .replace(/^\ufeff/, "")
    .split(/\r?\n/)
    .map((line) => line.replace(CURL_PREFIX, ""));
  const end = lines.indexOf("");
  const values = new Map<string, string>();
  const repeated = new Set<string>();
  let endpoint: string | undefined;
  for (const line of end < 0 ? lines : lines.slice(0, end)) {
    const requestLine = REQUEST_LINE.exec(line);
    if (requestLine !== null) endpoint = requestLine[1];
    const colon = line.indexOf(":");
    if (colon < 1 || requestLine !== null) continue;
    const name = line.slice(0, colon).trim().toLowerCase();
    if (values.has(name)) repeated.add(name);
    values.set(name, line.slice(colon + 1).trim());
  }
  return {
    endpoint,
    host: values.get("host"),
    producerId: values.get(HEADER_PRODUCER_ID),
    timestamp: values.get(HEADER_TIMESTAMP),
    signature: values.get(HEADER_SIGNATURE),
    repeated: [HEADER_PRODUCER_ID, HEADER_TIMESTAMP, HEADER_SIGNATURE].filter((name) =>
      repeated.has(name),
    ),
  };
}
