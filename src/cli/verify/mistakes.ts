/**
 * The usual mistakes of signing, each as what it changes in what is signed. Pure.
 */
import {
  bodySha256,
  formatTimestamp,
  parseTimestamp,
  type SignedRequest,
} from "../../signing/index.ts";

/** What goes into a signature. */
export interface SignedParts {
  readonly key: string | Buffer;
  readonly endpoint: string;
  readonly timestamp: string;
  readonly producerId: string;
  readonly bodyHash: string;
  /** What stands between the lines of the string to sign, and after the last. */
  readonly separator: string;
  readonly end: string;
}

/** By a sentence for the person who made the mistake: the parts that are different by it. */
export type Mistakes = Readonly<Record<string, Partial<SignedParts>>>;

/** @param host the `Host` header, if it is known: some programs sign it too. */
export function usualMistakes(
  secret: string,
  request: SignedRequest,
  host: string | undefined,
): Mistakes {
  return {
    ...secretMistakes(secret),
    ...endpointMistakes(request.endpoint, host),
    ...timestampMistakes(request.timestamp),
    ...bodyMistakes(request.body),
    "The string to sign was signed with a newline after its last line.": { end: "\n" },
    "The string to sign was joined by CR LF. Join it by LF.": { separator: "\r\n" },
    "The string to sign was joined by a backslash and an n. Join it by LF.": { separator: "\\n" },
  };
}

/** The mistakes that change only the key. */
export function secretMistakes(secret: string): Mistakes {
  return {
    "The secret was used with a newline at its end.": { key: `${secret}\n` },
    "The secret has blanks around it that were not used.": { key: secret.trim() },
    "The secret was decoded from base64. Its key is its text as it is.": {
      key: Buffer.from(secret, "base64"),
    },
  };
}

const SIGNED_ENDPOINTS = [
  "/signals.v1.IngestService/Ingest",
  "/signals.v1.IngestService/IngestBatch",
  "/api/v1/signals/ingest",
  "/api/v1/signals",
];

function endpointMistakes(endpoint: string, host: string | undefined): Mistakes {
  const path = endpoint.replace(/^[a-z]+:\/\/[^/]*/i, "").replace(/[?#].*$/, "");
  const slashed = path.endsWith("/") ? path.slice(0, -1) : `${path}/`;
  const hosts = host === undefined ? [] : [host, `http://${host}`, `https://${host}`];
  return {
    "The path alone was signed, as it must be: the request has no host and no query string in it.":
      { endpoint: path },
    ...endpoints([slashed, ...SIGNED_ENDPOINTS], "Another path was signed"),
    ...endpoints(
      hosts.map((prefix) => prefix + path),
      "The host was signed with the path",
    ),
  };
}

function endpoints(signed: readonly string[], mistake: string): Mistakes {
  return Object.fromEntries(signed.map((endpoint) => [`${mistake}: ${endpoint}.`, { endpoint }]));
}

function timestampMistakes(sent: string): Mistakes {
  const instant = parseTimestamp(sent);
  if (instant === undefined) return {};
  const written = formatTimestamp(instant);
  const fraction = written.slice(20, -1).padEnd(9, "0");
  const seconds = ["", ...[3, 6, 9].map((digits) => `.${fraction.slice(0, digits)}`)].map(
    (part) => written.slice(0, 19) + part,
  );
  const texts = [
    written,
    ...seconds.flatMap((text) => [`${text}Z`, `${text}+00:00`, text]),
    ...[1_000_000_000n, 1_000_000n].map((unit) => String(instant / unit)),
  ];
  return Object.fromEntries(
    texts.map((timestamp) => [
      `The timestamp was signed as ${timestamp}, but sent as ${sent}. Keep one text for both.`,
      { timestamp },
    ]),
  );
}

/** The mistakes that change only the hash of the body. */
export function bodyMistakes(body: Uint8Array): Mistakes {
  const hash = Buffer.from(bodySha256(body), "base64");
  const hashed = Object.entries(otherBodies(body)).map(([mistake, other]) => [
    mistake,
    { bodyHash: bodySha256(Buffer.from(other)) },
  ]);
  return {
    ...Object.fromEntries(hashed),
    "The body's hash was signed in hex, not in base64.": { bodyHash: hash.toString("hex") },
    "The body's hash was signed in base64url, not in standard base64 with padding.": {
      bodyHash: hash.toString("base64url"),
    },
  };
}

/** The bodies that were hashed by mistake. */
function otherBodies(body: Uint8Array): Record<string, string | Uint8Array> {
  const text = Buffer.from(body).toString("utf8");
  const frame = Buffer.alloc(5);
  frame.writeUInt32BE(body.byteLength, 1);
  return {
    "The body has a newline at its end that was not signed. Send the body without it.":
      text.replace(/\r?\n$/, ""),
    "The body was signed with a newline at its end, and sent without it (curl -d takes it away; use --data-binary).": `${text}\n`,
    "The body has newlines that were not signed, or that were taken away (by curl -d).":
      text.replaceAll(/[\r\n]/g, ""),
    "The body has CR LF for its newlines, but was signed with LF.": text.replaceAll("\r\n", "\n"),
    "The body has a byte order mark that was not signed.": text.replace(/^\ufeff/, ""),
    "The gRPC frame was hashed. Hash the message without the five bytes before it.": Buffer.concat([
      frame,
      body,
    ]),
    "The body given here is a gRPC frame. Take its first five bytes away.": body.subarray(5),
    "An empty body was signed.": "",
    ...spellings(text),
  };
}

/** The same JSON as common libraries write it; none if it is not JSON. */
function spellings(json: string): Record<string, string> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return {};
  }
  // Of the text itself, since 2640.0 and 2640 are different bytes.
  const compact = json.replaceAll(/("(?:[^"\\]|\\.)*")|\s+/g, "$1");
  const python = compact.replaceAll(
    /("(?:[^"\\]|\\.)*")|([,:])/g,
    (_, string, sign) => string ?? `${sign} `,
  );
  const spelled = {
    "compact, without blanks": compact,
    "compact, with \\u escapes for what is not ASCII": withEscapes(compact),
    "as Python's json.dumps writes it": withEscapes(python),
    "as Python's json.dumps writes it, with ensure_ascii=False": python,
    "as JavaScript's JSON.stringify writes it": JSON.stringify(value),
    "indented by 2 blanks": JSON.stringify(value, null, 2),
  };
  return Object.fromEntries(
    Object.entries(spelled).map(([spelling, text]) => [
      `Another spelling of the same JSON was signed: ${spelling}. Serialise once, sign those bytes and send them.`,
      text,
    ]),
  );
}

function withEscapes(text: string): string {
  const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return text.replaceAll(/[\u0080-\uffff]/g, escaped);
}
