/**
 * The usual mistakes of signing, each as a value that would have been used in place of
 * the right one. Pure.
 */
import { bodySha256, formatTimestamp, parseTimestamp } from "../../signing/index.ts";
import { spellings } from "./jsonSpelling.ts";

/** A value that may have been used, and the mistake that this was. */
export interface Variant<T> {
  readonly value: T;
  /** A sentence for the person who made it; `undefined` for the right value. */
  readonly mistake: string | undefined;
}

const SIGNED_ENDPOINTS = [
  "/signals.v1.IngestService/Ingest",
  "/signals.v1.IngestService/IngestBatch",
  "/api/v1/signals/ingest",
  "/api/v1/signals",
];

/** What may stand in the line of the endpoint. */
export function endpointVariants(endpoint: string, host: string | undefined): Variant<string>[] {
  const path = endpoint.replace(/^[a-z]+:\/\/[^/]*/i, "");
  const withoutQuery = path.replace(/[?#].*$/, "");
  const urls = host === undefined ? [] : ["http://", "https://", ""].map((scheme) => scheme + host);
  return distinct(endpoint, [
    { value: path, mistake: "The endpoint is given as a URL. Give the path, which was signed." },
    {
      value: withoutQuery,
      mistake: "The request has a query string, which a signed endpoint does not take.",
    },
    { value: `${withoutQuery}/`, mistake: "The path was signed with a slash at its end." },
    {
      value: withoutQuery.replace(/\/$/, ""),
      mistake: "The path was signed without the slash at its end.",
    },
    {
      value: withoutQuery.replace(/^\//, ""),
      mistake: "The path was signed without its first slash.",
    },
    ...urls.map((url) => ({
      value: `${url}${path}`,
      mistake: "The host was signed with the path. Sign the path alone.",
    })),
    ...SIGNED_ENDPOINTS.map((value) => ({
      value,
      mistake: `Another path was signed: ${value}.`,
    })),
  ]);
}

/** What may stand in the line of the timestamp. */
export function timestampVariants(timestamp: string): Variant<string>[] {
  const instant = parseTimestamp(timestamp);
  if (instant === undefined) return distinct(timestamp, []);
  const written = formatTimestamp(instant);
  const whole = written.slice(0, 19);
  const fraction = (written.slice(20, -1) || "").padEnd(9, "0");
  const texts = [
    written,
    ...[0, 3, 6, 9].flatMap((digits) => {
      const text = digits === 0 ? whole : `${whole}.${fraction.slice(0, digits)}`;
      return [`${text}Z`, `${text}+00:00`, text];
    }),
    (instant / 1_000_000_000n).toString(),
    (instant / 1_000_000n).toString(),
  ];
  return distinct(
    timestamp,
    texts.map((value) => ({
      value,
      mistake: `The timestamp was signed as ${value}, but sent as ${timestamp}. Keep one text for both.`,
    })),
  );
}

/** What may stand in the line of the producer. */
export function producerIdVariants(producerId: string): Variant<string>[] {
  return distinct(producerId, [
    { value: producerId.toLowerCase(), mistake: "The producer id was signed in lower case." },
    { value: producerId.toUpperCase(), mistake: "The producer id was signed in upper case." },
    { value: "", mistake: "The producer id was signed as an empty text." },
  ]);
}

/** What may stand in the line of the body's hash. */
export function bodyHashVariants(body: Uint8Array): Variant<string>[] {
  const hashes = bodyVariants(body).map(({ value, mistake }) => ({
    value: bodySha256(value),
    mistake,
  }));
  const right = bodySha256(body);
  const bytes = Buffer.from(right, "base64");
  return distinct(right, [
    ...hashes,
    { value: bytes.toString("hex"), mistake: "The body's hash was signed in hex, not in base64." },
    {
      value: bytes.toString("base64url"),
      mistake: "The body's hash was signed in base64url, not in standard base64 with padding.",
    },
    {
      value: right.replace("=", ""),
      mistake: "The body's hash was signed without the padding of base64.",
    },
  ]);
}

/** The bodies that may have been hashed. */
function bodyVariants(body: Uint8Array): Variant<Uint8Array>[] {
  const text = Buffer.from(body).toString("utf8");
  const ofText = (value: string, mistake: string) => ({ value: Buffer.from(value), mistake });
  const frame = Buffer.alloc(5);
  frame.writeUInt32BE(body.byteLength, 1);
  const isFramed = body[0] === 0 && body.byteLength >= 5;
  return [
    ofText(
      text.replace(/\r?\n$/, ""),
      "The body has a newline at its end that was not signed. Send the body without it.",
    ),
    ofText(text.trimEnd(), "The body has blanks at its end that were not signed."),
    ofText(
      `${text}\n`,
      "The body was signed with a newline at its end, and sent without it (curl -d takes it away; use --data-binary).",
    ),
    ofText(
      text.replaceAll("\r\n", "\n"),
      "The body has CR LF for its newlines, but was signed with LF.",
    ),
    ofText(
      text.replace(/\r?\n/g, "\r\n"),
      "The body has LF for its newlines, but was signed with CR LF.",
    ),
    ofText(
      text.replaceAll(/[\r\n]/g, ""),
      "The body has newlines that were not signed, or that were taken away (by curl -d).",
    ),
    ofText(text.replace(/^\ufeff/, ""), "The body has a byte order mark that was not signed."),
    {
      value: Buffer.concat([frame, body]),
      mistake: "The gRPC frame was hashed. Hash the message without the five bytes before it.",
    },
    ...(isFramed
      ? [
          {
            value: body.subarray(5),
            mistake: "The body given here is a gRPC frame. Take its first five bytes away.",
          },
        ]
      : []),
    { value: new Uint8Array(), mistake: "An empty body was signed." },
    ...spellings(text).map(({ text: spelled, description }) =>
      ofText(
        spelled,
        `Another spelling of the same JSON was signed: ${description}. Serialise once, sign those bytes and send them.`,
      ),
    ),
  ];
}

/** The keys that may have been used. */
export function keyVariants(secret: string): Variant<Buffer>[] {
  const decoded = Buffer.from(secret, "base64");
  const variants = [
    {
      value: Buffer.from(`${secret}\n`),
      mistake: "The secret was used with a newline at its end.",
    },
    { value: Buffer.from(`${secret}\r\n`), mistake: "The secret was used with CR LF at its end." },
    {
      value: Buffer.from(secret.trim()),
      mistake: "The secret has blanks around it that were not used.",
    },
    {
      value: decoded,
      mistake: "The secret was decoded from base64. Its key is its text as it is.",
    },
    ...(/^([0-9a-f]{2})+$/i.test(secret)
      ? [
          {
            value: Buffer.from(secret, "hex"),
            mistake: "The secret was decoded from hex. Its key is its text as it is.",
          },
        ]
      : []),
  ];
  const right = Buffer.from(secret);
  return [
    { value: right, mistake: undefined },
    ...variants.filter(({ value }) => !value.equals(right)),
  ];
}

/** How the five lines may have been put together. */
export const JOIN_VARIANTS: readonly Variant<(lines: readonly string[]) => string>[] = [
  { value: (lines) => lines.join("\n"), mistake: undefined },
  {
    value: (lines) => `${lines.join("\n")}\n`,
    mistake: "The string to sign was signed with a newline after its last line.",
  },
  {
    value: (lines) => lines.join("\r\n"),
    mistake: "The string to sign was joined by CR LF. Join it by LF.",
  },
  {
    value: (lines) => lines.join("\\n"),
    mistake: "The string to sign was joined by a backslash and an n. Join it by LF.",
  },
  {
    value: (lines) => lines.map((line) => line.replace(":", ": ")).join("\n"),
    mistake: "The string to sign has a blank after the colon of each line.",
  },
];

/** The right value first, then those that differ from all before. */
function distinct<T>(right: T, variants: readonly Variant<T>[]): Variant<T>[] {
  const seen = new Set<T>([right]);
  const others = variants.filter(({ value }) => !seen.has(value) && seen.add(value));
  return [{ value: right, mistake: undefined }, ...others];
}
