/** Signs a body and prints the headers. */
import { systemClock } from "../../client/clock.ts";
import {
  formatTimestamp,
  malformedPart,
  type SignatureHeaders,
  type SignedRequest,
  signatureHeaders,
} from "../../signing/index.ts";
import { usageError } from "../cliError.ts";
import {
  type CredentialOptions,
  producerEnvironment,
  producerIdOf,
  secretOf,
} from "../credentials.ts";
import { note, writeOut } from "../output.ts";
import { type RequestOptions, readBody } from "../request.ts";

/** How the headers are printed. */
export type HeaderFormat = "curl" | "headers" | "curl-config" | "json";

/** The options of `countersign sign`. */
export interface SignOptions extends CredentialOptions, RequestOptions {
  readonly timestamp?: string;
  readonly format: HeaderFormat;
  readonly json?: boolean;
}

/** A clock that shows an earlier time was never set. As text, such times sort like the times. */
const PROTOCOL_MADE = "2025";

/** @throws CliError if the request cannot be signed. */
export async function printSignature(options: SignOptions): Promise<void> {
  const { environment, announce } = await producerEnvironment(options);
  const secret = secretOf(environment);
  const producerId = producerIdOf(environment);
  const body = await readBody(options);
  const now = formatTimestamp(systemClock.now());
  const timestamp = options.timestamp ?? now;
  const request = { producerId, endpoint: options.endpoint, timestamp, body };
  requireSignable(request);
  announce();
  if (looksLikeMisplacedJson(body)) {
    note(
      "the body looks like JSON but does not begin with {, so the server will refuse it; " +
        "take away what stands before it",
    );
  }
  if (options.timestamp === undefined && now < PROTOCOL_MADE) {
    note(
      `the clock of this machine shows ${now}, which cannot be right, so the server will answer ` +
        "CLOCK_SKEW; set it, or give --timestamp",
    );
  }
  const headers = signatureHeaders({ ...request, secret });
  await writeOut(formatHeaders(headers, options.json === true ? "json" : options.format));
}

/** @throws CliError that names the option, where the signing itself would name the part. */
function requireSignable(request: SignedRequest): void {
  switch (malformedPart(request)) {
    case "endpoint":
      throw usageError(
        "--endpoint must be a path without host, blanks and query, such as /signals.v1.IngestService/Ingest.",
      );
    case "timestamp":
      throw usageError(
        "--timestamp must be RFC 3339 with Z or an offset, such as 2025-10-25T14:30:45Z.",
      );
  }
}

/** A byte order mark, blanks or a bracket before the brace: JSON to people, not to the server. */
function looksLikeMisplacedJson(body: Uint8Array): boolean {
  const start = Buffer.from(body.subarray(0, 64)).toString("utf8");
  return /^[\ufeff\s[]+\{/.test(start);
}

/**
 * The headers of a signed request as text, with a newline at its end. No value needs
 * escaping in any of the forms: what can be signed has no quote, backslash or blank.
 */
function formatHeaders(headers: SignatureHeaders, format: HeaderFormat): string {
  if (format === "json") return `${JSON.stringify(headers)}\n`;
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  switch (format) {
    case "curl":
      return `${lines.map((line) => `-H '${line}'`).join(" ")}\n`;
    case "curl-config":
      return lines.map((line) => `header = "${line}"\n`).join("");
    case "headers":
      return lines.map((line) => `${line}\n`).join("");
  }
}
